"""Studies from dcmtk's storescu to objects in Orthanc, through `scanside serve` with real bundles."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.study.segments import MOST_LESIONS
from tests.runtime.appliance.hospital import (
    Back,
    farthest,
    fetch,
    groups_of,
    items,
    nifti_points,
    seg_points,
    send,
    stored,
    study_uid,
    wait_for,
)
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support import peers
from tests.support.appliance import Appliance, appliance, free_port
from tests.support.dciodvfy import errors_of
from tests.support.shared_data import shared_data
from tests.support.small_studies import write_study
from tests.support.tls_files import TlsFiles, make_tls

VOLUME, DIAMETER = ("118565006", "SCT"), ("L0JK", "IBSI")
PROBABILITY, STATUS, REASON = ("122157", "DCM"), ("STATUS", "99SCANSIDE"), ("REASON", "99SCANSIDE")
LOW, HIGH = ("PROBABILITY-LOW", "99SCANSIDE"), ("PROBABILITY-HIGH", "99SCANSIDE")
CALIBRATION = ("CALIBRATION", "99SCANSIDE")
STATUSES = {
    "ok": "OK",
    "indeterminate": "INDETERMINATE",
    "unsuitable input": "UNSUITABLE",
}
IBSI = {
    "firstorder_Mean": "Q4LE",
    "firstorder_Median": "Y12H",
    "firstorder_10Percentile": "QG58",
    "firstorder_Skewness": "KE2A",
    "firstorder_RobustMeanAbsoluteDeviation": "1128",
    "firstorder_Energy": "N8CA",
    "firstorder_Entropy": "TLU2",
    "shape_MeshVolume": "RNU0",
    "shape_Elongation": "Q3CK",
    "shape_Sphericity": "QCFX",
    "shape_Flatness": "N17B",
    "firstorder_90Percentile": "8DWT",
    "firstorder_Maximum": "84IY",
    "glcm_Contrast": "ACUI",
    "glszm_SizeZoneNonUniformity": "4JP3",
    "glcm_Autocorrelation": "QWB0",
    "glrlm_ShortRunHighGrayLevelEmphasis": "GD3A",
    "glszm_LargeAreaLowGrayLevelEmphasis": "YH51",
}
"""The reference manual's own identifiers, of features that pyradiomics computes as it says."""
KINDS = ["seg", "seg", "sr", "sc", "key"]
REAL_FEATURES = (
    "t2w_original_firstorder_Mean",
    "t2w_original_firstorder_Entropy",
    "t2w_original_firstorder_Skewness",
    "t2w_original_shape_MeshVolume",
    "t2w_original_glcm_Contrast",
    "adc_original_firstorder_10Percentile",
    "adc_original_firstorder_Skewness",
    "adc_log-sigma-2-0-mm-3D_firstorder_Mean",
    "adc_original_firstorder_Mean",
)


@dataclass(frozen=True)
class Hospital:
    """An appliance with the demonstration's bundle, a PACS, and an archive that speaks DICOMweb."""

    appliance: Appliance
    pacs: peers.Orthanc
    archive: peers.Orthanc


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder, commitment = tmp_path_factory.mktemp("hospital"), free_port()
    bundle = Path(str(files("scanside.training").joinpath("data", "pancreas-phantom.bundle")))
    with (
        peers.Orthanc(folder / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)}) as pacs,
        peers.Orthanc(folder / "archive", ae_title="ARCHIVE", dicom_web=True) as archive,
        appliance(
            folder,
            bundle,
            trust={"allow": ["pancreas-phantom", "tiny"]},
            receive={"quiet_seconds": 1},
            work={"folds": ["0"], "tries": 1},
            send={"commitment_port": commitment},
            destinations=[
                {"kind": "dicom", "name": "pacs", "ae_title": "PACS", "host": peers.LOOPBACK, "port": pacs.port},
                {
                    "kind": "stow", "name": "archive", "url": archive.dicom_web,
                    "rule": {"objects": ["seg", "sr"], "statuses": ["ok", "indeterminate"]},
                },
            ],
        ) as running,
    ):  # fmt: skip
        running.wait_for_receiver()
        yield Hospital(running, pacs, archive)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom study in DICOM, as `scanside phantom` makes it."""
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "phantom", str(out)]
    subprocess.run(
        [*command, "--patients", "1", "--seed", "2026", "--dicom", "--jobs", "1"],
        check=True,
        capture_output=True,
    )
    return out / "phantom-0001"


@pytest.fixture(scope="module")
def abdomen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real abdominal study: a T2WI and an ADC map of a Toshiba, no DWI."""
    out = tmp_path_factory.mktemp("abdomen")
    for name in ("t2", "adc"):
        shutil.copytree(shared_data("dicom", f"abdomen_scan_002_{name}"), out / name)
    return out


@pytest.fixture(scope="module")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments what is bright, on T2WI and on the ADC map."""
    recipe = TinyBundle(channels={"t2w": ("t2w",), "dwi": ("adc",)}, features=REAL_FEATURES)
    return write_bundle(tmp_path_factory.mktemp("bundle") / "real.bundle", recipe)


def result_of(appliance: Appliance, case: Case) -> tuple[Path, Any]:
    assert case.result is not None
    folder = appliance.data / "results" / case.result
    return folder, json.loads((folder / "result.json").read_text())


def assert_back(where: Hospital, case: Case, source: Path, folder: Path, kinds: list[str]) -> list[Back]:
    """Everything made is in the PACS, once, committed, conformant, bit for bit, and the source's study."""
    sent = items(where.appliance, case, "pacs")
    assert [item.kind for item in sent] == kinds
    assert Counter(item.state for item in sent) == {Sending.COMMITTED: len(kinds)}
    assert set(stored(where.pacs, case.study_uid)) >= {item.sop_uid for item in sent}
    image = pydicom.dcmread(next(source.rglob("*.dcm")), stop_before_pixels=True)
    back = fetch(where.pacs, sent, folder)
    for one, item in zip(back, sent, strict=True):
        assert errors_of(one.path) == []
        assert one.dataset == pydicom.dcmread(where.appliance.data / "results" / item.path)
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
            assert one.dataset.get(keyword) == image.get(keyword)
    return back


def assert_masks(back: list[Back], source: Path, folder: Path) -> None:
    """Every voxel of every Segmentation lies where the NIfTI mask has it."""
    masks = sorted(folder.glob("*_mask.nii.gz"))
    found = [(one, seg_points(one.dataset, source)) for one in back if one.kind == "seg"]
    assert len(found) == len(masks) == 2
    for mask in masks:
        points = nifti_points(mask)
        role = mask.name.split("_")[0]
        (own,) = [
            (one, set_)
            for one, set_ in found
            if str(one.dataset.SegmentSequence[0].TrackingID).startswith(role)
        ]
        assert len(points) > 50 and len(own[1]) == len(points), role
        assert farthest(own[1], points) < 0.01, role


def assert_report(back: list[Back], report: Any) -> None:
    """The report holds what result.json holds: volumes, nine features with codes, probability with status."""
    (sr,) = [one.dataset for one in back if one.kind == "sr"]
    groups = groups_of(sr)
    study = groups.pop("Result of the study")
    assert study.codes[STATUS] == (STATUSES[report["status"]], "99SCANSIDE")
    probability = report["probability"]
    for concept, key in ((PROBABILITY, "value"), (LOW, "low"), (HIGH, "high")):
        assert study.numbers[concept, ""] == (pytest.approx(100 * probability[key], rel=1e-6), "%")
    assert study.text(CALIBRATION) == [probability["calibrated"]]
    assert any("RESEARCH USE ONLY" in words for _, words in study.texts)
    segments = {one.dataset.SOPInstanceUID: one.dataset for one in back if one.kind == "seg"}
    features: dict[str, float] = {}
    measured: set[tuple[str, int]] = set()
    for row in report["lesions"]:
        role, number = row["role"], row["number"]
        if number > MOST_LESIONS:
            continue  # smaller ones share a segment
        group = groups[f"{role} Lesion {number}"]
        volume = group.numbers.pop((VOLUME, ""))
        assert volume == (pytest.approx(1000 * row["volume_ml"], rel=1e-4), "mm3")
        assert group.numbers.pop((DIAMETER, ""))[0] == pytest.approx(row["longest_diameter_mm"], rel=1e-4)
        ((uid, segment),) = group.segments
        assert volume[0] == pytest.approx(_volume(segments[uid], segment), rel=1e-4)
        for (code, name), (value, _) in group.numbers.items():
            assert _is_code_of(code, name), name
            features[name] = value
            measured.add((role, number))
    assert len({role for role, _ in measured}) == len(measured), "one lesion of a sequence is measured"
    assert len(features) == len(report["signature"]) == 9
    assert features == pytest.approx(
        {name: row["value"] for name, row in report["signature"].items()}, rel=1e-6
    )


def _volume(segmentation: Any, segment: int) -> float:
    """Of a segment, mm³, by counting its voxels."""
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    voxel = float(measures.PixelSpacing[0]) * float(measures.PixelSpacing[1])
    voxel *= float(measures.SpacingBetweenSlices)
    own = [
        int(frame.sum())
        for frame, groups in zip(
            segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns),
            segmentation.PerFrameFunctionalGroupsSequence,
            strict=True,
        )
        if _number_of(groups, segmentation.SharedFunctionalGroupsSequence[0]) == segment
    ]
    return voxel * sum(own)


def _number_of(groups: Any, shared: Any) -> int:
    where = groups if "SegmentIdentificationSequence" in groups else shared
    return int(where.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _is_code_of(code: tuple[str, str], name: str) -> bool:
    feature = "_".join(name.split("_")[2:])
    return code == (IBSI[feature], "IBSI") if feature in IBSI else code[1] == "99SCANSIDE"


def assert_queue_agrees(scanside: Command, appliance: Appliance, case: Case, report: Any) -> None:  # noqa: F811
    """The command line says what the PACS got."""
    listed = scanside("queue", "list", "-c", appliance.path, "--json").json
    shown = scanside("queue", "show", case.case_id, "-c", appliance.path, "--json").json
    (line,) = [one for one in listed["cases"] if one["case_id"] == case.case_id]
    assert line == shown["case"]
    assert (line["state"], line["status"], line["job"]) == ("done", report["status"], case.job)
    probability = report["probability"] or {"value": None, "low": None, "high": None}
    for key, of in (("probability", "value"), ("low", "low"), ("high", "high")):
        assert line[key] == (None if probability[of] is None else pytest.approx(probability[of]))
    told = {(row["destination"], row["sop_instance_uid"]): row["state"] for row in shown["objects"]}
    made = {row["sop_instance_uid"] for row in report["objects"]}
    assert {uid: state for (name, uid), state in told.items() if name == "pacs"} == dict.fromkeys(
        made, "committed"
    )
    assert sum(line["sending"].values()) == len(told)
    words = json.dumps([listed, shown])
    assert case.study_uid not in words and "patient" not in words
    assert [one["action"] for one in shown["events"]].count("finish") >= 1


def test_a_phantom_study_comes_back(
    hospital: Hospital,
    phantom: Path,
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    send(hospital.appliance, phantom)
    case = wait_for(hospital.appliance, study_uid(phantom), State.DONE)
    assert case.instances == len(list(phantom.rglob("*.dcm"))) and case.attempts == 1
    back = assert_back(hospital, case, phantom, tmp_path / "back", KINDS)
    assert stored(hospital.pacs, case.study_uid) == sorted(one.dataset.SOPInstanceUID for one in back)
    folder, report = result_of(hospital.appliance, case)
    assert report["status"] in ("ok", "indeterminate")
    assert_masks(back, phantom, folder)
    assert_report(back, report)
    assert_queue_agrees(scanside, hospital.appliance, case, report)
    archived = items(hospital.appliance, case, "archive")
    assert [item.kind for item in archived] == ["seg", "seg", "sr"], "what the rule says"
    assert {item.state for item in archived} == {Sending.DELIVERED}
    assert stored(hospital.archive, case.study_uid) == sorted(item.sop_uid for item in archived)
    for one in fetch(hospital.archive, archived, tmp_path / "archive"):
        assert errors_of(one.path) == []
        assert one.dataset == pydicom.dcmread(folder / next(
            Path(item.path).name for item in archived if item.sop_uid == one.dataset.SOPInstanceUID))  # fmt: skip


def test_a_real_study_comes_back(
    hospital: Hospital,
    abdomen: Path,
    real_bundle: Path,
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    """First the bundle wants a DWI, which the study lacks: a report says so. Then a person takes another bundle."""
    where = hospital.appliance
    send(where, abdomen)
    refused = wait_for(where, study_uid(abdomen), State.DONE)
    assert refused.status == "unsuitable input" and "no diffusion-weighted series" in (refused.reason or "")
    assert "choose the series in the queue" in (refused.reason or ""), "what a person can do here"
    (sr,) = assert_back(hospital, refused, abdomen, tmp_path / "refused", ["sr"])
    groups = groups_of(sr.dataset)
    assert list(groups) == ["Result of the study"]
    study = groups["Result of the study"]
    assert study.codes[STATUS] == ("UNSUITABLE", "99SCANSIDE") and study.numbers == {}
    reason = result_of(where, refused)[1]["reason"]
    assert reason == refused.reason and study.text(REASON) == [
        reason.replace("²", "2")
    ]  # ASCII, as DICOM has it
    assert items(where, refused, "archive") == [], "the rule leaves refused studies out"

    again = scanside("queue", "rerun", refused.case_id, "--bundle", real_bundle, "-c", where.path)
    assert again.code == 0
    case = wait_for(where, refused.study_uid, State.DONE, job=refused.job)
    back = assert_back(hospital, case, abdomen, tmp_path / "back", KINDS)
    folder, report = result_of(where, case)
    assert report["status"] == "ok" and report["bundle"]["name"] == "tiny"
    assert_masks(back, abdomen, folder)
    assert_report(back, report)
    assert_queue_agrees(scanside, where, case, report)
    both = [sr.dataset.SOPInstanceUID, *(one.dataset.SOPInstanceUID for one in back)]
    assert stored(hospital.pacs, case.study_uid) == sorted(both)
    with Database(where.data / "scanside.db") as database:
        audit.verify(database)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hospital, TlsFiles]]:
    """The same over TLS, with certificates on both sides, and a person who looks at results before they are sent."""
    folder, commitment = tmp_path_factory.mktemp("secure"), free_port()
    tls = make_tls(folder / "tls")
    bundle = write_bundle(folder / "tiny.bundle")
    own = {name: getattr(tls.client, name) for name in ("certificate", "key", "authority")}
    modalities = {"SCANSIDE": (peers.LOOPBACK, commitment)}
    with (
        peers.Orthanc(folder / "pacs", modalities=modalities, tls=tls.server) as pacs,
        appliance(
            folder,
            bundle,
            service={"require_review": True},
            receive={"quiet_seconds": 1, "tls": own},
            **{"receive.callers": [{"ae_title": "MR1", "address": peers.LOOPBACK}]},
            work={"tries": 1},
            send={"commitment_port": commitment},
            destinations=[
                {
                    "kind": "dicom", "name": "pacs", "ae_title": "PACS", "host": peers.LOOPBACK, "port": pacs.port,
                    "tls": own,
                }
            ],
        ) as running,
    ):  # fmt: skip
        running.wait_for_receiver()
        yield Hospital(running, pacs, pacs), tls


def test_over_tls_and_after_review(
    secure: tuple[Hospital, TlsFiles],
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    where, tls = secure
    study = write_study(1, tmp_path / "study")
    for how in (None, tls.stranger, tls.expired):
        done = peers.storescu(where.appliance.receive_port, [study], "+sd", tls=how)
        assert done.returncode != 0, "neither plaintext nor a wrong certificate"
    assert peers.storescu(
        where.appliance.receive_port, [study], "+sd", tls=tls.client, calling="MR9"
    ).returncode
    send(where.appliance, study, tls=tls.client)
    held = wait_for(where.appliance, study_uid(study), State.REVIEW)
    assert held.status == "ok" and held.sending == {Sending.WAITING: 5}
    assert where.pacs.sop_uids() == [], "nothing leaves before a person has accepted it"
    assert scanside("queue", "accept", held.case_id, "-c", where.appliance.path).code == 0
    case = wait_for(where.appliance, held.study_uid, State.DONE)
    assert case.verdict == "accepted" and case.job == held.job
    back = assert_back(where, case, study, tmp_path / "back", KINDS)
    assert where.pacs.sop_uids() == sorted(one.dataset.SOPInstanceUID for one in back)
    folder, report = result_of(where.appliance, case)
    assert_masks(back, study, folder)
    assert_report(back, report)
    assert_queue_agrees(scanside, where.appliance, case, report)
