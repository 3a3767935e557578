"""`scanside run` on a DICOM study that is refused: the report says so, and refers to the study's images."""

import shutil
from pathlib import Path

import highdicom
import pydicom
import pytest

from tests.runtime.cli.conftest import Command
from tests.runtime.study.tiny_study import ROOT, write_bundle, write_dicom, write_nifti
from tests.support.dciodvfy import errors_of

REASON = ("REASON", "99SCANSIDE")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("run") / "tiny.bundle")


@pytest.fixture
def without_dwi(tmp_path: Path) -> Path:
    study = write_dicom(tmp_path / "study")
    shutil.rmtree(study / "b" / "dwi")
    return study


def test_a_refused_dicom_study_gets_a_report(
    scanside: Command, tiny: Path, without_dwi: Path, tmp_path: Path
) -> None:
    (without_dwi / "notes.txt").write_text("no image")
    done = scanside("run", tiny, without_dwi, "-o", tmp_path / "o", "--device", "cpu", "--json")
    assert done.code == 5
    report = done.json
    assert report["status"] == "unsuitable input" and "no diffusion-weighted series" in report["reason"]
    path = tmp_path / "o" / "report_sr.dcm"
    assert report["outputs"] == [str(path), str(tmp_path / "o" / "result.json")]
    assert [one["kind"] for one in report["objects"]] == ["sr"]
    assert errors_of(path) == []
    made = pydicom.dcmread(path)
    images = [pydicom.dcmread(file) for file in without_dwi.rglob("*.dcm")]
    referred = {
        item.ReferencedSOPInstanceUID
        for study in made.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert referred == {image.SOPInstanceUID for image in images} and len(referred) > 20
    assert (made.PatientID, made.StudyInstanceUID) == (images[0].PatientID, images[0].StudyInstanceUID)
    assert highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups() == []
    texts = {
        (code.CodeValue, code.CodingSchemeDesignator): item.TextValue
        for found in made.ContentSequence[-1].ContentSequence
        for item in found.ContentSequence
        if item.ValueType == "TEXT"
        for code in item.ConceptNameCodeSequence
    }
    assert "no diffusion-weighted series" in texts[REASON] and str(tmp_path) not in texts[REASON]


def test_a_folder_of_two_patients_gets_none_and_says_why(
    scanside: Command, tiny: Path, without_dwi: Path, tmp_path: Path
) -> None:
    for file in (without_dwi / "b" / "adc").rglob("*.dcm"):
        other = pydicom.dcmread(file)
        other.PatientID = "somebody else"
        other.save_as(file)
    done = scanside("run", tiny, without_dwi, "-o", tmp_path / "o", "--device", "cpu", "--json")
    assert done.code == 5 and done.json["objects"] == []
    assert "2 patients" in done.json["reason"]
    assert any("No DICOM objects are made" in warning for warning in done.json["warnings"])


def test_a_refused_study_that_is_not_dicom_gets_none(scanside: Command, tiny: Path, tmp_path: Path) -> None:
    study = write_nifti(tmp_path / "nifti", names=("t2w", "adc"))
    done = scanside("run", tiny, study, "-o", tmp_path / "o", "--device", "cpu", "--json")
    assert done.code == 5 and done.json["objects"] == [] and done.json["warnings"] == []


def test_a_series_is_chosen_by_its_uid(scanside: Command, tiny: Path, tmp_path: Path) -> None:
    study = write_dicom(tmp_path / "study")
    chosen = ("--series", f"t2w={ROOT}.2.5", "--series", f"dwi = {ROOT}.2.6#b800")
    done = scanside("run", tiny, study, "-o", tmp_path / "o", "--device", "cpu", "--json", *chosen)
    assert done.code == 0
    how = {row["sequence"]: (row["series_instance_uid"], row["how"]) for row in done.json["sequences"]}
    assert how["t2w"] == (f"{ROOT}.2.5", "chosen by the operator")
    assert how["dwi"] == (f"{ROOT}.2.6", "chosen by the operator")
    assert not how["adc"][1].startswith("chosen by the operator")


@pytest.mark.parametrize(
    ("series", "code", "words"),
    [
        (("dwi",), 2, "names no series"),
        (("dwi=1", "dwi=2"), 2, "named by two series"),
        (("pet=1",), 2, "no sequence 'pet'"),
        (("dwi=1.2.3",), 5, "no series with the UID '1.2.3'"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    scanside: Command, tiny: Path, tmp_path: Path, series: tuple[str, ...], code: int, words: str
) -> None:
    study = write_dicom(tmp_path / "study")
    chosen = [word for one in series for word in ("--series", one)]
    done = scanside("run", tiny, study, "-o", tmp_path / "o", "--device", "cpu", *chosen)
    assert done.code == code and words in done.err
