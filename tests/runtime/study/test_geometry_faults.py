"""A good study, altered: whatever is wrong with it is `unsuitable input` with a reason that names the fault."""

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from scanside.runtime.dicom.read import read_frames
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import InputError
from scanside.runtime.remark import code_of
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from tests.runtime.study.tiny_study import images, write_dicom
from tests.support.dicom_factory import Grid, stored_values, write_series
from tests.support.properties import examples
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("geometry")

SECRETS = {"PatientName": "Geheim^Gertrud", "PatientID": "PID-77031", "PatientBirthDate": "19330219"}
T2, DWI, ADC = "a/t2/b0", "b/dwi/b800", "b/adc/b0"
Fault = Callable[[list[Path]], None]


def result_of(path: Path, runner: StudyRunner) -> StudyResult:
    """As `scanside run` and the appliance do it."""
    try:
        study = read_study(path, runner.recipe.needed)
    except InputError as error:
        return refused(str(error))
    return runner.run(study)


@pytest.fixture(scope="module")
def good_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a patient whose name no message may hold; not to be changed."""
    folder = write_dicom(tmp_path_factory.mktemp("faults") / "good")
    for file in folder.rglob("*.dcm"):
        edit(file, **SECRETS)
    return folder


@pytest.fixture
def study(good_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good_study, tmp_path / "study")


def edit(file: Path, change: Callable[[Dataset], None] | None = None, **attributes: object) -> None:
    dataset = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if change:
        change(dataset)
    dataset.save_as(file)


def on(which: slice | int, change: Callable[[Dataset], None] | None = None, **attributes: object) -> Fault:
    """Alter some slices, which come in z order."""

    def fault(files: list[Path]) -> None:
        for file in [files[which]] if isinstance(which, int) else files[which]:
            edit(file, change, **attributes)

    return fault


def drop(*which: int) -> Fault:
    def fault(files: list[Path]) -> None:
        for z in which:
            files[z].unlink()

    return fault


def copied(change: Callable[[Dataset], None] | None) -> Fault:
    def fault(files: list[Path]) -> None:
        extra = Path(shutil.copy(files[7], files[7].with_name("extra.dcm")))
        if change:
            edit(extra, change)

    return fault


def other_pixels(dataset: Dataset) -> None:
    dataset.SOPInstanceUID = dataset.SOPInstanceUID[:-2] + ".9"
    dataset.PixelData = np.flip(dataset.pixel_array).tobytes()


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        place = zip(dataset.ImagePositionPatient, (x, y, z), strict=True)
        dataset.ImagePositionPatient = [float(p) + by for p, by in place]

    return change


def sheared(files: list[Path]) -> None:
    for z, file in enumerate(files):
        edit(file, moved(y=0.3 * z))


def uneven(files: list[Path]) -> None:
    for z, file in enumerate(files):
        edit(file, moved(z=0.1 * z**2))


def turned(degrees: float) -> Callable[[Dataset], None]:
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return lambda dataset: setattr(dataset, "ImageOrientationPatient", [1, 0, 0, 0, round(c, 8), round(s, 8)])


def smaller(dataset: Dataset) -> None:
    pixels = dataset.pixel_array[:40, :40]
    dataset.Rows, dataset.Columns, dataset.PixelData = 40, 40, pixels.tobytes()


def two_moments(files: list[Path]) -> None:
    for z, file in enumerate(files):
        edit(file, TemporalPositionIdentifier=1 + (z >= 8))


def again(files: list[Path]) -> None:
    """A second time point of the whole stack; nothing but the acquisition number tells."""
    for file in files:
        extra = Path(shutil.copy(file, file.with_name(f"again_{file.name}")))
        edit(extra, lambda d: setattr(d, "SOPInstanceUID", d.SOPInstanceUID + ".2"), AcquisitionNumber=2)
        edit(file, AcquisitionNumber=1)


def again_and_nothing_tells(files: list[Path]) -> None:
    for file in files:
        extra = Path(shutil.copy(file, file.with_name(f"again_{file.name}")))
        edit(extra, lambda d: setattr(d, "SOPInstanceUID", d.SOPInstanceUID + ".2"))


def noise(dataset: Dataset) -> None:
    dice = np.random.default_rng(int(dataset.InstanceNumber))
    shape = (dataset.Rows, dataset.Columns)
    values = np.abs(dice.normal(0, 30, shape) + 1j * dice.normal(0, 30, shape))
    dataset.PixelData = np.rint(values).astype(np.uint16).tobytes()


def phase(dataset: Dataset) -> None:
    values = dataset.pixel_array.astype(np.int16) - 300
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
    dataset.PixelData = values.tobytes()


def empty(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def cut(files: list[Path]) -> None:
    files[5].write_bytes(files[5].read_bytes()[:-500])


def scaled_but_one(files: list[Path]) -> None:
    for z, file in enumerate(files):
        if z != 5:
            edit(file, RescaleSlope=2.0, RescaleIntercept=0.0)


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


ANY, INNER = slice(None), 7
FAULTS: dict[str, tuple[str, Fault, tuple[str, ...]]] = {
    "a slice is missing": (T2, drop(7), ("1 slice(s) are missing", "12 mm instead of 6 mm")),
    "slices are missing": (T2, drop(3, 7, 8), ("3 slice(s) are missing",)),
    "a slice of the DWI is missing": (DWI, drop(7), ("'ep2d_diff_tra' b=800", "1 slice(s) are missing")),
    "the same slice twice": (T2, copied(None), ("stored twice", "extra.dcm")),
    "two slices at one place": (T2, copied(other_pixels), ("2 images at the same position", "extra.dcm")),
    "one slice flipped": (
        T2,
        on(INNER, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]),
        ("ImageOrientationPatient differs",),
    ),
    "one slice upside down": (
        T2,
        on(INNER, ImageOrientationPatient=[1, 0, 0, 0, -1, 0]),
        ("ImageOrientationPatient differs",),
    ),
    "one slice tilted by 1°": (T2, on(INNER, turned(1.0)), ("ImageOrientationPatient differs",)),
    "one slice of the DWI tilted": (DWI, on(INNER, turned(1.0)), ("ImageOrientationPatient differs",)),
    "half of it of another time point": (T2, two_moments, ("2 time points",)),
    "every second slice of another time point": (T2, again, ("several volumes", "time points")),
    "two time points that nothing tells apart": (
        T2,
        again_and_nothing_tells,
        ("2 images at the same position", "no attribute known"),
    ),
    "two echoes": (T2, on(slice(8, None), EchoTime=180.0), ("several echo times, 90 to 180 ms",)),
    "two frames of reference in a series": (
        T2,
        on(slice(8, None), FrameOfReferenceUID="2.25.7"),
        ("frame of reference differs",),
    ),
    "two image sizes": (T2, on(slice(8, None), smaller), ("image size differs",)),
    "two pixel spacings": (T2, on(slice(8, None), PixelSpacing=[2.9, 3.0]), ("PixelSpacing differs",)),
    "uneven steps": (T2, uneven, ("unevenly spaced",)),
    "one slice out of step": (T2, on(INNER, moved(z=1.0)), ("unevenly spaced",)),
    "sheared": (T2, sheared, ("drift 4.5 mm sideways",)),
    "one slice shifted sideways": (T2, on(INNER, moved(x=2.0)), ("sideways",)),
    "no position": (T2, on(INNER, without("ImagePositionPatient")), ("no usable ImagePositionPatient",)),
    "no orientation": (T2, on(ANY, without("ImageOrientationPatient")), ("no usable ImageOrientationPatient",)),
    "no pixel spacing": (T2, on(ANY, without("PixelSpacing")), ("no usable PixelSpacing",)),
    "axes not perpendicular": (
        T2,
        on(ANY, ImageOrientationPatient=[1, 0, 0, 0.05, 1, 0]),
        ("perpendicular",),
    ),
    "T2WI elsewhere": (T2, on(ANY, moved(z=200.0)), ("share only 0%",)),
    "T2WI of another positioning": (T2, on(ANY, FrameOfReferenceUID="2.25.7"), ("different frames of reference",)),
    "sagittal": (T2, on(ANY, ImageOrientationPatient=[0, 1, 0, 0, 0, 1]), ("is not axial",)),
    "too few slices": (T2, drop(*range(4, 16)), ("fewer than 5 slices",)),
    "too short": (T2, drop(*range(6, 16)), ("covers 36 mm",)),
    "too narrow": (T2, on(ANY, PixelSpacing=[1.5, 1.5]), ("field of view of 72 × 72 mm",)),
    "too large to be true": (T2, on(ANY, PixelSpacing=[300.0, 300.0]), ("more than any scanner",)),
    "noise alone": (T2, on(ANY, noise), ("nothing but noise",)),
    "a DWI of noise": (DWI, on(ANY, noise), ("nothing but noise",)),
    "negative values": (T2, on(ANY, phase), ("negative values",)),
    "an empty slice": (T2, on(INNER, empty), ("1 empty slice(s)",)),
    "an empty series": (T2, on(ANY, empty), ("is empty",)),
    "a slope on all slices but one": (T2, scaled_but_one, ("no RescaleSlope",)),
    "a slope of zero": (T2, on(INNER, RescaleSlope=0, RescaleIntercept=0), ("RescaleSlope 0",)),
    "pixels cut off": (T2, cut, ("truncated or damaged",)),
    "burned-in text": (T2, on(INNER, BurnedInAnnotation="YES"), ("text burned into it",)),
    "a slice of another patient": (T2, on(INNER, PatientID="PID-77032"), ("2 patients",)),
    "a slice of another study": (T2, on(INNER, StudyInstanceUID="2.25.9"), ("2 studies",)),
    "an ADC map of another place": (ADC, on(ANY, moved(z=60.0)), ("adc covers only",)),
    "an ADC map of another positioning": (
        ADC,
        on(ANY, FrameOfReferenceUID="2.25.7"),
        ("adc", "different frames of reference"),
    ),
    "an ADC map in no unit": (ADC, on(ANY, RescaleSlope=0.1, RescaleIntercept=0.0), ("which is no ADC",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_unsuitable_input(study: Path, runner: StudyRunner, name: str) -> None:
    series, fault, words = FAULTS[name]
    fault(sorted((study / series).iterdir()))
    result = result_of(study, runner)
    assert result.status == "unsuitable input" and result.reason is not None
    assert_one_sentence(result.reason, *words)
    assert not result.roles and result.classification is None and result.exit_code == 5
    for part in ("Geheim", "Gertrud", "PID-7703", "19330219"):
        assert part not in result.reason and not any(part in warning for warning in result.warnings)


def test_a_lost_tag_on_half_of_the_time_points_is_no_second_one(study: Path, runner: StudyRunner) -> None:
    on(slice(8, None), TemporalPositionIdentifier=1)(sorted((study / T2).iterdir()))
    assert result_of(study, runner).status == "ok"


@given(order=st.permutations(range(16)))
@examples(5)
def test_shuffled_files_are_the_same_study(
    tmp_path_factory: pytest.TempPathFactory,
    good_study: Path,
    order: Sequence[int],
) -> None:
    folder = shutil.copytree(good_study, tmp_path_factory.mktemp("shuffled") / "study")
    files = sorted((folder / T2).iterdir())
    for place, file in zip(order, files, strict=True):
        edit(file, InstanceNumber=place + 1)
        file.rename(folder / f"{place:03d}")
    image = read_study(folder, ("t2w",)).images["t2w"]
    np.testing.assert_array_equal(image.volume.data, images()["t2w"].data)
    assert image.volume.geometry.difference(images()["t2w"].geometry) is None


def test_per_slice_rescale_and_signed_pixels_are_read_and_not_refused(study: Path) -> None:
    """Philips scales every slice by itself; a distortion-corrected T2 of Canon has values below zero."""
    made = images()["t2w"].data[0]
    for z, file in enumerate(sorted((study / T2).iterdir())):

        def change(dataset: Dataset, z: int = z) -> None:
            slope = 0.25 * (z + 1)
            stored = np.rint((made[z] + 100) / slope).astype(np.int16)
            dataset.RescaleSlope, dataset.RescaleIntercept = slope, -100
            dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
            dataset.PixelData = stored.tobytes()

        edit(file, change)
    data = read_study(study, ("t2w",)).images["t2w"].volume.data[0]
    assert np.abs(data - made).max() <= 2.0


@given(
    kept=st.sets(st.integers(0, 11), min_size=5),
    doubled=st.sets(st.integers(0, 11), max_size=1),
    jitter=st.lists(st.floats(-0.5, 0.5), min_size=12, max_size=12),
    quiet=st.booleans(),
    order=st.randoms(use_true_random=False),
)
@examples(40)
def test_whatever_is_done_to_a_stack_it_is_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    kept: set[int],
    doubled: set[int],
    jitter: list[float],
    quiet: bool,
    order: random.Random,
) -> None:
    """Slices dropped, doubled, shifted, shuffled: what is accepted lies where its headers say, within the tolerance."""
    grid, stored = Grid(step=5.0, pixel=(1.0, 1.0)), stored_values((12, 4, 4))
    slices = sorted(kept) + sorted(kept & doubled)
    order.shuffle(slices)

    def change(z: int, dataset: Dataset) -> None:
        shift = 0.0 if quiet else jitter[z]
        dataset.ImagePositionPatient = [
            *dataset.ImagePositionPatient[:2],
            float(dataset.ImagePositionPatient[2]) + shift,
        ]

    folder = write_series(tmp_path_factory.mktemp("stack"), stored, grid, order=slices, change=change)
    (volume,) = index_study(folder).volumes
    if volume.problem is not None:
        assert_one_sentence(
            volume.problem, "series 7 'T2 tra'" if "In " in volume.problem else "eries 7 'T2 tra'"
        )
        return
    assert len(slices) == len(kept)
    image, _ = read_frames(list(volume.frames), folder)
    geometry = image.geometry
    for index, z in enumerate(sorted(kept)):
        np.testing.assert_array_equal(image.data[0, index], stored[z])
        shift = 0.0 if quiet else jitter[z]
        there = geometry.origin[2] + index * geometry.spacing[0]
        assert there == pytest.approx(grid.position(z)[2] + shift, abs=1.3)
    steps = {b - a for a, b in zip(sorted(kept), sorted(kept)[1:], strict=False)}
    assert len(steps) == 1


REAL_FAULTS: dict[str, tuple[Fault, str]] = {
    "missing": (drop(7), "1 slice(s) are missing"),
    "twice": (copied(None), "stored twice"),
    "one place": (copied(other_pixels), "same position"),
    "flipped": (on(INNER, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]), "ImageOrientationPatient differs"),
    "frames of reference": (on(INNER, FrameOfReferenceUID="2.25.7"), "frame of reference differs"),
    "pixel spacing": (on(INNER, PixelSpacing=[0.6, 0.5]), "PixelSpacing differs"),
    "uneven": (on(INNER, moved(z=1.0)), "unevenly spaced"),
    "shifted": (on(INNER, moved(x=0.3)), "sideways"),
    "position": (on(INNER, without("ImagePositionPatient")), "no usable ImagePositionPatient"),
}


@pytest.mark.parametrize("name", REAL_FAULTS)
def test_a_real_series_altered(tmp_path: Path, name: str) -> None:
    fault, words = REAL_FAULTS[name]
    real = shared_data("dicom", "prostatex_0000", "7.000000-ep2ddifftraDYNDISTADC-48780")
    files = [Path(shutil.copyfile(file, tmp_path / file.name)) for file in sorted(real.iterdir())]
    (good,) = index_study(tmp_path).volumes
    assert good.problem is None
    fault([frame.instance.path for frame in good.frames])
    (volume,) = index_study(tmp_path).volumes
    assert len(files) == len(good.frames) and volume.problem is not None
    assert_one_sentence(volume.problem, words)


def test_images_of_an_acquisition_that_was_broken_off_are_named(study: Path, runner: StudyRunner) -> None:
    """One slice of acquisition 2 beside the sixteen of acquisition 1: it used to vanish."""
    files = sorted((study / T2).iterdir())
    extra = Path(shutil.copy(files[7], files[7].with_name("extra.dcm")))
    edit(extra, lambda d: setattr(d, "SOPInstanceUID", d.SOPInstanceUID + ".2"), AcquisitionNumber=2)
    for file in files:
        edit(file, AcquisitionNumber=1)
    result = result_of(study, runner)
    assert result.status == "ok" and result.study is not None
    assert result.study.images["t2w"].volume.geometry.shape[0] == len(files)
    (warning,) = [one for one in result.warnings if code_of(one) == "images-left-out"]
    assert_one_sentence(warning, "1 further image(s)", "16 images of t2w", "left out")
