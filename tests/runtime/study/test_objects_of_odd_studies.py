"""Result objects of several lesions, of none, of refused studies, and with the headers of real scanners."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.report_codes import ABSENT, STATUS
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.stages.lesions import find_lesions, main_lesion
from scanside.runtime.study import objects
from scanside.runtime.study.findings import NAMED, QUALITY, REASON
from scanside.runtime.study.objects import write_objects
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import RoleResult, SequenceImage, StudyInput, StudyResult
from tests.runtime.cli.conftest import Command
from tests.runtime.study.conftest import run
from tests.runtime.study.report_content import (
    CHANNELS,
    NEEDED,
    by_kind,
    codes_of,
    group_of,
    numbers,
    texts_of,
)
from tests.runtime.study.tiny_study import CENTRE, TinyBundle, TinyStudy, write_bundle, write_dicom
from tests.support.dciodvfy import errors_of
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("objects")


def test_several_lesions_have_a_segment_and_a_group_each(
    runner: StudyRunner, opened: Bundle, tmp_path: Path
) -> None:
    recipe = TinyStudy(t2w=((CENTRE, 14.0), ((30.0, 10.0, -10.0), 9.0)))
    study = read_study(write_dicom(tmp_path / "in", recipe), NEEDED)
    found = runner.run(study)
    made, _ = write_objects(found, opened, CHANNELS, tmp_path / "in")
    segmentation, (report,) = by_kind(made, "seg")[0], by_kind(made, "sr")
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == ["Lesion 1", "Lesion 2"]
    voxel = float(np.prod(study.images["t2w"].volume.geometry.spacing))
    read = highdicom.seg.segread(next(one.path for one in made if one.kind == "seg"))
    counts = np.bincount(read.get_volume(combine_segments=True, relabel=False).array.ravel())
    for number, lesion in enumerate(found.roles["t2w"].lesions, 1):
        group = numbers(group_of(report, f"t2w Lesion {number}"))
        assert (
            group["118565006"]
            == pytest.approx(1000 * lesion.volume_ml)
            == pytest.approx(counts[number] * voxel)
        )
    assert "t2w_original_shape_MeshVolume" not in group  # only the main lesion is measured


def test_no_lesion_is_not_a_negative_finding(runner: StudyRunner, opened: Bundle, tmp_path: Path) -> None:
    study = read_study(write_dicom(tmp_path / "in", TinyStudy(t2w=(), dwi=())), NEEDED)
    made, warnings = write_objects(runner.run(study), opened, CHANNELS, tmp_path)
    assert [one.kind for one in made] == ["seg", "seg", "sr", "sc"] and not warnings  # nothing of interest
    assert [errors_of(one.path) for one in made] == [[]] * 4
    (report,) = by_kind(made, "sr")
    items = group_of(report, "Result of the study")
    assert codes_of(items)[STATUS[0]] == "no lesion segmented (not a negative finding)"
    assert "122157" not in numbers(items) and NAMED[0] not in codes_of(items)
    absent = texts_of(items, ABSENT[0])
    assert len(absent) == 10 and any(
        text.startswith("t2w_original_glcm_Contrast: no lesion") for text in absent
    )
    assert "not a negative finding" in " ".join(texts_of(items, REASON[0]))
    assert not by_kind(made, "seg")[0].pixel_array.any()


def test_a_refused_study_gets_a_report_of_its_reason(
    dicom_study: Path, opened: Bundle, tmp_path: Path
) -> None:
    evidence = [
        pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((dicom_study / "a").rglob("*.dcm"))
    ]
    found = refused(f"{dicom_study} holds no diffusion-weighted series; add it, or name it with --dwi PATH.")
    assert write_objects(found, opened, CHANNELS, tmp_path) == ((), ())  # nobody knows whose study it is
    made, warnings = write_objects(found, opened, CHANNELS, tmp_path, evidence)
    assert [one.kind for one in made] == ["sr"] and not warnings
    assert errors_of(made[0].path) == []
    (report,) = by_kind(made, "sr")
    items = group_of(report, "Result of the study")
    assert codes_of(items)[QUALITY[0]] == "Not suitable as input of this algorithm"
    (reason,) = texts_of(items, REASON[0])
    assert "no diffusion-weighted series" in reason and str(dicom_study) not in reason
    assert numbers(items) == {} and report.PatientID == evidence[0].PatientID
    # As worked out from one header, should that be all there is:
    again, _ = write_objects(found, opened, CHANNELS, tmp_path, evidence[:1])
    assert errors_of(again[0].path) == []


def test_images_of_two_patients_get_no_object(dicom_study: Path, opened: Bundle, tmp_path: Path) -> None:
    evidence = [
        pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((dicom_study / "a").rglob("*.dcm"))
    ]
    evidence[-1].PatientID = "someone else"
    made, warnings = write_objects(refused("It is refused."), opened, CHANNELS, tmp_path, evidence)
    assert made == () and "different patients" in warnings[0] and list(tmp_path.iterdir()) == []


def test_images_that_are_not_dicom_get_no_object(runner: StudyRunner, opened: Bundle, tmp_path: Path) -> None:
    assert write_objects(run(runner), opened, CHANNELS, tmp_path) == ((), ())
    assert list(tmp_path.iterdir()) == []


EMPTY = (
    "ProcedureCodeSequence", "AdmittingDiagnosesCodeSequence", "ReferencedPatientSequence", "ReferencedStudySequence",
    "ReferringPhysicianIdentificationSequence", "RequestAttributesSequence", "PatientBreedCodeSequence",
)  # fmt: skip


@pytest.mark.parametrize("item", [False, True])
def test_odd_headers_of_scanners_make_no_odd_objects(
    runner: StudyRunner, dicom_study: Path, opened: Bundle, tmp_path: Path, item: bool
) -> None:
    """Sequences without an item, as Philips has them, or with an empty one; a series number at the end of its range."""
    study = read_study(dicom_study, NEEDED)
    for image in study.images.values():
        assert image.source is not None
        for header in image.source.headers:
            for keyword in EMPTY:
                setattr(header, keyword, [Dataset()] if item else [])
            header.SeriesNumber = 2147483640
    made, warnings = write_objects(runner.run(study), opened, CHANNELS, tmp_path)
    assert len(made) == 5 and not warnings
    assert {one.path.name: errors_of(one.path) for one in made if errors_of(one.path)} == {}
    numbered = [int(pydicom.dcmread(one.path).SeriesNumber) for one in made]
    assert numbered == [9000, 9000, 10000, 11000, 12000]


def test_a_source_without_frame_of_reference_still_gets_its_report(
    runner: StudyRunner, dicom_study: Path, opened: Bundle, tmp_path: Path
) -> None:
    study = read_study(dicom_study, NEEDED)
    source = study.images["t2w"].source
    assert source is not None
    for header in source.headers:
        del header.FrameOfReferenceUID
    made, warnings = write_objects(runner.run(study), opened, CHANNELS, tmp_path)
    assert [one.path.name for one in made] == [
        "dwi_mask.dcm",
        objects.REPORT,
        objects.CAPTURE,
        objects.KEY_IMAGES,
    ]
    assert len(warnings) == 1 and warnings[0].startswith("t2w: ") and "FrameOfReferenceUID" in warnings[0]
    (report,) = by_kind(made, "sr")
    assert "t2w_original_shape_MeshVolume" in numbers(group_of(report, "t2w Lesion 1"))


@pytest.mark.parametrize("kind", ["t2", "adc", "phantom"])
def test_series_of_scanners(tmp_path: Path, scanside: Command, kind: str) -> None:
    """Headers of a real study, and of the phantom, with a mask that somebody drew."""
    if kind == "phantom":
        assert (
            scanside(
                "phantom", tmp_path / "cohort", "--patients", "1", "--seed", "3", "--dicom", "--small"
            ).code
            == 0
        )
        folder = next((tmp_path / "cohort").rglob("t2w"))
    else:
        folder = shared_data("dicom", f"abdomen_scan_002_{kind}")
    volume, source = read_series(folder)
    bundle = open_bundle(write_bundle(tmp_path / "b", TinyBundle(channels={"t2w": ("t2w",)}, features=(
        "t2w_original_firstorder_Mean", "t2w_original_shape_MeshVolume"), synthetic=False)))  # fmt: skip
    mask = np.zeros(volume.geometry.shape, np.uint8)
    z, y, x = (size // 2 for size in mask.shape)
    mask[z - 2 : z + 2, y - 9 : y + 9, x - 7 : x + 8] = 1
    mask[z + 3, y : y + 3, x : x + 4] = 1
    found = RoleResult(
        "t2w", mask, main_lesion(mask), find_lesions(mask, volume.geometry, "t2w"), {"lesion": 1.0}, 1
    )
    image = SequenceImage("t2w", volume, folder, "T2", "given", None, source)
    features = {
        name: FeatureValue(12.5, None)
        for name in ("t2w_original_firstorder_Mean", "t2w_original_shape_MeshVolume")
    }
    result = StudyResult("indeterminate", "Nobody can tell.", StudyInput("s", folder, {"t2w": image}), None,
                         {"t2w": found}, features)  # fmt: skip
    made, warnings = write_objects(result, bundle, {"t2w": ("t2w",)}, tmp_path)
    assert not warnings and [one.kind for one in made] == ["seg", "sr", "sc", "key"]
    assert {one.path.name: errors_of(one.path) for one in made} == {one.path.name: [] for one in made}
    (report,) = by_kind(made, "sr")
    assert not any(text.startswith("SYNTHETIC") for text in texts_of(group_of(report, "Result of the study")))
