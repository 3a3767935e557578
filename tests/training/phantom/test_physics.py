"""Signal equations, ADC, noise, EPI distortion: against closed forms."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from scanside.runtime.volume import Geometry
from scanside.training.phantom.degrade import breathing_ghosts, ghost, rician
from scanside.training.phantom.fat import CHEMICAL_SHIFT, fat_left, shifted_fat
from scanside.training.phantom.motion import FieldMap, _unfolded, axes_of, distort
from scanside.training.phantom.render import LABELS
from scanside.training.phantom.scanners import HELD_OUT, SCANNERS, DiffusionProtocol, Scanner
from scanside.training.phantom.shapes import Noise
from scanside.training.phantom.signal import adc, ivim, spin_echo
from scanside.training.phantom.study import PhantomStudy, make_study
from scanside.training.phantom.tissues import TISSUES, at_field

SEED = 3


@cache
def study(index: int, scanner: Scanner, noise: float = 1.0) -> PhantomStudy:
    return make_study(index, SEED, scanner=scanner, small=True, noise=noise, roles=("dwi",))


def pure(made: PhantomStudy, name: str) -> np.ndarray:
    labels = made.truth["dwi"]["labels"] == LABELS.index(name)
    return ndimage.binary_erosion(labels, np.ones((1, 3, 3)))


def test_signal_equations_by_hand() -> None:
    assert spin_echo(1000.0, 50.0, 0.8, 50.0, 1000.0) == pytest.approx(0.8 * (1 - np.exp(-1)) * np.exp(-1))
    assert ivim(1.0, 0.2, 10.0, 0.0) == pytest.approx(1.0)
    assert ivim(1.0, 0.2, 10.0, 1000.0) == pytest.approx(0.8 * np.exp(-1) + 0.2 * np.exp(-10))


@given(d=st.floats(0.3, 3.0), low=st.floats(200, 2000), b=st.floats(400, 1500))
def test_adc_of_one_compartment_is_its_diffusion_coefficient(d: float, low: float, b: float) -> None:
    first = np.full((1, 1, 1), low, np.float32)
    second = (first * np.exp(-b * d * 1e-3)).astype(np.float32)
    assert adc(first, second, 0, b, floor=1.0)[0, 0, 0] == pytest.approx(1000 * d, rel=2e-4)


def test_adc_is_absent_below_the_noise() -> None:
    assert adc(np.full((1, 1, 1), 5.0, np.float32), np.ones((1, 1, 1), np.float32), 0, 800, floor=10.0) == 0


@pytest.mark.parametrize(
    ("tissue", "expected"), [("pancreas", 1.5), ("spleen", 0.9), ("liver", 1.4), ("fluid", 2.8)]
)
def test_adc_of_tissues_in_closed_form(tissue: str, expected: float) -> None:
    own = at_field(tissue, 3.0)
    assert -np.log(ivim(own.d, own.f, own.d_star, 800)) / 0.8 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("tissue", "expected"), [("pancreas", 1500), ("liver", 1400), ("bile", 2750)])
def test_adc_of_tissues_as_acquired(tissue: str, expected: float) -> None:
    values = []
    for index in range(5):
        made = study(index, SCANNERS[2], 0.2)
        place = pure(made, tissue)
        if place.sum() >= 6:
            values.append(float(np.median(made.images["adc"].data[0][place])))
    assert len(values) >= 2
    assert np.mean(values) == pytest.approx(expected, rel=0.08)


def test_tissues_are_known_at_both_fields() -> None:
    for name in TISSUES:
        low, high = at_field(name, 1.5), at_field(name, 3.0)
        assert low.t1 <= high.t1, f"T1 of {name} grows with the field"
        assert low.t2 >= high.t2, f"T2 of {name} does not"


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.name)
def test_signal_to_noise_of_the_pancreas(scanner: Scanner) -> None:
    """b0 20 to 60, high b 5 to 15 (and what the draws around a scanner's mean allow)."""
    noisy, clean = study(1, scanner), study(1, scanner, 0.0)
    place = pure(clean, "pancreas")
    if place.sum() < 12:
        place = clean.truth["dwi"]["labels"] == LABELS.index("pancreas")
    for name, low, high in (("b0", 17.0, 60.0), ("dwi", 5.0, 18.0)):
        signal = float(np.median(clean.images[name].data[0][place]))
        difference = noisy.images[name].data[0] - clean.images[name].data[0]
        bright = clean.images[name].data[0] > 0.5 * signal  # where Rician noise is nearly Gaussian
        assert low <= signal / float(difference[bright].std()) <= high, name


@given(level=st.floats(0, 0.05), signal=st.floats(50, 1000))
def test_noise_is_rician(level: float, signal: float) -> None:
    """In air its mean is σ √(π/2); in bright tissue its standard deviation is σ."""
    sigma = 10.0 + 100 * level
    air = rician(np.random.default_rng(0), np.zeros((40, 50, 50), np.float32), sigma)
    assert float(air.mean()) == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)
    tissue = rician(np.random.default_rng(1), np.full((40, 50, 50), 20 * sigma + signal, np.float32), sigma)
    assert float(tissue.std()) == pytest.approx(sigma, rel=0.02)


def test_the_ghost_lies_half_a_field_of_view_away() -> None:
    image = np.zeros((1, 1, 8, 4), np.float32)
    image[0, 0, 1, 2] = 100.0
    assert ghost(image, 0.03)[0, 0, 5, 2] == pytest.approx(3.0)
    assert ghost(image, 0.03).sum() == pytest.approx(103.0)


@given(distance=st.integers(6, 20), phase=st.floats(0, 6.28), travel=st.floats(0.1, 0.6))
def test_breathing_ghosts_lie_at_their_distance(distance: int, phase: float, travel: float) -> None:
    """A strip that moves appears twice more, as its edges, on both sides; what does not move has no ghost."""
    image = np.zeros((1, 64, 3), np.float32)
    image[0, 30:33] = 100.0
    moving = breathing_ghosts(image, np.ones((64, 1), np.float32), travel, distance, phase)
    far = np.flatnonzero(moving[0, :, 1] > 1e-3)
    edges = np.array([29, 30, 32, 33])
    expected = np.concatenate([edges - distance, edges, [31], edges + distance])
    assert set(far) <= set(expected) | {31}
    assert {29 - distance, 29 + distance, 33 - distance, 33 + distance} <= set(far)
    assert moving[0, 29 + distance, 1] == pytest.approx(travel / 2 * 50, rel=1e-3), (
        "a/2 of the slope at an edge"
    )
    still = breathing_ghosts(image, np.zeros((64, 1), np.float32), travel, distance, phase)
    assert np.array_equal(still, image)


def test_breathing_ghosts_are_those_of_a_moving_object() -> None:
    """Against k-space itself: line by line acquired of an object that has moved in the meantime."""
    rows, travel, cycles, phase = 128, 0.3, 17, 0.7
    lines = np.fft.fftfreq(rows)
    place = np.exp(-(((np.arange(rows) - 64) / 6.0) ** 2))
    offset = travel * np.cos(2 * np.pi * cycles * lines + phase)
    acquired = np.abs(np.fft.ifft(np.fft.fft(place) * np.exp(-2j * np.pi * lines * offset)))
    made = breathing_ghosts(
        place.astype(np.float32)[None, :, None], np.ones((rows, 1), np.float32), travel, cycles, phase
    )[0, :, 0]
    assert acquired[64 + cycles - 6 : 64 + cycles + 7].max() > 0.01, "there is a ghost"
    assert np.abs(made - acquired).max() < 2e-3


def test_the_distance_of_ghosts_is_the_formula() -> None:
    """FOV · |TR/T − nearest whole number|: a triggered TR of one breath has none."""
    protocol = SCANNERS[0].t2w
    assert protocol.ghost_mm(protocol.tr) == 0
    assert protocol.ghost_mm(4000.0) == pytest.approx(1.40 * 208 * 0.05)
    for scanner in SCANNERS:
        distances = [scanner.t2w.ghost_mm(period) for period in np.linspace(3000, 5500, 50)]
        assert 0 <= min(distances) <= max(distances) <= scanner.t2w.spacing[1] * scanner.t2w.shape[1] / 2


def gas_free(made: PhantomStudy, geometry: Geometry, reach: float) -> np.ndarray:
    """Voxels that are more than 2 and less than `reach` mm from a gas pocket."""
    x, y, z = axes_of(geometry)
    nearest = np.full(geometry.shape, np.inf)
    for gx, gy, gz, radius in made.truth["dwi"]["field"].gas:
        squares = (x[None, None] - gx) ** 2 + (y[None, :, None] - gy) ** 2 + (z[:, None, None] - gz) ** 2
        nearest = np.minimum(nearest, np.sqrt(squares) - radius)
    return (nearest > 2) & (nearest < reach)


@pytest.mark.parametrize(("scanner", "low", "high"), [(SCANNERS[2], 50, 200), (SCANNERS[1], 25, 100)])
def test_off_resonance_beside_gas_is_the_published_one(scanner: Scanner, low: float, high: float) -> None:
    """50 to 200 Hz at 3 T beside bowel gas, half of it at 1.5 T (MR values of §6)."""
    found = []
    for index in range(6):
        made = study(index, scanner)
        geometry = Geometry((16, 50, 70), (6.0, 4.0, 4.0), (-138.0, -110.0, -60.0))
        x, y, z = axes_of(geometry)
        hertz = made.truth["dwi"]["field"].hertz(x[None, None], y[None, :, None], z[:, None, None])
        found.append(np.quantile(np.abs(hertz[gas_free(made, geometry, 8.0)]), 0.9))
    assert low <= np.median(found) <= high


def test_lesions_are_displaced_by_millimetres_and_their_masks_with_them() -> None:
    """A voxel of the DWI mask shows a point inside the lesion, which lies the EPI shift and the breath away."""
    shifts = []
    for index in range(8):
        made = study(index, SCANNERS[2])
        geometry, known = made.images["dwi"].geometry, made.truth["dwi"]
        _, y, _ = axes_of(geometry)
        mask, shift = made.masks["dwi"] > 0, y[None, :, None] - known["distortion"].source_y
        own = known["field"].hertz(*(np.array([v], np.float32) for v in made.truth["centre"]))
        expected = SCANNERS[2].dwi.shift_mm(float(own[0]))
        assert float(shift[mask].mean()) == pytest.approx(expected, abs=2.5)
        shown = known["distortion"].source_y[mask]
        assert np.abs(shown - made.truth["centre"][1]).max() <= 0.6 * made.patient.lesion.size_mm + 8, (
            "breath"
        )
        shifts.append(float(np.abs(shift[mask]).mean()))
    assert max(shifts) >= 1.2, "version 1 had a millimetre at most"
    assert max(shifts) <= 20


def test_fat_stays_where_the_field_is_off_and_is_uneven_elsewhere() -> None:
    geometry = Geometry((4, 50, 60), (6.0, 4.0, 4.0), (-118.0, -98.0, -9.0))
    noise = Noise.draw(np.random.default_rng(1), 20)
    even = FieldMap(np.array([[0.0, 0.0, 0.0, 1e-3]]), 3.0, 1.0, np.zeros(3), (0.0, 0.0, 0.0))
    quiet = fat_left(even, noise, geometry, 0.08)
    assert quiet.shape == geometry.shape
    assert 0.02 <= quiet.mean() <= 0.2
    assert quiet.std() >= 0.2 * quiet.mean(), "shades of grey"
    half = 0.35 * CHEMICAL_SHIFT * 42.577e6 * 3.0
    off = fat_left(FieldMap(even.gas, 3.0, 1.0, np.zeros(3), (0.0, 0.0, 0.0), half), noise, geometry, 0.08)
    assert off == pytest.approx(0.5 + 0.5 * quiet, abs=0.01), "half of it lies outside the band"


def test_fat_is_displaced_by_its_chemical_shift_in_epi() -> None:
    scanner = SCANNERS[0]
    geometry = Geometry((1, 138, 2), (6.0, 2.1, 2.1), (0.0, 0.0, 0.0))
    image = np.zeros(geometry.shape, np.float32)
    image[0, 100] = 1.0
    rows = CHEMICAL_SHIFT * 42.577e6 * 3.0 * 0.5e-3 * 138 / 2
    assert int(np.argmax(shifted_fat(image, scanner.dwi, geometry, 3.0)[0, :, 0])) == 100 - round(rows)


def test_one_scanner_is_held_out_and_four_vendors_are_there() -> None:
    assert SCANNERS[-1].name == HELD_OUT
    assert len({scanner.vendor for scanner in SCANNERS}) >= 4
    assert {scanner.field_t for scanner in SCANNERS} == {1.5, 3.0}
    protocols = {(s.t2w.te, s.t2w.spacing, s.dwi.te, s.dwi.spacing, s.bias) for s in SCANNERS}
    assert len(protocols) == len(SCANNERS)


@pytest.mark.parametrize(("hertz", "expected"), [(100.0, 11.4), (50.0, 5.7), (-100.0, -11.4)])
def test_epi_shift_is_the_formula(hertz: float, expected: float) -> None:
    """Δf · ESP · FOV / R: 100 Hz, 0.6 ms, 380 mm, R = 2 → 11.4 mm."""
    protocol = DiffusionProtocol(
        60, 4000, (0, 800), (0, 800), (6, 3.8, 3.8), (4, 100, 80), 5, 0, 30, 1, 0.6, 2, 0, 0
    )
    assert protocol.shift_mm(hertz) == pytest.approx(expected)


def field(field_t: float = 3.0) -> FieldMap:
    gas = np.array([[10.0, -50.0, 5.0, 15.0], [-60.0, -40.0, -20.0, 10.0]])
    return FieldMap(gas, field_t, 0.7, np.array([0.1, 0.2, 0.0]), (0.0, 0.0, 0.0))


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.name)
def test_epi_images_are_displaced_by_that_shift(scanner: Scanner) -> None:
    """Every voxel shows the point whose own off-resonance carries it there."""
    protocol = scanner.dwi
    geometry = Geometry((6, 60, 70), (6.0, 2.2, 2.2), (-77.0, -66.0, -15.0))
    found = distort(field(scanner.field_t), protocol, geometry)
    x, y, z = axes_of(geometry)
    hertz = field(scanner.field_t).hertz(x[None, None], found.source_y, z[:, None, None])
    shift = y[None, :, None] - found.source_y
    expected = hertz * protocol.echo_spacing * 1e-3 * protocol.field_of_view / protocol.acceleration
    tissue = np.ones(geometry.shape, dtype=bool)  # inside gas there is no signal, and the solution is coarse
    for gx, gy, gz, radius in field().gas:
        squares = (x[None, None] - gx) ** 2 + (found.source_y - gy) ** 2 + (z[:, None, None] - gz) ** 2
        tissue &= squares > (radius + 5) ** 2
    assert (found.folded & tissue).sum() <= 0.01 * tissue.sum(), "what folds is gas"
    tissue &= ~found.folded
    assert np.abs(shift - expected)[tissue].max() < 0.5
    assert np.sqrt(np.mean((shift - expected)[tissue] ** 2)) < 0.05
    assert np.abs(shift[tissue]).max() > 1.0
    assert (np.diff(found.source_y, axis=1) > 0).all(), "nothing folds over"


@given(seed=st.integers(0, 200), strength=st.floats(0, 30))
def test_a_fold_is_flattened_where_it_is_and_nowhere_else(seed: int, strength: float) -> None:
    y = np.arange(0, 300, 3.0, dtype=np.float32)[None, :, None]
    rng = np.random.default_rng(seed)
    bump = np.exp(-(((y - rng.uniform(100, 200)) / rng.uniform(8, 30)) ** 2))
    landing = (y + np.float32(strength) * bump).astype(np.float32)
    flat = _unfolded(landing, y)
    steps = np.diff(flat, axis=1)
    assert float(steps.min()) >= 0.25 * 3.0 - 1e-3
    assert np.abs(flat - landing).max() <= np.abs(landing - y).max() + 1e-4, (
        "moved no further than the field moves"
    )
    if float(np.diff(landing, axis=1).min()) >= 0.25 * 3.0:
        assert np.allclose(flat, landing, atol=1e-3)


def test_epi_distortion_keeps_the_signal() -> None:
    """What is squeezed becomes brighter: ∫ Jacobian · ρ(source) dy = ∫ ρ dy for an object inside the field of view."""
    geometry = Geometry((4, 120, 60), (6.0, 2.0, 2.5), (-75.0, -120.0, -9.0))
    found = distort(field(), SCANNERS[0].dwi, geometry)
    x, y, z = axes_of(geometry)

    def object_at(rows: np.ndarray) -> np.ndarray:
        squares = (x[None, None] / 40) ** 2 + ((rows + 30) / 35) ** 2 + (z[:, None, None] / 30) ** 2
        return np.asarray(np.exp(-2 * squares))

    still = object_at(y[None, :, None]).sum(axis=1)
    moved = (object_at(found.source_y) * found.jacobian).sum(axis=1)
    assert np.abs(moved / still - 1).max() < 0.02


def test_off_resonance_grows_with_the_field_strength() -> None:
    at = [np.array([v], np.float32) for v in (5.0, -20.0, 12.0)]
    assert field(3.0).hertz(*at) == pytest.approx(2 * field(1.5).hertz(*at))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_field_of_gas_is_that_of_a_dipole(axis: int) -> None:
    """Far from a sphere of radius a: γ B0 Δχ / 3 · (a/r)³ · (3 cos² θ − 1)."""
    lone = FieldMap(np.array([[0.0, 0.0, 0.0, 10.0]]), 3.0, 1.0, np.zeros(3), (0.0, 0.0, 0.0))
    at = [np.array([200.0 if i == axis else 0.0], np.float32) for i in range(3)]
    expected = 42.577e6 * 3.0 * 9.4e-6 / 3 * (10 / 200) ** 3 * (2 if axis == 2 else -1)
    assert lone.hertz(*at)[0] == pytest.approx(expected, rel=0.01)
