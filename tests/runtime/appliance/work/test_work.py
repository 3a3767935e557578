"""The worker, with real studies, bundle, networks and store: what it keeps, what it sends, what it survives."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pydicom
import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import jobs, orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.record import json_schema
from scanside.runtime.signing import SigningKey, sign_file
from scanside.runtime.study.report import StudyReport
from tests.runtime.appliance.work.filled import PACS, configured, finished, opened, received, shown
from tests.runtime.study.tiny_study import TinyBundle, TinyStudy, write_bundle, write_dicom
from tests.support.appliance import until
from tests.support.sentences import assert_one_sentence

SCHEMA = json_schema(StudyReport)
FILES = {
    "t2w_mask.nii.gz", "t2w_mask.dcm", "t2w_overlay.png", "dwi_mask.nii.gz", "dwi_mask.dcm", "dwi_overlay.png",
    "report_sr.dcm", "capture_sc.dcm", "key_images.dcm", "result.json",
}  # fmt: skip


@dataclass
class Place:
    """A data folder, its worker, and a test's view of them."""

    path: Path
    config: Config
    database: Database
    worker: Worker
    stop: threading.Event

    def take(self, study: Path, **how: bool) -> str:
        return received(self.config, self.database, sorted(study.rglob("*.dcm")), **how)

    def case(self, case_id: str) -> Case:
        return shown(self.database, case_id)

    def report(self, case_id: str) -> Any:
        result = self.case(case_id).result
        assert result is not None
        return json.loads((self.config.results / result / "result.json").read_text())

    def left(self) -> set[str]:
        """Every file and hidden folder of the results."""
        found = self.config.results.rglob("*")
        return {path.name for path in found if path.is_file() or path.name.startswith(".")}


Open = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path, bundle: Path) -> Iterator[Open]:
    made: list[Place] = []

    def call(**tables: Any) -> Place:
        path = configured(tmp_path, tables.pop("bundle", bundle), **tables)
        config, database = opened(path)
        stop = threading.Event()
        made.append(Place(path, config, database, Worker(config, database, stop), stop))
        return made[-1]

    yield call
    for one in made:
        one.worker.close()
        one.database.close()


def test_a_study_becomes_a_result_and_an_outbox(place: Open, dicom_study: Path) -> None:
    here = place()
    case_id = here.take(dicom_study)
    assert here.worker.step() and not here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.status, case.result, case.attempts) == (
        State.SENDING, "ok", f"{case_id}/1", 1,
    )  # fmt: skip
    assert case.probability is not None and case.low is not None and case.high is not None
    assert case.low <= case.probability <= case.high
    assert case.positive and case.named, "of what it is the probability, and what it says"
    assert case.warnings is not None
    assert [one.sentence for one in case.warnings] == here.report(case_id)["warnings"]
    assert {one.code for one in case.warnings} >= {"coverage"} and "other" not in {
        one.code for one in case.warnings
    }
    assert here.left() == FILES, "the snapshot is gone"
    report = here.report(case_id)
    _validate(report)
    assert (report["case"], report["job"], report["status"]) == (case_id, 1, "ok")
    assert set(report["outputs"]) == FILES
    assert str(here.path.parent) not in json.dumps(report), "paths are relative"
    assert all((here.config.spool / path).is_dir() for path in report["inputs"])
    items = outbox.of_job(here.database, 1)
    assert [item.kind for item in items] == ["seg", "seg", "sr", "sc", "key"]
    for item in items:
        header = pydicom.dcmread(here.config.results / item.path, stop_before_pixels=True)
        assert (header.SOPInstanceUID, header.SOPClassUID) == (item.sop_uid, item.sop_class)
        assert header.StudyInstanceUID == case.study_uid
    ms = {timing.stage: timing.ms for timing in worklist.timings(here.database, 0)}
    assert {"queued", "inputs", "read", "open", "t2w: slide", "radiomics", "write", "total"} <= set(ms)
    assert ms["total"] >= ms["read"] + ms["write"] and ms["queued"] >= 0


def test_a_second_study_finds_the_networks_open(place: Open, dicom_study: Path, tmp_path: Path) -> None:
    here = place()
    here.take(dicom_study)
    here.worker.step()
    runner = here.worker._engine._runner
    assert runner is not None
    case_id = here.take(_other(dicom_study, tmp_path / "other"))
    here.worker.step()
    assert here.case(case_id).status == "ok" and here.worker._engine._runner is runner


def test_the_same_job_again_gives_the_same_bytes(place: Open, dicom_study: Path) -> None:
    here = place()
    case_id = here.take(dicom_study)
    here.worker.step()
    first, (old, *_) = _objects(here, case_id), outbox.of_job(here.database, 1)
    again = orders.rerun(here.database, case_id, "user ann")
    here.worker.step()
    assert here.case(case_id).job == again and _objects(here, case_id) == first
    (new, *_) = outbox.of_job(here.database, again)
    assert new.sop_uid == old.sop_uid and new.path != old.path


def test_an_unsuitable_study_is_a_result_that_is_sent(place: Open, tmp_path: Path, bundle: Path) -> None:
    here = place()
    study = write_dicom(tmp_path / "study")
    shutil.rmtree(study / "a" / "t2")
    case_id = here.take(study)
    here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.status, case.probability) == (State.SENDING, "unsuitable input", None)
    assert case.reason is not None
    assert_one_sentence(case.reason, case_id, "T2-weighted")
    assert str(tmp_path) not in case.reason and ".input" not in case.reason
    assert [item.kind for item in outbox.of_job(here.database, case.job)] == ["sr"]
    assert here.worker._engine._runner is None, "no network was opened"
    _validate(here.report(case_id))


def test_the_operator_chooses_a_series(place: Open, dicom_study: Path) -> None:
    here = place()
    case_id = here.take(dicom_study)
    here.worker.step()
    (t2w,) = [row for row in here.report(case_id)["sequences"] if row["sequence"] == "t2w"]
    uid = t2w["series_instance_uid"]
    orders.rerun(here.database, case_id, "user ann", series={"t2w": uid})
    here.worker.step()
    assert here.case(case_id).status == "ok"
    (t2w,) = [row for row in here.report(case_id)["sequences"] if row["sequence"] == "t2w"]
    assert "operator" in t2w["how"] and t2w["series_instance_uid"] == uid
    orders.rerun(here.database, case_id, "user ann", series={"t2w": "1.2.3"})
    here.worker.step()
    assert here.case(case_id).status == "unsuitable input"


def test_review_holds_a_result_and_rules_choose_what_is_sent(place: Open, dicom_study: Path) -> None:
    rules = [
        {**PACS, "rule": {"objects": ["sr"]}},
        {**PACS, "name": "other", "rule": {"calling": ["CT1"]}},
        {**PACS, "name": "failures", "rule": {"statuses": ["unsuitable input"]}},
    ]
    here = place(service={"require_review": True}, destinations=rules)
    case_id = here.take(dicom_study)
    here.worker.step()
    assert here.case(case_id).state is State.REVIEW
    items = outbox.of_job(here.database, 1)
    assert [(item.destination, item.kind) for item in items] == [("PACS", "sr")]


def test_nothing_to_send_is_done(place: Open, dicom_study: Path) -> None:
    here = place(destinations=[])
    case_id = here.take(dicom_study)
    here.worker.step()
    assert here.case(case_id).state is State.DONE


@pytest.mark.parametrize("how", ["changed", "shorter", "gone"])
def test_a_file_that_is_not_what_was_received(place: Open, dicom_study: Path, how: str) -> None:
    here = place(work={"tries": 2})
    case_id = here.take(dicom_study)
    file = sorted(here.config.spool.rglob("*.dcm"))[5]
    data = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "shorter":
        file.write_bytes(data[:-2])
    else:
        data[-7] ^= 1
        file.write_bytes(data)
    here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.failure) == (State.QUEUED, "spool") and case.reason is not None
    assert_one_sentence(case.reason, "of series", "send the study again")
    assert file.stem not in case.reason and file.parent.name not in case.reason
    here.worker.step()
    assert here.case(case_id).state is State.QUARANTINED
    assert here.left() == set() and not outbox.of_job(here.database, case.job)


def test_a_broken_bundle_fails_jobs_until_it_is_whole_again(
    place: Open, dicom_study: Path, bundle: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "b.bundle"
    shutil.copytree(bundle, broken)
    network = broken / "segmenters" / "dwi" / "0.onnx"
    whole = network.read_bytes()
    network.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    here = place(bundle=broken, work={"tries": 2})
    case_id = here.take(dicom_study)
    for _ in range(3):
        assert here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.failure, case.attempts) == (State.QUEUED, "bundle", 0)
    assert case.reason is not None and "sha256" in case.reason
    network.write_bytes(whole)
    here.worker.step()
    assert here.case(case_id).status == "ok"


def test_a_bundle_of_a_stranger_computes_nothing(
    place: Open, dicom_study: Path, bundle: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.bundle"
    shutil.copytree(bundle, strange)
    ours, theirs = SigningKey.new(), SigningKey.new()
    sign_file(strange / "bundle.json", "bundle", theirs, "Nobody we know")
    trust = {"allow": [], "keys": [{"name": "Medical physics", "key": ours.public}]}
    here = place(bundle=strange, trust=trust, work={"tries": 1})
    case_id = here.take(dicom_study)
    assert here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.failure, case.status) == (State.QUEUED, "bundle", None)
    assert case.reason is not None and "Nobody we know, whose key is not trusted here" in case.reason
    sign_file(strange / "bundle.json", "bundle", ours, "Medical physics")
    here.worker.step()
    assert here.case(case_id).status == "ok"


def test_failures_wait_before_the_next_try(place: Open, dicom_study: Path, tmp_path: Path) -> None:
    here = place(bundle=tmp_path / "none.bundle", work={"backoff_seconds": 1000})
    case_id = here.take(dicom_study)
    assert here.worker.step() and not here.worker.step()
    case = here.case(case_id)
    assert case.not_before > case.arrived + 900


def test_a_bundle_that_a_person_chose_is_the_jobs_own(place: Open, dicom_study: Path, tmp_path: Path) -> None:
    here = place(work={"tries": 2})
    case_id = here.take(dicom_study)
    here.worker.step()
    other = write_bundle(tmp_path / "other.bundle", TinyBundle(limit=1e-9))
    orders.rerun(here.database, case_id, "user ann", bundle=str(other))
    here.worker.step()
    assert (
        here.report(case_id)["bundle"]["sha256"]
        == hashlib.sha256((other / "bundle.json").read_bytes()).hexdigest()
    )
    orders.rerun(here.database, case_id, "user ann", bundle=str(tmp_path / "no.bundle"))
    here.worker.step()
    assert here.case(case_id).state is State.QUEUED
    here.worker.step()
    assert here.case(case_id).state is State.QUARANTINED


def test_an_unforeseen_error_says_where_and_nothing_of_the_patient(
    place: Open, dicom_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place()
    case_id = here.take(dicom_study)

    def broken(*arguments: object, **options: object) -> None:
        raise KeyError("Test^Phantom")

    monkeypatch.setattr("scanside.runtime.study.pipeline.extract", broken)
    here.worker.step()
    case = here.case(case_id)
    assert case.failure == "crash" and case.reason is not None
    assert "KeyError" in case.reason and "Phantom" not in case.reason and f"{__name__}:" in case.reason
    monkeypatch.undo()
    here.worker.step()
    assert here.case(case_id).status == "ok"


@pytest.mark.parametrize("what", ["cancel", "more"])
def test_a_job_that_is_not_wanted_any_more_stops(
    place: Open, dicom_study: Path, tmp_path: Path, what: str
) -> None:
    here = place()
    case_id = here.take(dicom_study)
    late = write_dicom(tmp_path / "late", TinyStudy(seed=1))
    extra = sorted((late / "b" / "adc").rglob("*.dcm"))[:1]
    header = pydicom.dcmread(extra[0])
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{header.SOPInstanceUID}.9"
    header.SeriesInstanceUID = f"{header.SeriesInstanceUID}.9"
    header.save_as(extra[0])

    def interfere() -> None:
        with Database(here.config.database) as database:
            until(lambda: shown(database, case_id).stage, 30, "a stage")
            if what == "cancel":
                jobs.act(database, 1, Action.CANCEL, "user ann")
            else:
                received(here.config, database, extra, complete=False)

    other = threading.Thread(target=interfere)
    other.start()
    here.worker.step()
    other.join()
    case = here.case(case_id)
    assert case.state is (State.CANCELLED if what == "cancel" else State.RECEIVING)
    assert here.left() == set() and not outbox.of_job(here.database, 1) and case.result is None
    if what == "more":
        finished(here.database)
        here.worker.step()
        assert here.case(case_id).status == "ok" and here.case(case_id).instances == 65
        assert len(here.report(case_id)["considered"]) == 6


def test_a_service_that_ends_puts_its_job_back(place: Open, dicom_study: Path) -> None:
    here = place(work={"tries": 1})
    case_id = here.take(dicom_study)
    here.stop.set()
    here.worker.step()
    case = here.case(case_id)
    assert (case.state, case.failure) == (State.QUEUED, "stopped") and here.left() == set()
    here.stop.clear()
    here.worker.step()
    assert here.case(case_id).status == "ok"


def test_what_a_killed_worker_left_is_cleared_up(place: Open, dicom_study: Path) -> None:
    here = place(work={"tries": 2})
    case_id = here.take(dicom_study)
    for expected in (State.QUEUED, State.QUARANTINED):
        job = jobs.claim(here.database, "an earlier worker")
        assert job is not None
        for name in (".input-abc12345", ".1.abc12345"):
            (here.config.results / case_id / name).mkdir(parents=True)
        jobs.progress(here.database, job.job, "t2w: slide", 1, 4, 1e12)
        here.worker.recover()
        case = here.case(case_id)
        assert (case.state, case.failure) == (expected, "crash") and here.left() == set()
        assert case.reason is not None and "t2w: slide" in case.reason
    jobs.act(here.database, job.job, Action.RETRY, "user ann")
    here.worker.step()
    assert here.case(case_id).status == "ok"


def _validate(report: dict[str, Any]) -> None:
    """What `scanside run` writes, and the two fields of the appliance."""
    jsonschema.validate({name: report[name] for name in report.keys() - {"case", "job"}}, SCHEMA)


def _objects(here: Place, case_id: str) -> dict[str, str]:
    """SHA-256 of every DICOM object and mask of the latest result."""
    result = here.case(case_id).result
    assert result is not None
    folder = here.config.results / result
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".dcm", ".gz", ".png")
    }


def _other(study: Path, folder: Path) -> Path:
    """The study under other UIDs."""
    for number, file in enumerate(sorted(study.rglob("*.dcm"))):
        one = pydicom.dcmread(file)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(one, keyword, f"{getattr(one, keyword)}.7")
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        folder.mkdir(exist_ok=True)
        one.save_as(folder / f"{number}.dcm")
    return folder
