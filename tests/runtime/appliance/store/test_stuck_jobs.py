"""Jobs that a worker still computes although they no longer run, and verdicts on jobs that are not there."""

import pytest

from scanside.runtime.appliance.store import intake, jobs, verdicts
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Job, Patient
from scanside.runtime.appliance.store.states import Action, NotAllowedError

pytestmark = pytest.mark.requirement("stuck")


@pytest.fixture
def computing(db: Database) -> Job:
    """A job whose stage has to be done at 2000."""
    image = Instance("1.2.3.9.1", "1.2.3", "1.2.3.1", "x/1", "a" * 64, 100)
    intake.add_instance(
        db, image, association="a1", calling="MR1", patient=Patient("4711", "Doe^Ann"), most=9, now=1000.0
    )
    intake.close_association(db, "a1", 1000.0)
    intake.complete_studies(db, quiet_seconds=0, series=None, now=1000.0)
    job = jobs.claim(db, "w1", 1001.0)
    assert job is not None
    assert jobs.progress(db, job.job, "t2w: slide", 3, 9, 2000.0)
    return job


def stage(db: Database, job: Job) -> tuple[str | None, float | None]:
    (row,) = db.rows("SELECT stage, deadline FROM jobs WHERE job = ?", (job.job,))
    return row["stage"], row["deadline"]


def test_a_job_that_runs_is_not_stuck_however_late(db: Database, computing: Job) -> None:
    assert not jobs.forget_stuck(db, 9999.0)
    assert stage(db, computing) == ("t2w: slide", 2000.0)


def test_a_cancelled_job_is_stuck_only_when_its_stage_takes_too_long(db: Database, computing: Job) -> None:
    jobs.act(db, computing.job, Action.CANCEL, "ann")
    assert not jobs.forget_stuck(db, 2000.0), "its worker may still be at it"
    assert stage(db, computing) == ("t2w: slide", 2000.0)
    assert jobs.forget_stuck(db, 2000.5)
    assert stage(db, computing) == (None, None)
    assert not jobs.forget_stuck(db, 9999.0), "once is enough: the worker was killed"


def test_a_worker_that_has_let_go_is_not_stuck(db: Database, computing: Job) -> None:
    jobs.act(db, computing.job, Action.CANCEL, "ann")
    jobs.let_go(db, computing.job)
    assert not jobs.forget_stuck(db, 9999.0)


def test_a_running_job_is_not_let_go(db: Database, computing: Job) -> None:
    jobs.let_go(db, computing.job)
    assert stage(db, computing) == ("t2w: slide", 2000.0)


def test_nobody_judges_a_job_that_is_not_there_or_has_no_result(db: Database, computing: Job) -> None:
    for job in (computing.job, computing.job + 1):
        with pytest.raises(NotAllowedError, match=f"Job {job} has no result to judge"):
            verdicts.mark(db, job, "false lesion", "no", "ann")
    assert not db.rows("SELECT 1 FROM audit WHERE action LIKE 'marked%'")
