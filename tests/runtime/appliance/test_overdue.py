"""Workers that take too long: stopped by the supervisor, also where they hold the store."""

import re
import time
from pathlib import Path

import pytest

from scanside.runtime.appliance import serve
from scanside.runtime.appliance.store import database, jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import State
from tests.runtime.appliance.hospital import compute, entries, wait_for
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.runtime.study.tiny_study import write_bundle
from tests.support.appliance import appliance
from tests.support.small_studies import write_study


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.bundle")


def test_a_hung_worker_that_holds_the_store_is_killed_too(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise nobody could ever write again."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    config, store = opened(configured(tmp_path, bundle))
    with store, Database(config.database) as worker:
        received(config, store, sorted(write_study(1, tmp_path / "study").iterdir()))
        job = jobs.claim(store, "worker")
        assert job is not None
        assert not serve._stop_overdue(config, store)
        assert jobs.progress(store, job.job, "slide", 1, 9, time.time() - 1)
        with worker.transaction():
            assert serve._stop_overdue(config, store)
        assert shown(store, job.case_id).state is State.RUNNING
        assert serve._stop_overdue(config, store)
        assert shown(store, job.case_id).failure == "timeout"
        assert not serve._stop_overdue(config, store), "once is enough"


def test_what_always_takes_too_long_is_quarantined(
    bundle: Path,
    tmp_path: Path,
    scanside: Command,  # noqa: F811
) -> None:
    quick = {"receive": {"quiet_seconds": 0.5}}
    with appliance(tmp_path, bundle, **quick, work={"stage_seconds": 0.05, "tries": 2}) as slow:
        slow.wait_for_receiver()
        case = compute(slow, 9, tmp_path, State.QUARANTINED)
        assert (case.failure, case.attempts, case.status, case.sending) == ("timeout", 2, None, {})
        assert re.fullmatch(r"Stage '.+' took longer than 0\.05 s and was stopped\.", case.reason or "")
        for action in ("claim", "try again", "quarantine"):
            assert len(entries(slow, action, case.case_id)) == (2 if action == "claim" else 1)
        assert not list((slow.data / "results").rglob("result.json"))
    with appliance(tmp_path, bundle, **quick) as patient:
        patient.wait_for_receiver()
        assert scanside("queue", "retry", case.case_id, "-c", patient.path).code == 0
        done = wait_for(patient, case.study_uid, State.DONE)
        assert (done.status, done.attempts, done.failure) == ("ok", 1, None)
