"""The worker process, killed with SIGKILL, and on a full disk: one outcome, whatever happened before it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from scanside.runtime.appliance.store import audit, jobs, orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.work.main import Worker
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.support.appliance import until
from tests.support.small_studies import write_study

pytestmark = pytest.mark.requirement("stuck")

ROOT = Path(__file__).parents[4]
WORK = "scanside.runtime.appliance.work.case"
INSTANTS = (
    (f"{WORK}:read_study", "before"),  # the snapshot is there
    ("scanside.runtime.study.write:_move", "before"),  # the result lies beside its place
    (f"{WORK}:write_result", "after"),  # it is in place, and the store does not know
    ("scanside.runtime.appliance.store.jobs:finish_if_settled", "before"),  # in the middle of the transaction
    ("scanside.runtime.appliance.store.jobs:succeed", "after"),
)


def worker_process(path: Path, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = (path.parent / "work.log").open("ab")
    with closing(log):
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log
        )


@contextmanager
def running(path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The worker process as the supervisor starts it; killed at the end, like everything here."""
    process = worker_process(path, "scanside.runtime.appliance.process", "work", str(path))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def assert_one_outcome(database: Database, case_id: str, results: Path) -> None:
    case = shown(database, case_id)
    assert (case.state, case.status, case.job) == (State.SENDING, "ok", 1)
    assert [item.kind for item in outbox.of_job(database, 1)] == ["seg", "seg", "sr", "sc", "key"]
    ended = [entry for entry in audit.entries(database, case_id=case_id) if entry.action == "release"]
    assert len(ended) == 1
    assert [timing.stage for timing in worklist.timings(database, 0)].count("total") == 1
    found = {path.name for path in (results / case_id).iterdir()}
    assert found == {"1"}, "nothing unfinished is left"
    report = json.loads((results / case_id / "1" / "result.json").read_text())
    assert {path.name for path in (results / case_id / "1").iterdir()} == set(report["outputs"])
    assert {item.sop_uid for item in outbox.of_job(database, 1)} == {
        row["sop_instance_uid"] for row in report["objects"]
    }


def test_killed_at_every_instant_that_matters(tmp_path: Path, bundle: Path) -> None:
    path = configured(tmp_path, bundle, work={"tries": 1000})
    config, database = opened(path)
    with database:
        files = sorted(write_study(1, tmp_path / "study").iterdir())
        case_id = received(config, database, files)
        for number, instant in enumerate(INSTANTS, start=1):
            process = worker_process(path, "tests.runtime.appliance.work.dying", str(path), *instant)
            assert process.wait(120) == -signal.SIGKILL, (instant, (tmp_path / "work.log").read_text())
            case = shown(database, case_id)
            assert case.attempts == number
            assert case.state is (State.SENDING if number == len(INSTANTS) else State.RUNNING)
        worker = Worker(config, database, threading.Event())
        worker.recover()
        assert not worker.step(), "nothing is left to do"
        assert_one_outcome(database, case_id, config.results)
        before = {item.kind: item.sop_uid for item in outbox.of_job(database, 1)}
        orders.rerun(database, case_id, "user ann")
        assert worker.step()
        assert {item.kind: item.sop_uid for item in outbox.of_job(database, 2)} == before
        worker.close()


def test_what_kills_every_time_is_quarantined(tmp_path: Path, bundle: Path) -> None:
    """And other studies go on."""
    path = configured(tmp_path, bundle, work={"tries": 2})
    config, database = opened(path)
    with database:
        poison = received(config, database, sorted(write_study(1, tmp_path / "a").iterdir()))
        for _ in range(2):
            process = worker_process(path, "tests.runtime.appliance.work.dying", str(path), *INSTANTS[0])
            assert process.wait(120) == -signal.SIGKILL, (tmp_path / "work.log").read_text()
        other = received(config, database, sorted(write_study(2, tmp_path / "b").iterdir()))
        with running(path):
            until(lambda: shown(database, other).status, 120, "the other study")
        case = shown(database, poison)
        assert (case.state, case.failure, case.attempts) == (State.QUARANTINED, "crash", 2)
        assert shown(database, other).status == "ok"


def test_a_worker_that_is_told_to_end_ends_and_its_job_waits(tmp_path: Path, bundle: Path) -> None:
    path = configured(tmp_path, bundle)
    config, database = opened(path)
    with database:
        case_id = received(config, database, sorted(write_study(1, tmp_path / "a").iterdir()))
        with running(path) as process:
            until(lambda: shown(database, case_id).stage, 120, "a stage")
            process.terminate()
            assert process.wait(60) == 0, (tmp_path / "work.log").read_text()
        assert shown(database, case_id).state in (State.QUEUED, State.SENDING)
        log = (tmp_path / "work.log").read_text()
        assert "Small" not in log and "P00001" not in log and "Traceback" not in log


@pytest.mark.slow
def test_killed_at_random_instants(tmp_path: Path, bundle: Path) -> None:
    """Four studies, and kills until they are all done, fifteen at most."""
    path = configured(tmp_path, bundle, work={"tries": 1000})
    config, database = opened(path)
    instants = random.Random(1)
    with database:
        case_ids = [
            received(config, database, sorted(write_study(number, tmp_path / str(number)).iterdir()))
            for number in range(4)
        ]

        def done() -> bool:
            return all(shown(database, one).status for one in case_ids)

        kills = 0
        while kills < 15 and not done():
            with running(path) as process:
                until(lambda: jobs.running(database) or done(), 120, "a job")
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(instants.uniform(0, 6))
            kills += 1
        assert kills > 3, "or this shows nothing"
        with running(path):
            until(done, 300, "all studies")
        for case_id in case_ids:
            case = shown(database, case_id)
            ended = [entry for entry in audit.entries(database, case_id=case_id) if entry.action == "release"]
            assert (case.status, len(ended), len(outbox.of_job(database, case.job))) == ("ok", 1, 5)
        audit.verify(database)


def _small_disk(folder: Path) -> list[str]:
    """A command that runs another one with a disk of 6 MB in place of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = f'mount -t tmpfs -o size=6m none "{folder}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no small disk: this system does not allow `unshare -rm` with a tmpfs")
    return command


def test_a_full_disk_loses_nothing(tmp_path: Path, bundle: Path) -> None:
    path = configured(tmp_path, bundle, work={"tries": 1})
    study = write_study(1, tmp_path / "study")
    command = [
        *_small_disk(tmp_path / "data"),
        sys.executable,
        "-m",
        "tests.runtime.appliance.work.full_disk",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(path), str(study)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    first, second, full, free = found["told"]
    for taken, state, failure, reason, status, attempts, files in (first, second):
        assert taken and (state, failure, status, attempts) == ("queued", "disk", None, 0)
        assert "space" in reason and str(tmp_path) not in reason and files == []
    assert not full[0] and full[1] == "queued", "the store itself could not be written"
    assert free[0] and (free[1], free[4]) == ("sending", "ok")
    assert found["sends"] == ["seg", "seg", "sr", "sc", "key"]
