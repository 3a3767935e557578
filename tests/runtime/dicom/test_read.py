from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from scanside.runtime.dicom.read import read_series
from tests.support.dicom_factory import Grid, enhanced, save, slice_of, slope_of, stored_values, write_series

STORED = stored_values()


def rotated(angles: tuple[float, float, float]) -> tuple[float, ...]:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return tuple(np.round(matrix[:, :2].T.ravel(), 9).tolist())


def assert_on(folder: Path, grid: Grid, values: np.ndarray = STORED) -> None:
    volume, series = read_series(folder)
    geometry = volume.geometry
    np.testing.assert_array_equal(volume.data[0], values.astype(np.float32))
    np.testing.assert_allclose(geometry.spacing, (grid.step, *grid.pixel), atol=1e-6)
    np.testing.assert_allclose(geometry.origin, grid.origin, atol=1e-6)
    axes = np.stack([grid.orientation[:3], grid.orientation[3:], grid.normal], axis=1)
    np.testing.assert_allclose(geometry.direction_matrix, axes, atol=1e-6)
    assert len(series.frames) == len(values)
    assert series.series_instance_uid.endswith(".2")
    assert series.study_instance_uid.endswith(".1")


@settings(max_examples=25)
@given(
    order=st.permutations(range(5)),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    step=st.floats(0.5, 12),
)
def test_any_order_and_orientation(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    angles: tuple[float, float, float],
    origin: tuple[float, float, float],
    step: float,
) -> None:
    grid = Grid(rotated(angles), origin, step)
    folder = tmp_path_factory.mktemp("series")
    assert_on(write_series(folder, STORED, grid, order), grid)


@settings(max_examples=15)
@given(
    order=st.permutations(range(5)), angles=st.tuples(*[st.floats(-180, 180)] * 3), shared_plane=st.booleans()
)
def test_multi_frame_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    angles: tuple[float, float, float],
    shared_plane: bool,
) -> None:
    grid = Grid(rotated(angles))
    path = save(enhanced(STORED, grid, order, shared_plane), tmp_path_factory.mktemp("mf") / "mf.dcm")
    slopes = np.array([slope_of(z) for z in range(5)])[:, None, None]
    assert_on(path, grid, (STORED * slopes - 5.0).astype(np.float32))


def test_instances_follow_the_slices(tmp_path: Path) -> None:
    order = [3, 1, 4, 0, 2]
    _, series = read_series(write_series(tmp_path, STORED, order=order))
    numbers = [int(header.InstanceNumber) for header in series.headers]
    assert [order[number - 1] for number in numbers] == [0, 1, 2, 3, 4]
    assert [uid.rsplit(".", 1)[1] for uid in series.sop_instance_uids] == ["1", "2", "3", "4", "5"]
    assert not any("PixelData" in header for header in series.headers)


def test_rescale_is_per_slice_in_float64(tmp_path: Path) -> None:
    def change(z: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.1 * (z + 1), -1000.3

    volume, _ = read_series(write_series(tmp_path, STORED, change=change))
    slopes = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    slopes = np.array([float(f"{0.1 * (z + 1):.16g}") for z in range(5)])[:, None, None]
    np.testing.assert_array_equal(volume.data[0], (STORED * slopes - 1000.3).astype(np.float32))


def test_signed_pixels(tmp_path: Path) -> None:
    values = (STORED.astype(np.int16) - 2000).astype(np.int16)

    def change(z: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation = 1
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = values[z].tobytes()

    assert_on(write_series(tmp_path, STORED, change=change), Grid(), values)


def test_bits_above_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    """Old systems keep overlay planes there."""

    def change(z: int, dataset: Dataset) -> None:
        dataset.PixelData = (STORED[z] | 0x8000).tobytes()

    assert_on(write_series(tmp_path, STORED, change=change), Grid())


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_uncompressed_encodings(tmp_path: Path, syntax: str) -> None:
    for z in range(5):
        dataset = slice_of(STORED, z, Grid())
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = STORED[z].astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = syntax
        save(dataset, tmp_path / f"{z}.dcm")
    assert_on(tmp_path, Grid())


def test_rle(tmp_path: Path) -> None:
    for z in range(5):
        dataset = slice_of(STORED, z, Grid())
        dataset.compress(RLELossless, generate_instance_uid=False)
        save(dataset, tmp_path / f"{z}.dcm")
    assert_on(tmp_path, Grid())


def test_files_without_preamble_or_ending(tmp_path: Path) -> None:
    for z in range(5):
        dataset = slice_of(STORED, z, Grid())
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        content = save(dataset, tmp_path / f"1.2.840.{z}").read_bytes()
        start = content.index(b"\x08\x00\x08\x00")  # ImageType, the first element after the meta header
        (tmp_path / f"1.2.840.{z}").write_bytes(content[start:])
    assert_on(tmp_path, Grid())


def test_bystanders_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path, STORED)
    report = slice_of(STORED, 0, Grid())
    report.Modality, report.SOPClassUID, report.SeriesInstanceUID = (
        "SR",
        "1.2.840.10008.5.1.4.1.1.88.33",
        "1.9",
    )
    del report.Rows, report.Columns, report.PixelData
    save(report, tmp_path / "report.dcm")
    overlay = slice_of(STORED, 0, Grid())
    overlay.SOPClassUID, overlay.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.8"
    save(overlay, tmp_path / "seg.dcm")
    for name in ("DICOMDIR", "notes.txt", ".DS_Store", "preview.png", "sidecar.json"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "other").mkdir()
    assert_on(tmp_path, Grid())


def test_one_slice_takes_its_spacing_from_the_header(tmp_path: Path) -> None:
    volume, _ = read_series(write_series(tmp_path / "a", STORED[:1]))
    assert volume.geometry.spacing == (2.5, 0.8, 0.9)
    folder = write_series(
        tmp_path / "b", STORED[:1], change=lambda _, ds: setattr(ds, "SpacingBetweenSlices", 4)
    )
    assert read_series(folder)[0].geometry.spacing == (4.0, 0.8, 0.9)
    assert read_series(folder / "IM0000.dcm")[0].geometry.shape == (1, 8, 6)


def test_header_spacing_is_not_trusted(tmp_path: Path) -> None:
    def change(_: int, dataset: Dataset) -> None:
        dataset.SpacingBetweenSlices, dataset.SliceThickness = 17.0, 23.0

    assert_on(write_series(tmp_path, STORED, change=change), Grid())


def test_small_jitter_is_one_grid(tmp_path: Path) -> None:
    jitter = [0, 0.04, -0.04, 0.03, 0]

    def change(z: int, dataset: Dataset) -> None:
        position = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [position[0] + 0.05, position[1], position[2] + jitter[z]]

    volume, _ = read_series(write_series(tmp_path, STORED, change=change))
    assert volume.geometry.spacing[0] == pytest.approx(3.0, abs=1e-9)
