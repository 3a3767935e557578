"""Results as DICOM objects: of a whole study, refused studies, real headers; read back by other software."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.classify import Classification
from scanside.runtime.dicom import seg as seg_module
from scanside.runtime.dicom.presentation import filled
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.report_codes import ABSENT, STATUS
from scanside.runtime.errors import OutputError
from scanside.runtime.labels import segment_color
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.stages.lesions import find_lesions, main_lesion
from scanside.runtime.study import objects
from scanside.runtime.study.findings import HIGH, LOW, NAMED, QUALITY, REASON
from scanside.runtime.study.objects import ObjectOptions, ResultObject, write_objects
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import RoleResult, SequenceImage, StudyInput, StudyResult
from scanside.runtime.study.segments import MOST_LESIONS, lesion_segments
from tests.runtime.cli.conftest import Command
from tests.runtime.study.conftest import run
from tests.runtime.study.tiny_study import CENTRE, TinyBundle, TinyStudy, write_bundle, write_dicom
from tests.support.dciodvfy import errors_of
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("objects")

CHANNELS = {"t2w": ("t2w",), "dwi": ("dwi",)}
NEEDED = ("t2w", "dwi", "adc")


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return open_bundle(bundle)


@pytest.fixture(scope="module")
def result(runner: StudyRunner, dicom_study: Path) -> StudyResult:
    return runner.run(read_study(dicom_study, NEEDED))


@pytest.fixture(scope="module")
def made(
    result: StudyResult, opened: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ResultObject, ...]:
    """Not to be changed."""
    written, warnings = write_objects(result, opened, CHANNELS, tmp_path_factory.mktemp("made"))
    assert warnings == ()
    return written


def by_kind(made: Sequence[ResultObject], kind: str) -> list[Any]:
    return [pydicom.dcmread(one.path) for one in made if one.kind == kind]


def group_of(report: Dataset, tracking: str) -> list[Dataset]:
    """The items of the measurement group of that name."""
    (measurements,) = [item for item in report.ContentSequence if named(item, "126010")]
    for group in measurements.ContentSequence:
        if any(item.get("TextValue") == tracking and named(item, "112039") for item in group.ContentSequence):
            return list(group.ContentSequence)
    raise AssertionError(f"no group {tracking}")


def named(item: Dataset, code: str) -> bool:
    return bool(item.ConceptNameCodeSequence[0].CodeValue == code)


def numbers(items: list[Dataset]) -> dict[str, float]:
    """Concept and feature's name → value."""
    found = {}
    for item in (item for item in items if item.ValueType == "NUM"):
        features = [sub.TextValue for sub in item.get("ContentSequence", ()) if sub.ValueType == "TEXT"]
        key = features[0] if features else item.ConceptNameCodeSequence[0].CodeValue
        found[key] = item.MeasuredValueSequence[0].FloatingPointValue
    return found


def codes_of(items: list[Dataset]) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0].CodeMeaning
        for item in items
        if item.ValueType == "CODE"
    }


def texts_of(items: list[Dataset], concept: str | None = None) -> list[str]:
    return [i.TextValue for i in items if i.ValueType == "TEXT" and (concept is None or named(i, concept))]


def test_a_study_in_dicom(result: StudyResult, made: tuple[ResultObject, ...]) -> None:
    assert [one.kind for one in made] == ["seg", "seg", "sr", "sc", "key"]
    assert {one.path for one in made} == set(made[0].path.parent.iterdir())
    assert result.study is not None and result.study.images["t2w"].source is not None
    source = result.study.images["t2w"].source.headers[0]
    assert len({one.series_instance_uid for one in made} | {source.SeriesInstanceUID}) == 6
    for one in made:
        assert errors_of(one.path) == []
        read = pydicom.dcmread(one.path)
        assert (read.SOPClassUID, read.SOPInstanceUID, read.SeriesInstanceUID) == (
            one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid)  # fmt: skip
        for keyword in ("PatientID", "PatientName", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyID"):
            assert read.get(keyword) == source.get(keyword)
        assert "RESEARCH USE ONLY" in read.SeriesDescription
        assert read.SeriesNumber >= 9000


def test_outlines_are_written_where_they_are_wanted(
    result: StudyResult, opened: Bundle, made: tuple[ResultObject, ...], tmp_path: Path
) -> None:
    options = ObjectOptions(outlines=True)
    written, warnings = write_objects(result, opened, CHANNELS, tmp_path, options=options)
    assert warnings == () and [one.kind for one in written] == [
        "seg",
        "gsps",
        "seg",
        "gsps",
        "sr",
        "sc",
        "key",
    ]
    rest = [(one.kind, one.sop_instance_uid) for one in written if one.kind != "gsps"]
    assert rest == [(one.kind, one.sop_instance_uid) for one in made], "the others are what they are without"
    for role, state in zip(("t2w", "dwi"), by_kind(written, "gsps"), strict=True):
        assert result.study is not None
        source = result.study.images[role].source
        assert source is not None
        mask = result.roles[role].mask == 1
        found = filled(state, *mask.shape[1:])
        frames = {str(frame.instance.header.SOPInstanceUID): z for z, frame in enumerate(source.frames)}
        assert {frames[uid] for uid, _ in found} == set(np.flatnonzero(mask.any(axis=(1, 2))).tolist())
        assert all((plane == mask[frames[uid]]).all() for (uid, _), plane in found.items())
    assert all(errors_of(one.path) == [] for one in written)


def test_the_report_says_what_the_result_says(
    result: StudyResult, opened: Bundle, made: tuple[ResultObject, ...]
) -> None:
    (report,) = by_kind(made, "sr")
    study = group_of(report, "Result of the study")
    assert result.classification is not None and result.classification.probability is not None
    probability = result.classification.probability
    found = numbers(study)
    assert found["122157"] == pytest.approx(100 * probability.value)
    assert (found[LOW[0]], found[HIGH[0]]) == pytest.approx((100 * probability.low, 100 * probability.high))
    assert codes_of(study)[STATUS[0]] == "ok" and codes_of(study)[NAMED[0]] == probability.predicted
    assert probability.calibrated in texts_of(study)
    assert any("RESEARCH USE ONLY" in text for text in texts_of(study))
    assert any(text.startswith("SYNTHETIC") for text in texts_of(study))
    assert f"bundle_sha256={opened.sha256}" in texts_of(study)
    assert result.features is not None
    measured: dict[str, float] = {}
    for role, lesion in ((role, found.lesions[0]) for role, found in result.roles.items()):
        group = group_of(report, f"{role} Lesion 1")
        values = numbers(group)
        assert values.pop("118565006") == pytest.approx(1000 * lesion.volume_ml)
        assert values.pop("L0JK") == pytest.approx(lesion.longest_diameter_mm)
        measured |= values
    assert measured == pytest.approx({name: value.value for name, value in result.features.items()})


def test_segment_and_report_name_one_lesion(
    result: StudyResult, opened: Bundle, made: tuple[ResultObject, ...]
) -> None:
    (report,) = by_kind(made, "sr")
    for segmentation, role in zip(by_kind(made, "seg"), CHANNELS, strict=True):
        (segment,) = segmentation.SegmentSequence
        group = group_of(report, f"{role} Lesion 1")
        assert [item.UID for item in group if named(item, "112040")] == [segment.TrackingUID]
        (reference,) = [item.ReferencedSOPSequence[0] for item in group if named(item, "121191")]
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedSegmentNumber) == (
            segmentation.SOPInstanceUID,
            1,
        )
        assert segment.AnatomicRegionSequence[0].CodeMeaning == "Pancreas"  # PDAC is a cancer of it


def test_key_images_are_the_slices_of_the_main_lesion(
    result: StudyResult, opened: Bundle, made: tuple[ResultObject, ...]
) -> None:
    (selection,), (capture,) = by_kind(made, "key"), by_kind(made, "sc")
    expected = {capture.SOPInstanceUID}
    assert result.study is not None
    for role, found in result.roles.items():
        source = result.study.images[role].source
        assert source is not None
        for z in np.flatnonzero(found.main.any(axis=(1, 2))):
            expected.add(source.frames[z].instance.header.SOPInstanceUID)
    listed = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in selection.ContentSequence
              if i.ValueType == "IMAGE"]  # fmt: skip
    assert set(listed) == expected and len(listed) == len(expected)
    assert capture.NumberOfFrames == 2
    red = (np.abs(capture.pixel_array.astype(int) - (190, 30, 30)).max(axis=-1) < 3).any(axis=(1, 2))
    assert red.all()  # the banner with RESEARCH USE ONLY is in every frame


def test_a_second_run_gives_the_same_bytes(result: StudyResult, opened: Bundle, tmp_path: Path) -> None:
    for name in ("one", "two", "job"):
        (tmp_path / name).mkdir()
        moment = datetime(2027, 3, 4, 5, 6, 7) if name == "job" else None
        write_objects(
            result, opened, CHANNELS, tmp_path / name, options=ObjectOptions(moment, series_offset=100)
        )
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        first, job = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "job" / path.name)
        assert first.SOPInstanceUID == job.SOPInstanceUID
        assert (job.ContentDate, job.InstanceCreationTime) == ("20270304", "050607")
        assert 100 < job.SeriesNumber < 9000


def test_labelmap_for_a_peer_that_asks(result: StudyResult, opened: Bundle, tmp_path: Path) -> None:
    made, warnings = write_objects(
        result, opened, CHANNELS, tmp_path, options=ObjectOptions(encoding="LABELMAP")
    )
    assert not warnings
    labelmaps, (report,) = by_kind(made, "seg"), by_kind(made, "sr")
    assert {one.SegmentationType for one in labelmaps} == {"LABELMAP"}
    (reference,) = [
        i.ReferencedSOPSequence[0] for i in group_of(report, "t2w Lesion 1") if named(i, "121191")
    ]
    assert reference.ReferencedSOPInstanceUID == labelmaps[0].SOPInstanceUID
    assert [errors_of(one.path) for one in made if one.kind == "seg"] == [[], []]
    # dciodvfy's rule for segment numbers in references does not know Label Maps yet (PS3.3 table 10-3 does).
    beside = [line for one in made for line in errors_of(one.path) if "that is not segmentation" not in line]
    assert beside == []


def test_a_segmentation_that_is_not_the_mask_blocks_everything(
    result: StudyResult, opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = seg_module.write_seg

    def mirrored(mask: Any, *arguments: Any, **more: Any) -> Any:
        return right(np.ascontiguousarray(mask[:, :, ::-1]), *arguments, **more)

    monkeypatch.setattr(seg_module, "write_seg", mirrored)
    with pytest.raises(OutputError, match="centroid of segment 1"):
        write_objects(result, opened, CHANNELS, tmp_path)
    assert not (tmp_path / objects.REPORT).exists()


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


def test_absent_features_are_sentences_not_zeros(result: StudyResult, opened: Bundle, tmp_path: Path) -> None:
    assert result.features is not None
    name = "t2w_original_glcm_Contrast"
    lacking = replace(
        result,
        status="unsuitable input",
        reason="The signature lacks a feature.",
        features={
            **result.features,
            name: FeatureValue(None, "the lesion has 41 voxels, and texture needs 64"),
        },
        classification=Classification(
            "t2w", "unsuitable input", "The signature lacks a feature.", None, None
        ),
    )
    made, _ = write_objects(lacking, opened, CHANNELS, tmp_path)
    (report,) = by_kind(made, "sr")
    study = group_of(report, "Result of the study")
    assert f"{name}: the lesion has 41 voxels, and texture needs 64." in texts_of(study, ABSENT[0])
    assert numbers(study) == {} and QUALITY[0] in codes_of(study)
    with pytest.raises(
        AssertionError, match="no group"
    ):  # of unsuitable input nothing is said to be a lesion
        group_of(report, "t2w Lesion 1")
    (other,) = by_kind(
        write_objects(replace(lacking, status="indeterminate"), opened, CHANNELS, tmp_path)[0], "sr"
    )
    group = group_of(other, "t2w Lesion 1")
    assert texts_of(group, ABSENT[0]) == [f"{name}: the lesion has 41 voxels, and texture needs 64."]
    assert name not in numbers(group) and len(numbers(group)) == 2 + 3
    assert errors_of(tmp_path / objects.REPORT) == []


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


def test_segments_have_colours_that_differ(made: tuple[ResultObject, ...]) -> None:
    (segment,) = by_kind(made, "seg")[0].SegmentSequence
    shown = CIELabColor(*_lab(segment.RecommendedDisplayCIELabValue)).to_rgb()
    assert np.abs(np.subtract(shown, (230, 25, 75))).max() <= 2, "Lesion 1 is red"
    assert len({segment_color(number) for number in range(1, MOST_LESIONS + 1)}) == MOST_LESIONS


def _lab(stored: Sequence[int]) -> tuple[float, float, float]:
    light, a, b = (int(value) / 65535 for value in stored)
    return 100 * light, 255 * a - 128, 255 * b - 128


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


def test_lesions_and_organs_have_segments() -> None:
    mask = np.zeros((4, 30, 30), np.uint8)
    for n in range(12):  # a dozen lesions of falling size
        mask[0, 2 * n : 2 * n + 1, : 25 - n] = 2
    mask[2, 5:9, 5:9] = 1
    made, labels = lesion_segments(mask, 2, {1: "pancreas", 2: "lesion"})
    assert list(labels) == [*(f"Lesion {n}" for n in range(1, 11)), "Further lesions", "Pancreas"]
    assert [int((made == value).sum()) for value in labels.values()] == [*range(25, 15, -1), 15 + 14, 16]
    assert lesion_segments(mask * 0, 2, {2: "lesion"})[1] == {"Lesion": 1}
