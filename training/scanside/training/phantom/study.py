"""One patient → one study: T2WI, DWI (low and high b), ADC, masks and the truth behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.volume import Geometry, Volume
from scanside.training.phantom.anatomy import Anatomy, make_anatomy
from scanside.training.phantom.cohort import PhantomPatient, draw_patient, stream
from scanside.training.phantom.degrade import bias_field, breathing_ghosts, ghost, point_spread, rician
from scanside.training.phantom.fat import OLEFINIC, OLEFINIC_IN_EPI, fat_left, shifted_fat
from scanside.training.phantom.lesion import Matter
from scanside.training.phantom.motion import FieldMap, axes_of, distort, draw_breath, draw_field, held_weight
from scanside.training.phantom.render import Rendered, View, render
from scanside.training.phantom.scanners import DiffusionProtocol, Scanner, SpinEchoProtocol, with_pixels
from scanside.training.phantom.shapes import Noise
from scanside.training.phantom.signal import adc, ivim, spin_echo
from scanside.training.phantom.tissues import Tissue, draw_tissues, obstructed

SMALL_MM = (72.0, 96.0, 96.0)
"""(Z, Y, X) field of view of a small study."""

SYNTHETIC = "SYNTHETIC PHANTOM, NOT A PATIENT"


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """A synthetic study.

    Attributes:
        patient: Who it is of.
        scanner: Where it was made.
        images: t2w, dwi (high b), b0 (low b), adc (1e-6 mm²/s); each (1, Z, Y, X) float32 of whole numbers.
        masks: Role t2w, dwi → (Z, Y, X) uint8, 1 where at least half of a voxel is lesion (see `_outline`).
        truth: What is known beyond: "parameters" (the lesion's, as a dict), "tissues" (by name), "centre"
            (x, y, z of the lesion's middle in the body, mm), and per role a dict:
            "labels" (`render.LABELS`), "lesion" (fraction of each voxel), "sigma" (of the noise), "field"
            (`motion.FieldMap`), "fat" (what suppression left of it); for t2w also "ghost_mm" (how far respiratory
            ghosts lie); for dwi also "distortion"; with `bare` also "clean" and "bare": (C, Z, Y, X) images without
            noise, with the lesion and without it (dwi: low b, high b), and "bare_labels".
    """

    patient: PhantomPatient
    scanner: Scanner
    images: Mapping[str, Volume]
    masks: Mapping[str, npt.NDArray[np.uint8]]
    truth: Mapping[str, Any]


def make_study(
    index: int,
    seed: int,
    *,
    scanner: Scanner | None = None,
    split: str = "train",
    small: bool = False,
    pixel_size: float = 1.0,
    noise: float = 1.0,
    roles: Sequence[str] = ("t2w", "dwi"),
    bare: bool = False,
) -> PhantomStudy:
    """Make the study of patient `index` of the cohort with this seed.

    The same arguments give the same bits. Only the scanner depends on `split`: one is held out for testing.

    Args:
        index: Number of the patient, from 0.
        seed: Of the cohort.
        scanner: Another scanner than the one drawn.
        split: train or test.
        small: Only 72 × 96 × 96 mm around the lesion: for tests.
        pixel_size: Factor on the scanner's pixel size in plane: for measuring what larger images cost.
        noise: Factor on the noise; 0 for none.
        roles: Which acquisitions to make: t2w, dwi (with b0 and adc).
        bare: Also what is known without noise, and of the same body without the lesion. The images are the same bits.
    """
    patient = draw_patient(index, seed, split)
    where = scanner or patient.scanner
    where = with_pixels(where, pixel_size) if pixel_size != 1 else where
    anatomy = make_anatomy(stream(seed, index, "anatomy"), patient.lesion, where.field_t)
    tissues = draw_tissues(stream(seed, index, "tissues"), where.field_t)
    tissues["obstructed"] = obstructed(tissues["pancreas"], patient.lesion.obstruction)
    field = draw_field(stream(seed, index, "field"), anatomy, where.field_t)
    crop = SMALL_MM if small else None
    images: dict[str, Volume] = {}
    truth: dict[str, Any] = {
        "parameters": patient.lesion.as_dict(),
        "tissues": tissues,
        "centre": anatomy.lesion.centre,
    }
    for role in roles:
        rng = stream(seed, index, role)
        made, known = _ACQUIRE[role](rng, anatomy, tissues, field, where, crop, noise, bare)
        images |= made
        truth[role] = known
    masks = {role: _outline(truth[role]["lesion"]) for role in roles}
    return PhantomStudy(patient, where, images, masks, truth)


def _outline(fraction: Float32) -> npt.NDArray[np.uint8]:
    """What a reader outlines: voxels that are lesion by half, or, of a lesion that fills none by half, the fullest.

    Args:
        fraction: (Z, Y, X), how much of each voxel is lesion.
    """
    fullest = float(fraction.max())
    return (fraction >= (0.5 if fullest >= 0.5 else max(0.5 * fullest, 1e-3))).astype(np.uint8)


def _t2w(
    rng: np.random.Generator,
    anatomy: Anatomy,
    tissues: Mapping[str, Tissue],
    field: FieldMap,
    scanner: Scanner,
    crop: tuple[float, float, float] | None,
    noise: float,
    bare: bool,
) -> tuple[dict[str, Volume], dict[str, Any]]:
    protocol = scanner.t2w
    geometry = _grid(rng, protocol, anatomy, crop)
    view = View(geometry, protocol.thickness, draw_breath(rng, geometry.shape[0], 0.8))
    unit = (
        scanner.scale * float(rng.uniform(0.85, 1.15)) / float(_t2_signals(tissues["pancreas"], protocol)[0])
    )
    signals = {
        name: (unit * _t2_signals(tissue, protocol)).astype(np.float32) for name, tissue in tissues.items()
    }

    def lesion_signal(matter: Matter) -> Float32:
        mixed = _blend(
            matter, tissues, lambda t1, t2, pd, d, f, ds: spin_echo(t1, t2, pd, protocol.te, protocol.tr)
        )
        return np.stack([np.float32(unit) * mixed, np.zeros_like(mixed)]).astype(np.float32)

    rendered = render(anatomy, view, signals, lesion_signal, bare=bare)
    left = fat_left(field, Noise.draw(rng, 20), geometry, protocol.fat)
    mixed = [signal[0] + (left + np.float32(OLEFINIC)) * signal[1] for signal in _signals(rendered)]
    clean = point_spread(np.stack(mixed), protocol.blur)
    clean *= bias_field(rng, geometry, scanner.bias)
    clean, far = _breathe(rng, clean, protocol, geometry)
    sigma = float(signals["pancreas"][0]) / protocol.snr * float(rng.uniform(0.85, 1.15)) * noise
    known = {"sigma": sigma, "field": field, "fat": left, "ghost_mm": far}
    image = rician(rng, clean[0], sigma)
    return {"t2w": _volume(image, geometry)}, _truth(rendered, clean[:, None]) | known


def _breathe(
    rng: np.random.Generator, image: Float32, protocol: SpinEchoProtocol, geometry: Geometry
) -> tuple[Float32, float]:
    """Respiratory ghosts, and how far away they lie, mm. What gating leaves moves 0.2 to 1.0 mm (assumed)."""
    period, travel, phase = rng.uniform(3000, 5500), rng.uniform(0.2, 1.0), rng.uniform(0, 2 * np.pi)
    pixel, y = geometry.spacing[1], axes_of(geometry)[1]
    rows = round(protocol.ghost_mm(period) / pixel)
    ghosted = breathing_ghosts(image, held_weight(y)[:, None], travel / pixel, rows, phase)
    return ghosted, rows * pixel


def _dwi(
    rng: np.random.Generator,
    anatomy: Anatomy,
    tissues: Mapping[str, Tissue],
    field: FieldMap,
    scanner: Scanner,
    crop: tuple[float, float, float] | None,
    noise: float,
    bare: bool,
) -> tuple[dict[str, Volume], dict[str, Any]]:
    protocol = scanner.dwi
    geometry = _grid(rng, protocol, anatomy, crop)
    distortion = distort(field, protocol, geometry)
    view = View(geometry, protocol.thickness, draw_breath(rng, geometry.shape[0], 1.0), distortion)
    unit = 400 * float(rng.uniform(0.85, 1.15)) / float(_dwi_signals(tissues["pancreas"], protocol)[0])
    signals = {
        name: (unit * _dwi_signals(tissue, protocol)).astype(np.float32) for name, tissue in tissues.items()
    }

    def lesion_signal(matter: Matter) -> Float32:
        def of(b: float) -> Float32:
            return _blend(
                matter, tissues,
                lambda t1, t2, pd, d, f, ds: spin_echo(t1, t2, pd, protocol.te, protocol.tr) * ivim(d, f, ds, b),
            )  # fmt: skip

        water = [of(b) for b in protocol.b_actual]
        return (np.float32(unit) * np.stack([*water, np.zeros_like(water[0])])).astype(np.float32)

    rendered = render(anatomy, view, signals, lesion_signal, bare=bare)
    left = fat_left(field, Noise.draw(rng, 20), geometry, protocol.fat)
    clean = []
    for signal in _signals(rendered):
        fat = shifted_fat(left * signal[2], protocol, geometry, scanner.field_t)
        fat += np.float32(OLEFINIC_IN_EPI) * signal[2]
        image = signal[:2] + fat * _of_fat(tissues["fat"], protocol)[:, None, None, None]
        clean.append(ghost(point_spread(image, protocol.blur), protocol.ghost))
    bias = bias_field(rng, geometry, scanner.bias)
    clean = [image * bias for image in clean]
    sigma = float(signals["pancreas"][0]) / protocol.snr * float(rng.uniform(0.85, 1.15)) * noise
    low = rician(rng, clean[0][0], sigma)
    high = rician(rng, clean[0][1], sigma / protocol.averages**0.5)
    fitted = adc(low, high, *protocol.b_actual, floor=max(4 * sigma, 0.03 * 400))
    images = {"dwi": _volume(high, geometry), "b0": _volume(low, geometry), "adc": _volume(fitted, geometry)}
    known = {"sigma": sigma, "field": field, "fat": left, "distortion": distortion}
    return images, _truth(rendered, np.stack(clean)) | known


_ACQUIRE = {"t2w": _t2w, "dwi": _dwi}


def _t2_signals(tissue: Tissue, protocol: SpinEchoProtocol) -> npt.NDArray[np.float64]:
    """(2,) signals of a tissue's water and, unsuppressed, of its fat."""
    echo = float(spin_echo(tissue.t1, tissue.t2, tissue.density, protocol.te, protocol.tr))
    return np.array([(1 - tissue.fat) * echo, tissue.fat * echo])


def _dwi_signals(tissue: Tissue, protocol: DiffusionProtocol) -> npt.NDArray[np.float64]:
    """(3,) signals of a tissue's water at both b-values and, unsuppressed and without diffusion, of its fat."""
    echo = float(spin_echo(tissue.t1, tissue.t2, tissue.density, protocol.te, protocol.tr))
    water = [(1 - tissue.fat) * echo * ivim(tissue.d, tissue.f, tissue.d_star, b) for b in protocol.b_actual]
    return np.array([*water, tissue.fat * echo])


def _of_fat(fat: Tissue, protocol: DiffusionProtocol) -> Float32:
    """(2,) what diffusion leaves of fat at both b-values."""
    return np.array([ivim(fat.d, 0.0, 0.0, b) for b in protocol.b_actual], dtype=np.float32)


def _blend(matter: Matter, tissues: Mapping[str, Tissue], equation: Any) -> Float32:
    """Signals of solid tumour, cyst and clot, mixed by their shares."""
    cyst, clot = tissues["cyst"], tissues["blood_clot"]
    solid = equation(matter.t1, matter.t2, 0.9, matter.d, matter.f, 40.0)
    mixed = matter.cyst * equation(cyst.t1, cyst.t2, cyst.density, cyst.d, cyst.f, cyst.d_star)
    mixed += matter.clot * equation(clot.t1, clot.t2, clot.density, clot.d, clot.f, clot.d_star)
    return np.asarray(mixed + (1 - matter.cyst - matter.clot) * solid, dtype=np.float32)


def _grid(
    rng: np.random.Generator,
    protocol: SpinEchoProtocol | DiffusionProtocol,
    anatomy: Anatomy,
    crop: tuple[float, float, float] | None,
) -> Geometry:
    """The stack of slices as an operator would place it; a crop is centred on the lesion."""
    aim = np.array([anatomy.centre[2], 0.0, 0.0]) + rng.normal(0, 3.0, 3)
    shape = protocol.shape
    if crop is not None:
        aim = np.array(anatomy.lesion.centre[::-1]) + rng.normal(0, 3.0, 3)
        nz, ny, nx = (round(mm / step) for mm, step in zip(crop, protocol.spacing, strict=True))
        shape = (nz, ny, nx)
    first = aim - 0.5 * (np.array(shape) - 1) * protocol.spacing
    return Geometry(shape, protocol.spacing, tuple(np.round(first[::-1], 3).tolist()))


def _volume(image: Float32, geometry: Geometry) -> Volume:
    return Volume(np.rint(np.clip(image, 0, 32767)).astype(np.float32)[None], geometry)


def _signals(rendered: Rendered) -> list[Float32]:
    """Of the body with its lesion, then without it where that was asked for."""
    return [rendered.signal] if rendered.bare is None else [rendered.signal, rendered.bare]


def _truth(rendered: Rendered, clean: Float32) -> dict[str, Any]:
    """What is known of an acquisition; `clean` is (1 or 2, C, Z, Y, X), without noise: with the lesion, without it."""
    known = {"labels": rendered.labels, "lesion": rendered.lesion}
    if rendered.bare is None:
        return known
    return known | {"clean": clean[0], "bare": clean[1], "bare_labels": rendered.bare_labels}
