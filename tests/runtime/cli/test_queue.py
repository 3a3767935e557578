"""`scanside queue` as the shell sees it, over a real store."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.appliance.store import audit, intake, jobs, orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Made, Outcome, Patient
from scanside.runtime.appliance.store.states import Action, Sending, State
from scanside.runtime.cli import main
from scanside.runtime.cli.queue_text import line_of
from tests.runtime.cli.conftest import Command
from tests.runtime.study.tiny_study import write_bundle
from tests.support.appliance import toml
from tests.support.sentences import assert_one_sentence

ROOT = Path(__file__).parents[3]
ANN = Patient("4711", "Doe^Ann\x1b[2J")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(main._BUILT_IN, "queue", "scanside.runtime.cli.queue")
    return _configured(tmp_path)


def _configured(folder: Path, *, names: bool = False) -> Path:
    path = folder / "scanside.toml"
    service = {"data": folder / "data", "bundle": "b", "research_use_only": True, "show_names": names}
    path.write_text(toml({"service": service}))
    return path


@pytest.fixture
def db(config: Path) -> Iterator[Database]:
    with Database(config.parent / "data" / "scanside.db", create=True) as database:
        yield database


@pytest.fixture
def queue(scanside: Command, config: Path, db: Database, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("SCANSIDE_CONFIG", str(config))
    return lambda *arguments: scanside("queue", *arguments)


def queued(db: Database, study: str = "1.2.3") -> str:
    one = Instance(f"{study}.9", study, f"{study}.1", "x/1", "a" * 64, 100)
    intake.add_instance(db, one, association="a1", calling="MR1", patient=ANN, most=9)
    intake.close_association(db, "a1")
    (case_id,) = intake.complete_studies(db, quiet_seconds=0, series=None)
    return case_id


def computed(db: Database, case_id: str, *, hold: bool = False, status: str = "ok") -> int:
    job = jobs.claim(db, "w1")
    assert job is not None and job.case_id == case_id
    made = Made("sr", "1.2.840.10008.5.1.4.1.1.88.34", f"7.{job.job}", "c/1/report_sr.dcm")
    probability = (0.7123, 0.5, 0.8) if status == "ok" else (None, None, None)
    sends = (("PACS", made), ("research", made))
    outcome = Outcome(status, None, *probability, f"{case_id}/{job.job}", {"read": 5.0}, sends)
    jobs.succeed(db, job.job, outcome, hold=hold)
    return job.job


def state(db: Database, case_id: str) -> State:
    case = worklist.case(db, case_id)
    assert case is not None
    return case.state


def test_list_says_everything_in_words(queue: Command, db: Database) -> None:
    assert queue().out == "" and "There are no cases" in queue().err
    done, waiting = queued(db), None
    computed(db, done)
    waiting = queued(db, "1.2.4")
    for told in (queue(), queue("list")):
        lines = told.out.splitlines()
        assert lines[0].split() == ["case", "arrived", "images", "series", "state", "result", "note"]
        assert [line.split()[0] for line in lines[1:]] == [waiting, done]
        assert "sending 0 of 2" in lines[2] and "ok, probability 0.71 (0.50 to 0.80)" in lines[2]
        assert "queued" in lines[1] and "Research use only" in told.err
        assert "Doe" not in told.out and "\x1b" not in told.out
    assert len(queue("list", "--limit", "1").out.splitlines()) == 2


def test_names_are_shown_where_that_is_configured(queue: Command, db: Database, config: Path) -> None:
    case_id = queued(db)
    assert all("Doe" not in queue(*words).out for words in (["list", "--json"], ["show", case_id]))
    _configured(config.parent, names=True)
    told = queue("list")
    assert "Doe^Ann·[2J" in told.out and "\x1b" not in told.out
    assert queue("list", "--json").json["cases"][0]["patient"] == {"name": ANN.name, "id": "4711"}


def test_json(queue: Command, db: Database) -> None:
    case_id = queued(db)
    computed(db, case_id, status="unsuitable input")
    told = queue("--json").json
    assert told["schema"] == "scanside.queue/1" and told["paused"] is False
    (case,) = told["cases"]
    assert (case["case_id"], case["state"], case["status"], case["probability"]) == (
        case_id, "sending", "unsuitable input", None,
    )  # fmt: skip
    assert case["sending"] == {"waiting": 2} and "patient" not in case
    shown = queue("show", case_id, "--json").json
    assert [item["destination"] for item in shown["objects"]] == ["PACS", "research"]
    assert [event["action"] for event in shown["events"]][:3] == ["study arrived", "job opened", "complete"]


def test_show(queue: Command, db: Database) -> None:
    case_id = queued(db)
    computed(db, case_id)
    orders.rerun(db, case_id, "user ann", series={"t2w": "1.2.3.4"})
    told = queue("show", case_id[:4].lower()).out
    for words in (case_id, "MR1", "t2w 1.2.3.4", "user ann", "run again", "queued to running", "job"):
        assert words in told
    assert "0.71" in told and "ok, probability 0.71" in told


def test_which_case_is_meant(queue: Command, db: Database) -> None:
    for number in range(40):
        queued(db, f"1.2.{number}")
    begins = [case.case_id[0] for case in worklist.cases(db)]
    twice = next(letter for letter in begins if begins.count(letter) > 1)
    told = queue("show", twice)
    assert told.code == 2 and f"begin with {twice}" in told.err
    told = queue("cancel", "NONE")
    assert told.code == 5
    assert_one_sentence(told.err.removeprefix("scanside: ").strip(), "NONE")


def test_pause_and_resume(queue: Command, db: Database) -> None:
    case_id = queued(db)
    assert queue("pause").out == "queue paused\n" and orders.is_paused(db)
    assert "paused" in queue().err
    assert queue("resume").code == 0 and not orders.is_paused(db)
    assert queue("pause", case_id).out == f"{case_id} paused\n" and state(db, case_id) is State.PAUSED
    assert queue("resume", case_id).out == f"{case_id} queued\n" and state(db, case_id) is State.QUEUED


def test_cancel_retry_priority(queue: Command, db: Database) -> None:
    case_id = queued(db)
    assert queue("cancel", case_id).out == f"{case_id} cancelled\n"
    again = queue("cancel", case_id)
    assert again.code == 2 and "does not allow" in again.err
    assert queue("retry", case_id).out == f"{case_id} queued\n"
    assert queue("priority", case_id, "7").code == 0
    assert "priority 7" in queue().out
    assert queue("priority", case_id, "--", "-3").code == 0
    actors = {entry.actor for entry in audit.entries(db, case_id=case_id) if entry.action == "cancel"}
    assert actors == {audit.person()}, "the log says who it was"


def test_review(queue: Command, db: Database) -> None:
    first, second = queued(db), None
    computed(db, first, hold=True)
    second = queued(db, "1.2.4")
    computed(db, second, hold=True)
    assert queue("accept", first).out == f"{first} sending\n"
    assert queue("reject", second).code == 2, "without a reason"
    assert queue("reject", second, "--reason", " ").code == 2
    assert queue("reject", second, "--reason", "wrong organ").out == f"{second} rejected\n"
    assert "rejected: wrong organ" in queue("show", second).out
    assert state(db, second) is State.REJECTED


def test_forget_ends_and_deletes_what_is_here(queue: Command, db: Database, config: Path) -> None:
    case_id = queued(db)
    computed(db, case_id)
    result = config.parent / "data" / "results" / case_id / "1"
    result.mkdir(parents=True)
    assert queue("forget", case_id).code == 2 and result.exists(), "it has to be meant"
    assert queue("forget", case_id, "--yes").out == f"{case_id} forgotten\n"
    case = worklist.case(db, case_id)
    assert case is not None and case.deleted is not None and case.patient.name == ""
    assert (case.state, case.sending) == (State.DONE, {Sending.ABANDONED: 2}) and not result.exists()
    other = queued(db, "1.2.4")
    assert queue("forget", other, "--yes").code == 0 and state(db, other) is State.CANCELLED
    assert queue("forget", other, "--yes").code == 5, "there is nothing left"


def test_send_again_and_abandon(queue: Command, db: Database) -> None:
    case_id = queued(db)
    job = computed(db, case_id)
    refused = queue("abandon", case_id, "PACS")
    assert refused.code == 2 and "--yes" in refused.err
    assert queue("abandon", case_id, "nowhere", "--yes").code == 2
    assert queue("abandon", case_id, "PACS", "--yes").out == f"{case_id} sending; 1 objects given up\n"
    outbox.stored(
        db, [item for item in outbox.of_job(db, job) if item.destination == "research"], commitment=False
    )
    assert state(db, case_id) is State.DONE
    assert queue("send-again", case_id).out == f"{case_id} sending\n"
    assert {item.state for item in outbox.of_job(db, job)} == {Sending.WAITING}


def test_rerun(queue: Command, db: Database, tmp_path: Path) -> None:
    case_id = queued(db)
    assert queue("rerun", case_id).code == 2, "it has not run yet"
    computed(db, case_id)
    for wrong in (["--series", "t2w"], ["--series", "t1=1.2"], ["--series", "t2w=1", "--series", "t2w=2"]):
        assert queue("rerun", case_id, *wrong).code == 2
    assert queue("rerun", case_id, "--bundle", tmp_path / "none").code == 3
    told = queue("rerun", case_id, "--series", "t2w=1.2", "--series", "dwi=1.3#b800", "--priority", "2")
    assert told.out == f"{case_id} queued as job 2\n"
    case = worklist.case(db, case_id)
    assert case is not None and (case.job, case.priority) == (2, 2)
    assert case.series == {"t2w": "1.2", "dwi": "1.3#b800"} and case.bundle is None


def test_a_bundle_is_kept_with_its_whole_path(
    queue: Command, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "tiny.bundle")
    case_id = queued(db)
    computed(db, case_id)
    monkeypatch.chdir(bundle.parent)
    assert queue("rerun", case_id, "--bundle", bundle.name).code == 0
    case = worklist.case(db, case_id)
    assert case is not None and case.bundle == str(bundle.resolve())


def test_no_configuration_and_no_store(
    scanside: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCANSIDE_CONFIG", raising=False)
    missing = scanside("queue", "list", "-c", tmp_path / "none.toml")
    assert missing.code == 2 and "none.toml" in missing.err
    for words in (["queue", "-c", config, "list"], ["queue", "list", "-c", config], ["queue", "-c", config]):
        unstarted = scanside(*words)
        assert unstarted.code == 5 and "scanside serve" in unstarted.err
    assert not (tmp_path / "data").exists(), "looking makes nothing"


def test_watch_tells_each_change_once_until_ctrl_c(config: Path, db: Database) -> None:
    code = "from scanside.runtime.cli import main; main._BUILT_IN['queue'] = 'scanside.runtime.cli.queue'; main.main()"
    old = queued(db, "1.2.2")
    jobs.act(db, 1, Action.CANCEL, "user ann")
    case_id = queued(db)
    environment = {**os.environ, "TERM": "dumb", "SCANSIDE_CONFIG": str(config)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "queue", "watch"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        # Whoever starts the tests in the background has Ctrl-C ignored, in all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().rstrip()[9:] == f"{case_id} queued"
        orders.pause_queue(db, True, "user ann")
        assert process.stdout.readline().rstrip()[9:] == "queue paused"
        orders.pause_queue(db, False, "user ann")
        assert process.stdout.readline().rstrip()[9:] == "queue resumed"
        jobs.claim(db, "w1")
        assert process.stdout.readline().rstrip()[9:] == f"{case_id} running"
        for done in range(3):
            jobs.progress(db, 2, "slide", done, 3, 1e12)
        jobs.fail(db, 2, "crash", "The worker process ended.", tries=1, backoff=0)
        told = process.stdout.readline().rstrip()[9:]
        assert told == f"{case_id} quarantined; crash, try 1: The worker process ended."
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "") and "Research use only" in err and old not in out
    finally:
        process.kill()
        process.wait()


def test_watch_tells_stages_where_asked(config: Path, db: Database) -> None:
    case_id = queued(db)
    job = jobs.claim(db, "w1")
    assert job is not None and jobs.progress(db, job.job, "t2w: slide", 3, 9, 1e12)
    case = worklist.case(db, case_id)
    assert case is not None
    assert line_of(case, names=False, stages=True) == f"{case_id} running: t2w: slide"
    assert line_of(case, names=False, stages=False) == f"{case_id} running"
