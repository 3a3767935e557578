"""The structured report: read back by highdicom and pydicom, checked by dciodvfy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom.sr
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from scanside.runtime.dicom.codes import own_code
from scanside.runtime.dicom.feature_codes import (
    ADC_UNIT,
    ARBITRARY,
    FILTER,
    ONE,
    PERCENT,
    feature_number,
)
from scanside.runtime.dicom.object_header import Algorithm, Stamp, stamp_of
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.report_codes import COMMENT, DIAMETER, FEATURE, MM, MM3, VOLUME
from scanside.runtime.dicom.seg import write_seg
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.dicom.sr import LesionGroup, Number, Report, write_sr
from scanside.runtime.errors import OutputError
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import stored_values, write_series

pytestmark = pytest.mark.requirement("objects")

ALGORITHM = Algorithm("pancreas", "1.2.0", "ab" * 32)
PANCREAS = ("15776009", "SCT", "Pancreas")
LOG = "Laplacian of Gaussian"
PROBABILITY = ("122157", "DCM", "Probability")


@pytest.fixture
def series(tmp_path: Path) -> DicomSeries:
    return read_series(write_series(tmp_path / "in", stored_values((6, 8, 6))))[1]


@pytest.fixture
def stamp(series: DicomSeries) -> Stamp:
    return stamp_of(ALGORITHM, series.headers)


def report(**changes: Any) -> Report:
    made = Report(
        evaluations=((own_code("STATUS", "Status"), own_code("OK", "ok")),),
        numbers=(Number(PROBABILITY, 81.25, PERCENT),),
        texts=((COMMENT, "RESEARCH USE ONLY"), (COMMENT, "1e-6 mm²/s, tilted by 3°, − …")),
        site=PANCREAS,
        parameters=("bundle_sha256=" + "ab" * 32,),
    )
    return replace(made, **changes)


def lesion(segmentation: Any, series: DicomSeries) -> LesionGroup:
    segment = segmentation.SegmentSequence[0]
    return LesionGroup(
        tracking=(segment.TrackingID, segment.TrackingUID),
        numbers=(
            Number(VOLUME, 1234.5, MM3),
            Number(DIAMETER, 17.25, MM),
            feature_number("adc_log-sigma-4-0-mm-3D_firstorder_Mean", -3.5, normalised=False),
        ),
        texts=((own_code("ABSENT", "Absent"), "t2w_original_glcm_Contrast: too small."),),
        segment=(segmentation.SOPClassUID, segmentation.SOPInstanceUID, 1),
        series_uid=series.series_instance_uid,
    )


def segmented(series: DicomSeries, folder: Path) -> Any:
    mask = np.zeros((6, 8, 6), np.uint8)
    mask[2:4, 2:5, 1:4] = 1
    return write_seg(mask, {"Lesion 1": 1}, series, folder / "seg.dcm", algorithm_name="pancreas",
                     algorithm_version="1.2.0", bundle_sha256="ab" * 32)  # fmt: skip


def test_a_lesion_is_tied_to_its_segment(tmp_path: Path, series: DicomSeries, stamp: Stamp) -> None:
    segmentation = segmented(series, tmp_path)
    path = tmp_path / "sr.dcm"
    write_sr(report(lesions=(lesion(segmentation, series),)), [series.headers], [segmentation], stamp, path)
    assert errors_of(path) == []
    read = highdicom.sr.srread(path)
    assert isinstance(read, highdicom.sr.Comprehensive3DSR)
    (group,) = read.content.get_volumetric_roi_measurement_groups()
    assert group.tracking_uid == segmentation.SegmentSequence[0].TrackingUID
    assert group.tracking_identifier == segmentation.SegmentSequence[0].TrackingID
    reference = group.referenced_segment
    assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    assert reference.referenced_segment_numbers == [1]
    assert group.finding_sites[0].value == codes.SCT.Pancreas
    volume, diameter, mean = group.get_measurements()
    assert (volume.name, volume.value, volume.unit.value) == (codes.SCT.Volume, 1234.5, "mm3")
    assert (diameter.name.value, diameter.name.scheme_designator, diameter.value) == ("L0JK", "IBSI", 17.25)
    assert (mean.name.value, mean.value, mean.unit.value) == ("Q4LE", -3.5, "[arb'U]")
    evidence = [
        item.ReferencedSOPInstanceUID
        for study in read.CurrentRequestedProcedureEvidenceSequence
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    ]
    assert sorted(evidence) == sorted([*series.sop_instance_uids, segmentation.SOPInstanceUID])


def test_a_report_without_a_lesion(tmp_path: Path, series: DicomSeries, stamp: Stamp) -> None:
    path = tmp_path / "sr.dcm"
    write_sr(report(numbers=()), [series.headers], [], stamp, path)
    assert errors_of(path) == []
    read = highdicom.sr.srread(path)
    assert (read.CompletionFlag, read.VerificationFlag, read.PreliminaryFlag) == (
        "PARTIAL",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert "RESEARCH USE ONLY" in read.SeriesDescription and len(read.SeriesDescription) <= 64
    assert read.SeriesNumber == 9000 + 1000 + 7 and read.Modality == "SR"
    assert read.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99SCANSIDE"
    (group,) = read.content.get_image_measurement_groups()
    assert group.get_measurements() == []
    texts = [i.TextValue for i in group[0].ContentSequence if i.ValueType == "TEXT"]
    assert "RESEARCH USE ONLY" in texts and "1e-6 mm2/s, tilted by 3 deg, - ..." in texts


def test_the_same_content_is_the_same_bytes_and_another_another_object(
    tmp_path: Path, series: DicomSeries, stamp: Stamp
) -> None:
    for name, value in (("1", 81.25), ("2", 81.25), ("3", 81.5)):
        one = report(numbers=(Number(PROBABILITY, value, PERCENT),))
        write_sr(one, [series.headers], [], stamp, tmp_path / name)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    first, third = (pydicom.dcmread(tmp_path / name) for name in "13")
    assert first.SOPInstanceUID != third.SOPInstanceUID


@pytest.mark.parametrize(
    ("charset", "name"), [(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"), ("ISO_IR 100", "Müller^Jörg")]
)
def test_names_in_the_source_s_character_set(tmp_path: Path, charset: Any, name: str) -> None:
    def named(_: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = charset, name

    series = read_series(write_series(tmp_path / "in", stored_values(), change=named))[1]
    write_sr(report(), [series.headers], [], stamp_of(ALGORITHM, series.headers), tmp_path / "sr.dcm")
    read = pydicom.dcmread(tmp_path / "sr.dcm")
    assert (read.SpecificCharacterSet, str(read.PatientName)) == (charset, name)
    assert errors_of(tmp_path / "sr.dcm") == []


def test_headers_without_a_study_are_refused_in_a_sentence(
    tmp_path: Path, series: DicomSeries, stamp: Stamp
) -> None:
    for header in series.headers:
        del header.StudyInstanceUID
    with pytest.raises(OutputError, match="No DICOM SR can be made"):
        write_sr(report(), [series.headers], [], stamp, tmp_path / "sr.dcm")
    assert not (tmp_path / "sr.dcm").exists()


@pytest.mark.parametrize(
    ("feature", "code", "unit", "filtered"),
    [
        ("t2w_original_shape_MeshVolume", ("RNU0", "IBSI"), MM3, None),
        ("t2w_original_shape_MajorAxisLength", ("TDIC", "IBSI"), MM, None),
        ("dwi_original_glcm_JointEnergy", ("8ZQL", "IBSI"), ONE, None),
        ("adc_original_firstorder_10Percentile", ("QG58", "IBSI"), ADC_UNIT, None),
        ("adc_log-sigma-2-0-mm-3D_firstorder_Mean", ("Q4LE", "IBSI"), ARBITRARY, f"{LOG}, 3D, sigma 2.0 mm"),
        ("dwi_wavelet-LLH_glrlm_RunEntropy", ("HJ9O", "IBSI"), ONE, "Wavelet, pass bands LLH"),
        # What IBSI defines otherwise, or not at all, never gets its code.
        ("t2w_original_firstorder_Kurtosis", (None, "99SCANSIDE"), ONE, None),
        ("t2w_original_shape_LeastAxisLength", (None, "99SCANSIDE"), MM, None),
        ("adc_original_firstorder_TotalEnergy", (None, "99SCANSIDE"), ARBITRARY, None),
        ("t2w_gradient_glcm_MCC", (None, "99SCANSIDE"), ONE, "pyradiomics image type gradient"),
    ],
)  # fmt: skip
def test_codes_of_features(
    feature: str, code: tuple[str | None, str], unit: Any, filtered: str | None
) -> None:
    made = feature_number(feature, 1.5, normalised=False)
    value, scheme, meaning = made.concept
    assert scheme == code[1] and (code[0] is None or value == code[0])
    if code[0] is None:
        assert feature.rsplit("_", 1)[1] in meaning
    assert made.unit == unit and dict(made.modifiers)[FEATURE] == feature
    found = dict(made.modifiers).get(FILTER)
    assert (found and found[2]) == filtered


def test_normalised_grey_values_have_no_physical_unit() -> None:
    assert feature_number("adc_original_firstorder_Mean", 1.0, normalised=True).unit == ARBITRARY
