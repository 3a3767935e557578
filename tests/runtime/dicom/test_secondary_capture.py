"""The secondary capture: the pictures are in it, pixel by pixel, and it says what it is."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from scanside.runtime.dicom.object_header import Algorithm, stamp_of
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.secondary_capture import write_capture
from scanside.runtime.dicom.series import DicomSeries, find_series
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import stored_values, write_series

ALGORITHM = Algorithm("pancreas", "1.2.0", "ab" * 32)


@pytest.fixture
def series(tmp_path: Path) -> DicomSeries:
    return read_series(write_series(tmp_path / "in", stored_values()))[1]


def write(series: DicomSeries, path: Path, *shapes: tuple[int, int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    pictures = {
        f"role{n}": random.integers(0, 256, (*shape, 3)).astype(np.uint8) for n, shape in enumerate(shapes)
    }
    stamp = stamp_of(ALGORITHM, series.headers)
    write_capture(pictures, series.headers[0], series.headers[1:3], stamp, path)
    return pictures


@pytest.mark.parametrize("shapes", [((31, 41),), ((20, 44), (33, 40)), ((9, 9), (9, 9), (9, 9))])
@pytest.mark.parametrize("body", ["ABDOMEN", None])
def test_pictures_are_frames(tmp_path: Path, shapes: tuple[tuple[int, int], ...], body: str | None) -> None:
    def part(_: int, dataset: pydicom.Dataset) -> None:
        if body:
            dataset.BodyPartExamined = body

    series = read_series(write_series(tmp_path / "in", stored_values(), change=part))[1]
    pictures = write(series, tmp_path / "sc.dcm", *shapes)
    assert errors_of(tmp_path / "sc.dcm") == []
    read = pydicom.dcmread(tmp_path / "sc.dcm")
    frames = read.pixel_array.reshape(len(shapes), read.Rows, read.Columns, 3)
    for frame, picture in zip(frames, pictures.values(), strict=True):
        rows, columns = picture.shape[:2]
        np.testing.assert_array_equal(frame[:rows, :columns], picture)
        assert not frame[rows:].any() and not frame[:, columns:].any()
    assert list(read.get("FrameLabelVector") or pictures) == list(pictures)  # a single frame has no vector


def test_what_it_says(tmp_path: Path, series: DicomSeries) -> None:
    write(series, tmp_path / "sc.dcm", (8, 8))
    read = pydicom.dcmread(tmp_path / "sc.dcm")
    assert read.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4" and read.BurnedInAnnotation == "NO"
    assert "RESEARCH USE ONLY" in read.SeriesDescription and "RESEARCH USE ONLY" in read.DerivationDescription
    assert (read.PatientID, read.StudyInstanceUID) == ("P1", series.study_instance_uid)
    assert read.SeriesInstanceUID != series.series_instance_uid and read.SeriesNumber == 9000 + 2000 + 7
    sources = [item.ReferencedSOPInstanceUID for item in read.SourceImageSequence]
    assert sources == list(series.sop_instance_uids[1:3])


def test_a_second_run_gives_the_same_bytes(tmp_path: Path, series: DicomSeries) -> None:
    for name in ("1.dcm", "2.dcm"):
        write(series, tmp_path / name, (8, 8), (9, 7))
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()


def test_a_result_that_comes_back_is_not_taken_for_an_image(tmp_path: Path) -> None:
    """A PACS may send results along with the study: reading a folder refuses two series rather than mix them."""
    folder = write_series(tmp_path / "in", stored_values())
    write(read_series(folder)[1], folder / "sc.dcm", (8, 8))
    with pytest.raises(Exception, match="2 series"):
        find_series(folder)
