"""A Segmentation that is not the mask is caught, whatever is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from scipy.spatial.transform import Rotation

from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.readback import check_seg
from scanside.runtime.dicom.seg import SegOptions, numbered_segments, write_seg
from scanside.runtime.errors import OutputError
from scanside.runtime.volume import Geometry
from tests.support.dicom_factory import Grid, enhanced, save, stored_values, write_series
from tests.support.properties import examples

pytestmark = pytest.mark.requirement("objects")

LABELS = {"Lesion 1": 1, "Lesion 2": 2}
SHAPE = (6, 9, 7)


def lopsided() -> np.ndarray:
    """Two segments without any symmetry."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 1:4, 2:6] = 1
    mask[2, 5, 1] = 1
    mask[4, 7, 5:7] = 2
    return mask


def written(folder: Path, mask: np.ndarray, grid: Grid, encoding: str = "BINARY") -> tuple[Path, Geometry]:
    series = read_series(write_series(folder / "in", stored_values(mask.shape), grid, [3, 5, 0, 2, 4, 1]))[1]
    path = folder / "seg.dcm"
    write_seg(mask, LABELS, series, path, algorithm_name="a", algorithm_version="1", bundle_sha256="ab" * 32,
              options=SegOptions(encoding))  # fmt: skip
    return path, series.geometry


def orientation(angles: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(np.round(Rotation.from_euler("xyz", angles, True).as_matrix()[:, :2].T.ravel(), 9))


Sabotage = Callable[[Dataset], None]


def pixels(change: Callable[[np.ndarray], np.ndarray]) -> Sabotage:
    def apply(dataset: Dataset) -> None:
        frames = change(dataset.pixel_array)
        packed = frames.tobytes() if dataset.BitsAllocated == 8 else pack_bits(frames)
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)

    return apply


def positions(move: Callable[[np.ndarray, Dataset], np.ndarray]) -> Sabotage:
    def apply(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            plane = group.PlanePositionSequence[0]
            moved = move(np.array(plane.ImagePositionPatient, float), dataset)
            plane.ImagePositionPatient = [f"{v:.10g}" for v in moved]

    return apply


def shared(sequence: str, keyword: str, change: Callable[[np.ndarray], np.ndarray]) -> Sabotage:
    def apply(dataset: Dataset) -> None:
        item = getattr(dataset.SharedFunctionalGroupsSequence[0], sequence)[0]
        values = change(np.atleast_1d(np.array(getattr(item, keyword), float))).tolist()
        setattr(item, keyword, [f"{v:.10g}" for v in values])

    return apply


def normal(dataset: Dataset) -> np.ndarray:
    plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    cosines = np.array(plane.ImageOrientationPatient, float)
    return np.cross(cosines[:3], cosines[3:])


def other_segment(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        item = group.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = 3 - item.ReferencedSegmentNumber


def reversed_positions(dataset: Dataset) -> None:
    """The frames in the other order: what a reader that trusts the order would do."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence for group in groups]
    for group, place in zip(groups, reversed(places), strict=True):
        group.PlanePositionSequence = place


SABOTAGE: dict[str, tuple[Sabotage, str]] = {
    "rows flipped": (pixels(lambda p: p[:, ::-1]), "centroid"),
    "columns mirrored": (pixels(lambda p: p[:, :, ::-1]), "centroid"),
    "slices flipped": (reversed_positions, "away|not where|voxels"),
    "a slice further": (positions(lambda p, d: p + 3.0 * normal(d)), "centroid"),
    "half a slice further": (positions(lambda p, d: p + 1.5 * normal(d)), "beside"),
    "20 micrometres aside": (positions(lambda p, d: p + 0.02), "beside"),
    "a voxel lost": (pixels(lambda p: np.concatenate([p[:1] * 0, p[1:]])), "voxels instead of"),
    "all lost": (pixels(np.zeros_like), "0 voxels instead of"),
    "twice the pixel": (shared("PixelMeasuresSequence", "PixelSpacing", lambda s: 2 * s), "beside|reaches|volume"),
    "pixel sides exchanged": (
        shared("PixelMeasuresSequence", "PixelSpacing", lambda s: s[::-1]),
        "beside|volume|reaches",
    ),
    "another step": (shared("PixelMeasuresSequence", "SpacingBetweenSlices", lambda s: s + 0.5), "volume"),
    "left for right": (
        shared("PlaneOrientationSequence", "ImageOrientationPatient", lambda c: c * [-1, -1, -1, 1, 1, 1]),
        "orientation",
    ),
    "turned by half a degree": (
        shared("PlaneOrientationSequence", "ImageOrientationPatient", lambda c: np.concatenate(
            [c[:3] * np.cos(0.01) + c[3:] * np.sin(0.01), c[3:] * np.cos(0.01) - c[:3] * np.sin(0.01)])),
        "orientation",
    ),
    "another segment": (other_segment, "voxels instead of"),
}  # fmt: skip


@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage_is_caught(tmp_path: Path, what: str) -> None:
    change, words = SABOTAGE[what]
    mask = lopsided()
    path, geometry = written(tmp_path, mask, Grid(orientation((20.0, -35.0, 60.0))))
    meant = numbered_segments(mask, LABELS)
    check_seg(path, meant, geometry)
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    with pytest.raises(OutputError, match=words) as caught:
        check_seg(path, meant, geometry)
    assert "nothing of this study is delivered" in str(caught.value) and str(tmp_path) not in str(
        caught.value
    )


@pytest.mark.parametrize("encoding", ["BINARY", "LABELMAP"])
def test_another_mask_of_the_same_count_and_centroid_is_caught(tmp_path: Path, encoding: str) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 3:6, 4] = 1
    path, geometry = written(tmp_path, mask, Grid(), encoding)
    check_seg(path, mask, geometry)
    turned = np.zeros(SHAPE, np.uint8)
    turned[2, 4, 3:6] = 1
    with pytest.raises(OutputError, match="not where the mask has them"):
        check_seg(path, turned, geometry)


def test_a_damaged_file_is_caught(tmp_path: Path) -> None:
    path, geometry = written(tmp_path, lopsided(), Grid())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OutputError, match="cannot be read again"):
        check_seg(path, lopsided(), geometry)


def test_empty_mask_and_multi_frame_source(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    path, geometry = written(tmp_path, mask, Grid())
    check_seg(path, mask, geometry)
    source = save(enhanced(stored_values(SHAPE), Grid(), [3, 5, 0, 2, 4, 1], True), tmp_path / "mf.dcm")
    series = read_series(source)[1]
    write_seg(
        lopsided(), LABELS, series, path, algorithm_name="a", algorithm_version="1", bundle_sha256="ab" * 32
    )
    check_seg(path, lopsided(), series.geometry)
    with pytest.raises(OutputError, match="segment 1 has 37 voxels instead of 0"):
        check_seg(path, mask, series.geometry)


def test_slices_that_are_not_quite_equidistant(tmp_path: Path) -> None:
    """The geometry gate allows 0.1 mm; a Segmentation lies on the slices as they are, not on the even grid."""
    offsets = np.array([0.0, 0.04, -0.03, 0.05, 0.0, 0.02])

    def move(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [round(v, 9) for v in Grid().position(z + offsets[z] / 3.0)]

    series = read_series(write_series(tmp_path / "in", stored_values(SHAPE), change=move))[1]
    path = tmp_path / "seg.dcm"
    write_seg(
        lopsided(), LABELS, series, path, algorithm_name="a", algorithm_version="1", bundle_sha256="ab" * 32
    )
    slices = np.array([frame.numbers("ImagePositionPatient", 3) for frame in series.frames])
    check_seg(path, lopsided(), series.geometry, slices)
    with pytest.raises(OutputError, match="beside"):
        check_seg(path, lopsided(), series.geometry)


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    origin=st.tuples(*[st.floats(-400, 400)] * 3),
    step=st.floats(0.5, 12),
    pixel=st.tuples(st.floats(0.3, 4), st.floats(0.3, 4)),
    seed=st.integers(0, 1000),
    labelmap=st.booleans(),
    wrong=st.sampled_from(sorted(SABOTAGE)),
)
@examples(25)
def test_any_geometry(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    origin: tuple[float, float, float],
    step: float,
    pixel: tuple[float, float],
    seed: int,
    labelmap: bool,
    wrong: str,
) -> None:
    """Every mask on every grid is found again; in every binary one, sabotage is caught."""
    random = np.random.default_rng(seed)
    mask = random.choice(3, SHAPE, p=[0.8, 0.15, 0.05]).astype(np.uint8)
    grid = Grid(orientation(angles), tuple(round(v, 6) for v in origin), step, pixel)
    folder = tmp_path_factory.mktemp("any")
    path, geometry = written(folder, mask, grid, "LABELMAP" if labelmap else "BINARY")
    meant = numbered_segments(mask, LABELS)
    check_seg(path, meant, geometry)
    assume(not labelmap)
    dataset = pydicom.dcmread(path)
    before = dataset.to_json()
    SABOTAGE[wrong][0](dataset)
    assume(
        dataset.to_json() != before
        and not (wrong == "pixel sides exchanged" and abs(pixel[0] - pixel[1]) < 0.01)
    )
    dataset.save_as(path)
    with pytest.raises(OutputError):
        check_seg(path, meant, geometry)
