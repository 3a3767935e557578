"""The key object selection: the capture and the slices that were named, and nothing else."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from scanside.runtime.dicom.key_object import write_key_objects
from scanside.runtime.dicom.object_header import Algorithm, Stamp, stamp_of
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.secondary_capture import write_capture
from scanside.runtime.dicom.series import DicomSeries
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import Grid, enhanced, save, stored_values, write_series

ALGORITHM = Algorithm("pancreas", "1.2.0", "ab" * 32)


def written(
    series: DicomSeries, slices: list[int], folder: Path, synthetic: bool = False
) -> tuple[pydicom.Dataset, str]:
    stamp: Stamp = stamp_of(ALGORITHM, series.headers)
    picture = np.zeros((8, 8, 3), np.uint8)
    capture = write_capture({"t2w": picture}, series.headers[0], series.headers[:1], stamp, folder / "sc.dcm")
    path = folder / "ko.dcm"
    write_key_objects([capture], [series.frames[z] for z in slices], synthetic, stamp, path)
    assert errors_of(path) == []
    return pydicom.dcmread(path), str(capture.SOPInstanceUID)


def references(document: pydicom.Dataset) -> dict[str, object]:
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: item.ReferencedSOPSequence[0].get(
            "ReferencedFrameNumber"
        )
        for item in document.ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    }


def test_slices_and_capture_and_nothing_else(tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6)), order=[3, 5, 0, 2, 4, 1]))[1]
    read, capture = written(series, [2, 3], tmp_path, synthetic=True)
    assert set(references(read)) == {*series.sop_instance_uids[2:4], capture}
    assert read.ConceptNameCodeSequence[0].CodeValue == "113000" and read.Modality == "KO"
    (words,) = [
        item.TextValue
        for item in read.ContentSequence
        if item.ValueType == "TEXT" and "slices" in item.TextValue
    ]
    assert words.startswith("RESEARCH USE ONLY - SYNTHETIC")
    assert "RESEARCH USE ONLY" in read.SeriesDescription and read.PatientID == "P1"
    document = highdicom.ko.KeyObjectSelectionDocument.from_dataset(read)
    assert document.resolve_reference(series.sop_instance_uids[2])[1] == series.series_instance_uid


@pytest.mark.parametrize(("slices", "numbers"), [([1, 2, 3], [1, 3, 6]), ([4], 5)])
def test_frames_of_a_multi_frame_object_are_named(tmp_path: Path, slices: list[int], numbers: object) -> None:
    order = [3, 5, 1, 0, 4, 2]
    path = save(enhanced(stored_values((6, 8, 6)), Grid(), order, True), tmp_path / "mf.dcm")
    series = read_series(path)[1]
    read, capture = written(series, slices, tmp_path)
    found = references(read)
    assert set(found) == {*series.sop_instance_uids, capture}
    assert found[series.sop_instance_uids[0]] == numbers  # counted from 1, in the source's order
