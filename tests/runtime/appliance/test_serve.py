"""The supervisor, with its real processes: starts, ends, kills, hangs, retention, and what its log tells."""

import copy
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import audit, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import Sending, State
from tests.runtime.appliance.hospital import (
    case_of,
    compute,
    entries,
    items,
    log_lines,
    send,
    study_uid,
    wait_for,
)
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.runtime.study.tiny_study import write_bundle
from tests.support import peers
from tests.support.appliance import Appliance, appliance, free_port, until
from tests.support.sentences import assert_one_sentence
from tests.support.small_studies import small_study, write_study

ALL = ("serve", *NAMES)
STAGE_SECONDS = 6
YOUNG_SECONDS = 60
"""For so long the receiver leaves a file alone that the store does not know."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.bundle")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Appliance]:
    """A service that keeps its results: no destination, so that a case is done when it is computed."""
    with appliance(
        tmp_path_factory.mktemp("running"), bundle, receive={"quiet_seconds": 0.5},
        work={"stage_seconds": STAGE_SECONDS}, watch={"log_level": "DEBUG", "port": free_port()},
    ) as made:  # fmt: skip
        made.wait_for_receiver()
        yield made


@dataclass(frozen=True)
class Kept:
    """A service whose PACS is away at first, and the study that was sent to it."""

    appliance: Appliance
    pacs: peers.Orthanc
    study: Path
    sent: float


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Kept]:
    folder, commitment = tmp_path_factory.mktemp("kept"), free_port()
    pacs = peers.Orthanc(folder / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)})
    with appliance(
        folder, bundle, receive={"quiet_seconds": 0.5}, send={"commitment_port": commitment},
        retention={"days": 0, "unsent_days": 0},
        destinations=[{"name": "pacs", "ae_title": "PACS", "host": peers.LOOPBACK, "port": pacs.port}],
    ) as made:  # fmt: skip
        made.wait_for_receiver()
        study = write_study(1, folder / "study")
        send(made, study)
        try:
            yield Kept(made, pacs, study, time.time())
        finally:
            pacs.stop()


def nobody(where: Appliance) -> bool:
    return not any(where.pids(name) for name in ALL)


def restart(where: Appliance) -> None:
    where.stop()
    where.start()
    where.wait_for_receiver()


def freeze_running(where: Appliance, number: int, folder: Path) -> tuple[Case, int]:
    """Send a study, and stop the worker in the middle of it: as if it hung. Returns the case and its process."""
    study = write_study(number, folder / f"study-{number}")
    send(where, study)
    uid = study_uid(study)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        case, pids = case_of(where, uid), where.pids("work")
        if case is None or case.state is not State.RUNNING or not pids:
            assert case is None or case.state is not State.DONE, "it ended before it could be stopped"
            time.sleep(0.01)
            continue
        os.kill(pids[0], signal.SIGSTOP)
        found = case_of(where, uid)
        if found is not None and found.state is State.RUNNING and found.stage and _writable(where):
            return found, pids[0]
        os.kill(pids[0], signal.SIGCONT)
    raise AssertionError("the worker could not be stopped while it computed")


def _writable(where: Appliance) -> bool:
    """Nobody was stopped with the store's lock in hand."""
    with closing(sqlite3.connect(where.data / "scanside.db", timeout=1, isolation_level=None)) as store:
        try:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


def test_what_has_not_arrived_is_kept(kept: Kept) -> None:
    """However short retention is: the PACS does not answer."""
    where = kept.appliance
    case = wait_for(where, study_uid(kept.study), State.SENDING)
    until(lambda: any(item.reason for item in items(where, case, "pacs")), 60, "a failed attempt")
    restart(where)
    until(lambda: len(entries(where, "service started")) == 2, 30, "the second start")
    case = wait_for(where, case.study_uid, State.SENDING)
    assert case.deleted is None and case.result is not None
    with Database(where.data / "scanside.db") as store:
        received = worklist.instances_of(store, case.study_uid)
        objects = outbox.of_job(store, case.job)
    assert len(received) == len(list(kept.study.iterdir()))
    assert all((where.data / "spool" / one.path).exists() for one in received)
    assert all((where.data / "results" / one.path).exists() for one in objects)


def test_a_second_service_on_the_data_is_refused(running: Appliance) -> None:
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "serve", "-c", str(running.path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 2 and "Traceback" not in second.stderr
    (said,) = [line for line in second.stderr.splitlines() if "Another" in line]
    assert_one_sentence(said.removeprefix("scanside: "))
    assert str(running.data) in said and "stop it first" in said
    assert all(len(running.pids(name)) == 1 for name in ALL), "the first one goes on"


def test_processes_that_die_are_started_again(running: Appliance, tmp_path: Path) -> None:
    for name in NAMES:
        (before,) = until(lambda name=name: running.pids(name), 60, name)  # type: ignore[misc]
        assert running.kill(name)
        until(lambda name=name, before=before: set(running.pids(name)) - {before}, 60, f"{name} again")  # type: ignore[misc]
        until(lambda name=name: entries(running, f"process {name} ended"), 60, "its entry")  # type: ignore[misc]
        (entry,) = entries(running, f"process {name} ended")
        assert (entry.actor, json.loads(entry.detail)) == ("supervisor", {"how": "ended with signal 9"})
    running.wait_for_receiver()
    assert compute(running, 1, tmp_path).status == "ok"


def test_a_hung_worker_is_killed_and_its_study_tried_again(running: Appliance, tmp_path: Path) -> None:
    case, pid = freeze_running(running, 2, tmp_path)
    until(lambda: entries(running, "try again", case.case_id), 90, "the end of its time")
    (failed,) = entries(running, "try again", case.case_id)
    assert failed.actor == "supervisor"
    assert re.search(
        r"Stage '.+' took longer than 6 s and was stopped\.", json.loads(failed.detail)["reason"]
    )
    done = wait_for(running, case.study_uid, State.DONE)
    assert done.status == "ok" and done.attempts >= 2
    assert pid not in running.pids("work")


def test_a_case_that_is_cancelled_while_its_worker_hangs(
    running: Appliance,
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    case, pid = freeze_running(running, 3, tmp_path)
    done = scanside("queue", "cancel", case.case_id, "-c", running.path)
    assert done.code == 0 and done.out.strip() == f"{case.case_id} cancelled"
    until(lambda: pid not in running.pids("work"), 90, "the worker that hangs is killed")
    assert compute(running, 4, tmp_path).status == "ok"
    left = case_of(running, case.study_uid)
    assert left is not None and (left.state, left.status, left.stage) == (State.CANCELLED, None, None)
    folder = running.data / "results" / case.case_id
    assert not list(folder.iterdir()) if folder.exists() else True, "nothing of it is kept"


def test_a_case_that_is_cancelled_while_it_runs(
    running: Appliance,
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    """The worker goes on living."""
    case, pid = freeze_running(running, 5, tmp_path)
    assert scanside("queue", "cancel", case.case_id, "-c", running.path).code == 0
    os.kill(pid, signal.SIGCONT)
    assert compute(running, 6, tmp_path).status == "ok"
    left = case_of(running, case.study_uid)
    assert left is not None and (left.state, left.status) == (State.CANCELLED, None)
    assert running.pids("work") == [pid], "nobody had to be killed"
    assert not (running.data / "results" / case.case_id / str(case.job)).exists()


def test_sigterm_ends_everything_in_time(running: Appliance, tmp_path: Path) -> None:
    """With a study that is computed and a sender that hangs on; afterwards the study is computed all the same."""
    from pynetdicom import AE

    until(lambda: running.pids("work"), 60, "the worker")
    entity = AE("MR1")
    entity.add_requested_context("1.2.840.10008.1.1")
    idle = entity.associate(peers.LOOPBACK, running.receive_port, ae_title="SCANSIDE")
    assert idle.is_established
    case, pid = freeze_running(running, 7, tmp_path)
    os.kill(pid, signal.SIGCONT)
    (supervisor,) = running.pids("serve")
    os.kill(supervisor, signal.SIGTERM)
    assert running._process is not None
    assert running._process.wait(60) == 0
    until(lambda: nobody(running), 10, "nobody is left")
    idle.abort()
    assert not [line for line in log_lines(running) if "killed" in line["message"]], "all ended by themselves"
    assert len(entries(running, "service stopped")) == 1
    stopped = case_of(running, case.study_uid)
    assert stopped is not None and stopped.state in (State.QUEUED, State.DONE)
    running.start()
    running.wait_for_receiver()
    assert wait_for(running, case.study_uid, State.DONE).status == "ok"


def test_sigkill_takes_all_processes_along(running: Appliance, tmp_path: Path) -> None:
    """Also those that have only just been started and do not know yet whose they are."""
    for awaited in (lambda: running.pids("receive"), lambda: all(running.pids(name) for name in NAMES)):
        assert running.kill("serve")
        until(lambda: nobody(running), 30, "nobody is left")
        running.start()
        until(awaited, 60, "the processes")
    assert running.kill("serve")
    until(lambda: nobody(running), 30, "nobody is left")
    running.start()
    running.wait_for_receiver()
    assert all(len(running.pids(name)) == 1 for name in ALL)
    assert compute(running, 8, tmp_path).status == "ok"


def test_the_log_holds_no_patient(
    running: Appliance,
    scanside: Command,  # noqa: F811
) -> None:
    """After all of the above, at its most talkative, with a refused sender and a damaged instance on top."""
    refused = peers.storescu(
        running.receive_port, [Path(__file__)], called="SMALL^PATIENT", calling="Small^Patient"
    )
    assert refused.returncode != 0
    _send_without_study(running)
    lines = list(log_lines(running))
    assert {line["process"] for line in lines} >= {"serve", "receive", "work"}
    assert len(lines) > 30 and all(
        {"time", "level", "process", "logger", "message"} <= set(line) for line in lines
    )
    cases = {line["case"] for line in lines if "case" in line}
    assert len(cases) >= 7 and all(re.fullmatch(r"[A-Z2-7]{5}-[A-Z2-7]{5}", one) for one in cases)
    web = running.path.read_text().split("[watch]")[1].split("port = ")[1].split()[0]
    said = [running.log()]
    for page in ("metrics", "health"):
        with (
            suppress(urllib.error.HTTPError),
            urllib.request.urlopen(f"http://127.0.0.1:{web}/{page}") as answer,
        ):
            said.append(answer.read().decode())
    said += [
        scanside("queue", "-c", running.path).out,
        scanside("audit", "show", "-c", running.path, "--json").out,
    ]
    assert len(said) == 5 and all(said)
    studies = {one.StudyInstanceUID for number in range(10) for one in small_study(number)}
    for text in said:
        assert not re.search(r"Patient\d|P0000\d|Small\^Patient\d", text)
        assert not any(uid in text for uid in studies)
        assert not re.search(r"\d+(\.\d+){6,}|2\.25\.\d{20}", text), "a UID"
    (anchor, *_) = (line["message"] for line in lines if line["message"].startswith("audit anchor "))
    verified = scanside(
        "audit", "verify", "-c", running.path, "--anchor", anchor.removeprefix("audit anchor ")
    )
    assert verified.code == 0 and "the anchor is among them" in verified.err
    with Database(running.data / "scanside.db") as store:
        number, digest = audit.head(store)
        with pytest.raises(Exception, match="was replaced"):
            audit.verify(store, (number, digest[::-1]))


def _send_without_study(where: Appliance) -> None:
    """A patient's instance that belongs to no study."""
    from pynetdicom import AE
    from pynetdicom.sop_class import MRImageStorage

    instance = copy.deepcopy(next(iter(small_study(1))))
    del instance.StudyInstanceUID
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = f"{instance.SOPInstanceUID}.1"
    entity = AE("MR1")
    entity.add_requested_context(MRImageStorage, "1.2.840.10008.1.2.1")
    association = entity.associate(peers.LOOPBACK, where.receive_port, ae_title="SCANSIDE")
    assert association.is_established
    assert association.send_c_store(instance).Status != 0
    association.release()


def test_what_has_arrived_is_deleted_when_its_time_has_come(
    kept: Kept,
    scanside: Command,  # noqa: F811
) -> None:
    where = kept.appliance
    case = case_of(where, study_uid(kept.study))
    assert case is not None and case.result is not None and case.deleted is None
    kept.pacs.start()
    done = wait_for(where, case.study_uid, State.DONE)
    assert done.sending == {Sending.COMMITTED: 5}
    until(
        lambda: time.time() > kept.sent + YOUNG_SECONDS + 1 or None,
        2 * YOUNG_SECONDS,
        "its images are old enough",
    )
    restart(where)
    until(lambda: not _files(where, case.case_id), 60, "its files are gone")
    after = wait_for(where, case.study_uid, State.DONE)
    assert after.deleted is not None and after.instances == 0
    assert (after.patient.name, after.patient.patient_id) == ("", "")
    assert after.sending == done.sending and after.status == done.status, "the worklist still knows of it"
    listed = scanside("queue", "-c", where.path)
    assert "deleted after retention" in listed.out
    (row,) = json.loads(scanside("queue", "list", "--json", "-c", where.path).out)["cases"]
    assert (row["state"], row["deleted"], row["instances"]) == ("done", after.deleted, 0)
    again = scanside("queue", "rerun", case.case_id, "-c", where.path)
    assert again.code == 5 and "have been deleted after retention" in again.err
    assert len(entries(where, "study deleted", case.case_id)) == 1


def _files(where: Appliance, case_id: str) -> list[Path]:
    return [
        path
        for folder in ("spool", "results")
        for path in (where.data / folder / case_id).rglob("*")
        if path.is_file()
    ]
