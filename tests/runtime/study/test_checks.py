"""What is refused before anything runs, and what is only warned of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from scanside.runtime.dicom.read import read_series
from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.body import block_sizes
from scanside.runtime.study.checks import check_study, overlap
from scanside.runtime.study.quality import LOW_SNR, NO_LIKENESS, body_of, likeness_of_slices, signal_to_noise
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyInput
from scanside.runtime.volume import Geometry, Volume
from tests.runtime.study.conftest import study_of
from tests.runtime.study.tiny_study import DWI_GRID, T2W_GRID, TinyStudy, images, moved
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data


def with_image(study: StudyInput, name: str, volume: Volume) -> StudyInput:
    return replace(study, images={**study.images, name: replace(study.images[name], volume=volume)})


def test_a_proper_study_passes_unchanged() -> None:
    study = study_of()
    found = check_study(study)
    for name, image in study.images.items():
        np.testing.assert_array_equal(found.images[name].volume.data, image.volume.data)
    assert all("covers only" in warning for warning in found.warnings)  # it is a small one


def test_adc_on_another_grid_is_interpolated_with_a_warning() -> None:
    made = images()
    fine = Geometry((31, 60, 60), (3.25, 2.4, 2.4), (-70.0, -69.0, -44.0))
    study = with_image(study_of(), "adc", images(TinyStudy(dwi_grid=fine))["adc"])
    found = check_study(study).images["adc"].volume
    assert found.geometry == DWI_GRID
    inside = made["adc"].data > 0
    assert np.median(np.abs(found.data - made["adc"].data)[inside]) < 30
    assert any("interpolated" in warning for warning in check_study(study).warnings)


Change = Callable[[Volume], Volume]


def at(grid: Geometry) -> Change:
    return lambda volume: Volume(volume.data, grid)


def slices(count: int) -> Change:
    return lambda v: Volume(v.data[:, :count], replace(v.geometry, shape=(count, *v.geometry.shape[1:])))


def phase(volume: Volume) -> Volume:
    return Volume((volume.data - 200).astype(np.float32), volume.geometry)


def rayleigh(shape: tuple[int, ...], sigma: float = 20.0, seed: int = 0) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    return np.abs(random.normal(0, sigma, shape) + 1j * random.normal(0, sigma, shape))


def interpolated(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Noise as a scanner that fills k-space with zeros gives it: smooth within slices."""
    random = np.random.default_rng(0)
    z, y, x = shape
    k = np.zeros((z, y, x), complex)
    part = (z, y // 2, x // 2)
    k[:, : y // 2, : x // 2] = random.normal(0, 20, part) + 1j * random.normal(0, 20, part)
    return np.abs(np.fft.ifft2(np.roll(k, (-(y // 4), -(x // 4)), (1, 2)))) * 1e4


def noise(made: Callable[[tuple[int, ...]], npt.NDArray[np.float64]]) -> Change:
    return lambda v: Volume(np.rint(made(v.data.shape[1:])).astype(np.float32)[None], v.geometry)


def lost(volume: Volume) -> Volume:
    data = volume.data.copy()
    data[:, 6] = 0
    return Volume(data, volume.geometry)


SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("t2w", slices(4), "4 slice(s)"),
        ("t2w", at(replace(T2W_GRID, spacing=(2.0, 3.0, 3.0))), "covers 32 mm"),
        ("t2w", at(replace(T2W_GRID, direction=SAGITTAL)), "not axial"),
        ("dwi", at(moved(DWI_GRID, z=70.0)), "share only"),
        ("dwi", at(moved(DWI_GRID, x=120.0)), "share only"),
        ("dwi", lambda v: Volume(np.full_like(v.data, 7), v.geometry), "every voxel is 7"),
        ("t2w", at(replace(T2W_GRID, spacing=(6.0, 2.0, 2.0))), "field of view of 96 × 96 mm"),
        ("dwi", at(replace(DWI_GRID, spacing=(6.5, 35.0, 35.0))), "measures 1400 mm"),
        ("t2w", lost, "1 empty slice(s) among the others, the first is number 7 of 16"),
        ("dwi", lost, "1 empty slice(s)"),
        ("t2w", phase, "negative values"),
        ("t2w", noise(rayleigh), "nothing but noise"),
        ("dwi", noise(rayleigh), "nothing but noise"),
        ("dwi", noise(interpolated), "nothing but noise"),
        ("adc", at(moved(DWI_GRID, z=40.0)), "adc covers only"),
        ("adc", lambda v: Volume(v.data * 0.1, v.geometry), "no ADC"),
    ],
)
def test_what_is_refused(name: str, change: Change, words: str) -> None:
    study = study_of()
    with pytest.raises(InputError) as caught:
        check_study(with_image(study, name, change(study.images[name].volume)))
    assert_one_sentence(str(caught.value), words)


def tilted(degrees: float) -> tuple[float, ...]:
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return (1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c)


def test_what_is_warned_of() -> None:
    study = study_of()
    oblique = with_image(
        study, "t2w", Volume(study.images["t2w"].volume.data, replace(T2W_GRID, direction=tilted(22.0)))
    )
    assert any("tilted by 22°" in warning for warning in check_study(oblique).warnings)
    noise = np.random.default_rng(0).normal(0, 32, DWI_GRID.shape).astype(np.float32)
    noisy = with_image(study, "dwi", Volume(np.abs(study.images["dwi"].volume.data + noise), DWI_GRID))
    assert any("dwi is noisy" in warning for warning in check_study(noisy).warnings)


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_signal_to_noise_is_about_right(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, T2W_GRID.shape)
    clean = np.where(images()["t2w"].data[0] > 100, 200.0, 0.0)
    volume = Volume(np.abs(clean + noise).astype(np.float32)[None], T2W_GRID)
    assert signal_to_noise(volume) == pytest.approx(200 / sigma, rel=0.2)


def test_empty_slices_at_an_end_are_padding() -> None:
    study = study_of()
    data = study.images["t2w"].volume.data.copy()
    data[:, :2] = 0
    data[:, -1] = 0
    assert check_study(with_image(study, "t2w", Volume(data, T2W_GRID))).images["t2w"].volume.data is data


def test_a_few_shallow_negative_values_are_what_filters_leave() -> None:
    study = study_of()
    data = study.images["t2w"].volume.data.copy()
    data[data < 5] = -10
    check_study(with_image(study, "t2w", Volume(data, T2W_GRID)))


@pytest.mark.parametrize("sigma", [1.0, 40.0])
@pytest.mark.parametrize("shape", [(12, 64, 64), (30, 128, 96)])
def test_noise_has_no_likeness_and_anatomy_has(sigma: float, shape: tuple[int, int, int]) -> None:
    grid = Geometry(shape, (6.0, 2.0, 2.0))
    nothing = Volume(rayleigh(shape, sigma, seed=1).astype(np.float32)[None], grid)
    assert abs(likeness_of_slices(nothing)) < NO_LIKENESS / 2
    for name in ("t2w", "dwi", "b0"):
        assert likeness_of_slices(images()[name]) > 4 * NO_LIKENESS


REAL = [
    "abdomen_scan_002_t2",
    "abdomen_scan_002_adc",
    "prostatex_0000/4.000000-t2tsetra-00702",
    "prostatex_0000/7.000000-ep2ddifftraDYNDISTADC-48780",
    "qin_prostate_adc_seg/ADC",
    "siemens_xa30_enhanced/12_DWI_dir80_PA",
]


@pytest.mark.parametrize("folder", REAL)
def test_real_images_are_far_from_noise(folder: str) -> None:
    volume, _ = read_series(shared_data("dicom", *folder.split("/")))
    assert likeness_of_slices(volume) > 0.75
    if (
        "adc" not in folder.lower()
    ):  # maps, whose noise has another distribution, are not judged by their noise
        assert signal_to_noise(volume) > LOW_SNR


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((3, 40, 50), (5.0, 1.3, 1.3)), ((2, 11, 7), (5.0, 1.0, 0.6)), ((2, 9, 9), (5.0, 9.0, 9.0))],
)
def test_the_body_covers_whole_blocks_of_the_image(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    grid = Geometry(shape, spacing)
    data = np.zeros(shape, np.float32)
    y, x = block_sizes(shape, spacing)
    data[:, y : 2 * y] = 100
    assert np.array_equal(
        body_of(Volume(data[None], grid)), (data > 0) & (np.arange(shape[2]) < shape[2] // x * x)
    )


def test_the_noise_is_the_median_of_the_laplacian_in_the_body() -> None:
    """The slices' second differences are Immerkær's kernel, borders included."""
    volume = images()["t2w"]
    body = body_of(volume)
    kernel = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    details = ndimage.convolve(volume.data[0].astype(np.float64), kernel[None], mode="nearest")[body]
    noise = np.median(np.abs(details)) / 0.6745 / 6
    assert signal_to_noise(volume) == pytest.approx(np.median(volume.data[0][body]) / noise, rel=1e-9)


def test_overlap_in_patient_space() -> None:
    grid = Geometry((10, 20, 20), (5.0, 2.0, 2.0))
    assert overlap(grid, grid) == 1
    assert overlap(grid, moved(grid, x=10.0)) == pytest.approx(0.75, abs=0.05)
    assert overlap(grid, moved(grid, z=100.0)) == 0
    part = Geometry((4, 8, 8), (5.0, 2.0, 2.0), (8.0, 8.0, 10.0))
    assert overlap(grid, part) == overlap(part, grid) == 1  # a small field of view within a large one


def test_images_of_two_patients_never_meet(dicom_study: Path) -> None:
    study = read_study(dicom_study, ("t2w", "dwi", "adc"))
    for keyword, words in (("PatientID", "different patients"), ("StudyInstanceUID", "different studies")):
        other = read_study(dicom_study, ("t2w", "dwi", "adc"))
        source = other.images["dwi"].source
        assert source is not None
        setattr(source.headers[0], keyword, "2.25.1")
        mixed = replace(study, images={**study.images, "dwi": other.images["dwi"]})
        with pytest.raises(InputError) as caught:
            check_study(mixed)
        assert_one_sentence(str(caught.value), words)


def test_two_frames_of_reference_and_burned_in_text_are_refused(dicom_study: Path) -> None:
    for keyword, value, words in (
        ("FrameOfReferenceUID", "2.25.1", "frames of reference"),
        ("BurnedInAnnotation", "YES", "burned into"),
    ):
        study = read_study(dicom_study, ("t2w", "dwi", "adc"))
        source = study.images["dwi"].source
        assert source is not None
        setattr(source.headers[0], keyword, value)
        with pytest.raises(InputError) as caught:
            check_study(study)
        assert_one_sentence(str(caught.value), words)
