"""Results as DICOM objects: of a whole study, what they say, and what blocks them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor

from scanside.runtime.bundle import Bundle
from scanside.runtime.classify import Classification
from scanside.runtime.dicom import seg as seg_module
from scanside.runtime.dicom.presentation import filled
from scanside.runtime.dicom.report_codes import ABSENT, STATUS
from scanside.runtime.errors import OutputError
from scanside.runtime.labels import segment_color
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.study import objects
from scanside.runtime.study.findings import HIGH, LOW, NAMED, QUALITY
from scanside.runtime.study.objects import ObjectOptions, ResultObject, write_objects
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.segments import MOST_LESIONS
from tests.runtime.study.report_content import (
    CHANNELS,
    NEEDED,
    by_kind,
    codes_of,
    group_of,
    named,
    numbers,
    texts_of,
)
from tests.support.dciodvfy import errors_of

pytestmark = pytest.mark.requirement("objects")


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
        role = one.path.name.split("_")[0] if one.kind == "seg" else ""
        assert role in read.SeriesDescription, "a list of series tells the Segmentations apart"
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


def test_segments_have_colours_that_differ(made: tuple[ResultObject, ...]) -> None:
    (segment,) = by_kind(made, "seg")[0].SegmentSequence
    shown = CIELabColor(*_lab(segment.RecommendedDisplayCIELabValue)).to_rgb()
    assert np.abs(np.subtract(shown, (230, 25, 75))).max() <= 2, "Lesion 1 is red"
    assert len({segment_color(number) for number in range(1, MOST_LESIONS + 1)}) == MOST_LESIONS


def _lab(stored: Sequence[int]) -> tuple[float, float, float]:
    light, a, b = (int(value) / 65535 for value in stored)
    return 100 * light, 255 * a - 128, 255 * b - 128
