"""Headers of the source in a Segmentation: names and IDs are kept, what breaks the standard is repaired."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.seg import write_seg
from tests.runtime.dicom.segs import BUNDLE, LABELS, mask_on, write
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import stored_values, write_series

pytestmark = pytest.mark.requirement("objects")


def test_anonymised_source(tmp_path: Path) -> None:
    def strip(_: int, dataset: Dataset) -> None:
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientSex",
            "AccessionNumber",
            "StudyID",
            "SeriesNumber",
        ):
            delattr(dataset, keyword)

    folder = write_series(tmp_path / "in", stored_values(), change=strip)
    series = read_series(folder)[1]
    segmentation = write(mask_on((5, 8, 6)), series, tmp_path / "seg.dcm")
    assert segmentation.PatientID == ""
    assert "PatientID" not in series.headers[0]


def test_patient_name_in_japanese_survives(tmp_path: Path) -> None:
    def name(_: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        dataset.PatientName = "Yamada^Tarou=山田^太郎"
        dataset.PatientComments = "山田"

    series = read_series(write_series(tmp_path / "in", stored_values(), change=name))[1]
    segmentation = write(mask_on((5, 8, 6)), series, tmp_path / "seg.dcm")
    assert str(segmentation.PatientName) == "Yamada^Tarou=山田^太郎"
    assert segmentation.PatientComments == "山田"
    assert [s.SegmentLabel for s in segmentation.SegmentSequence] == list(LABELS)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Ωμέγα^Ñandú"),
        (None, "Plain^Name"),
    ],
)
def test_character_set_of_the_source_is_kept(tmp_path: Path, charset: object, name: str) -> None:
    def named(_: int, dataset: Dataset) -> None:
        if charset is not None:
            dataset.SpecificCharacterSet = charset
        dataset.PatientName = name

    folder = write_series(tmp_path / "in", stored_values(), change=named)
    series = read_series(folder)[1]
    write_seg((mask_on((5, 8, 6)) > 0).astype(np.uint8), {"lesion": 1}, series, tmp_path / "seg.dcm",
              algorithm_name="a", algorithm_version="1", bundle_sha256=BUNDLE)  # fmt: skip
    made, source = pydicom.dcmread(tmp_path / "seg.dcm"), series.headers[0]
    assert made.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
    assert str(made.PatientName) == name
    raw = [pydicom.dcmread(path).get_item("PatientName").value for path in
           (tmp_path / "seg.dcm", series.instances[0].path)]  # fmt: skip
    assert raw[0] == raw[1]  # the same bytes


def test_headers_that_break_the_standard_are_repaired_where_they_must_be(tmp_path: Path) -> None:
    def broken(_: int, dataset: Dataset) -> None:
        dataset.ProcedureCodeSequence = [Dataset()]  # as GE sends it: a code without a value
        dataset.ProcedureCodeSequence[0].CodeValue = ""
        dataset.PatientSex = "MALE"
        dataset.PatientAge = "45"
        dataset.PatientBirthDate = "1.1.1970"
        dataset.PatientWeight = 70

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = write_series(tmp_path / "in", stored_values(), change=broken)
    made = write(mask_on((5, 8, 6)), read_series(folder)[1], tmp_path / "seg.dcm")
    assert float(made.PatientWeight) == 70 and "ProcedureCodeSequence" not in made
    assert made.PatientSex == "" and made.PatientBirthDate in (None, "") and "PatientAge" not in made
    assert errors_of(tmp_path / "seg.dcm") == []


def test_what_identifies_the_patient_is_never_repaired(tmp_path: Path) -> None:
    def broken(_: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.AccessionNumber = "X" * 70, "Y" * 20

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = write_series(tmp_path / "in", stored_values(), change=broken)
        made = write(mask_on((5, 8, 6)), read_series(folder)[1], tmp_path / "seg.dcm")
    assert (made.PatientID, made.AccessionNumber) == ("X" * 70, "Y" * 20)
