"""Jobs: who is next, failures and what hangs, and what a person decides of a result."""

from dataclasses import replace

import pytest

from scanside.runtime.appliance.store import intake, jobs, orders, outbox, verdicts, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import Action, NotAllowedError, Sending, State
from scanside.runtime.errors import UsageError
from tests.runtime.appliance.store.filling import add, claimed, instance, outcome, queued


def test_priority_then_age(db: Database) -> None:
    for number in range(3):
        queued(db, f"1.2.{number}", now=1000 + number)
    orders.prioritise(db, 3, 5, "user ann")
    assert [claimed(db, 2000).job for _ in range(3)] == [3, 1, 2]
    assert jobs.claim(db, "w1", 2000) is None


def test_a_paused_queue_gives_nothing(db: Database) -> None:
    queued(db)
    orders.pause_queue(db, True, "user ann")
    assert orders.is_paused(db) and jobs.claim(db, "w1", 2000) is None
    orders.pause_queue(db, False, "user ann")
    assert jobs.claim(db, "w1", 2000) is not None


def test_failures_are_tried_again_later_and_then_quarantined(db: Database) -> None:
    queued(db)
    waits = []
    now = 1001.0
    for _ in range(3):
        job = claimed(db, now)
        state = jobs.fail(db, job.job, "timeout", "It took too long.", tries=3, backoff=20, now=now)
        (case,) = worklist.cases(db)
        waits.append(case.not_before - now)
        assert jobs.claim(db, "w1", now + 1) is None, "not before its time"
        now = max(now, case.not_before)
    assert waits == [20, 40, 0]
    assert state is State.QUARANTINED and case.failure == "timeout" and case.reason == "It took too long."
    assert worklist.failures(db) == {"timeout": 3}
    assert jobs.act(db, job.job, Action.RETRY, "user ann") is State.QUEUED
    assert claimed(db, now).attempts == 1


def test_a_stage_that_takes_too_long_shows(db: Database) -> None:
    queued(db)
    job = claimed(db)
    assert jobs.progress(db, job.job, "t2w: network", 3, 8, 1500.0)
    assert jobs.overdue(db, 1499.0) == []
    ((late, stage),) = jobs.overdue(db, 1501.0)
    assert (late.job, stage) == (job.job, "t2w: network")
    (case,) = worklist.cases(db)
    assert (case.stage, case.done, case.total) == ("t2w: network", 3, 8)


def test_a_worker_that_hangs_before_its_first_stage_shows(db: Database) -> None:
    queued(db)
    job = jobs.claim(db, "w1", 1001, seconds=60)
    assert job is not None and jobs.overdue(db, 1060.0) == []
    assert [(late.job, stage) for late, stage in jobs.overdue(db, 1062.0)] == [(job.job, "start")]


def test_jobs_of_a_dead_worker_are_found(db: Database) -> None:
    queued(db)
    job = claimed(db)
    assert [one.job for one in jobs.running(db, "w1")] == [job.job]
    assert jobs.running(db, "w2") == [] and len(jobs.running(db)) == 1


def test_results_wait_for_a_person(db: Database) -> None:
    queued(db)
    job = claimed(db).job
    assert jobs.succeed(db, job, outcome("PACS"), hold=True) is State.REVIEW
    assert outbox.due(db, "PACS") == []
    assert jobs.act(db, job, Action.ACCEPT, "user ann") is State.SENDING
    assert len(outbox.due(db, "PACS")) == 1
    (case,) = worklist.cases(db)
    assert (case.verdict, case.verdict_by) == ("accepted", "user ann")


def test_who_judges_has_seen_the_result_that_is_there(db: Database) -> None:
    """More images come while a person looks at a result: what they say of it is not said of the next one."""
    queued(db)
    job = claimed(db).job
    jobs.succeed(db, job, outcome("PACS"), hold=True, now=1002)
    (seen,) = worklist.cases(db)
    assert add(db, instance(2), association="a2", now=1003) is Added.NEW
    intake.close_association(db, "a2", 1003)
    intake.complete_studies(db, quiet_seconds=30, series=None, now=2000)
    jobs.succeed(db, claimed(db, 2001).job, outcome("PACS", uid="7.2"), hold=True, now=2002)
    for action in (Action.ACCEPT, Action.REJECT):
        with pytest.raises(NotAllowedError, match="no longer has the result"):
            jobs.act(db, job, action, "user ann", "seen", finished=seen.finished)
    with pytest.raises(NotAllowedError, match="no longer has the result"):
        verdicts.mark(db, job, "false lesion", "seen", "user ann", finished=seen.finished)
    (case,) = worklist.cases(db)
    assert (case.state, case.verdict) == (State.REVIEW, None)
    assert jobs.act(db, job, Action.ACCEPT, "user ann", finished=case.finished) is State.SENDING


def test_a_rejection_wants_a_reason_and_nothing_is_sent(db: Database) -> None:
    queued(db)
    job = claimed(db).job
    jobs.succeed(db, job, outcome("PACS"), hold=True)
    with pytest.raises(UsageError, match="reason"):
        jobs.act(db, job, Action.REJECT, "user ann", " ")
    assert jobs.act(db, job, Action.REJECT, "user ann", "wrong organ") is State.REJECTED
    (item,) = outbox.of_job(db, job)
    assert item.state is Sending.ABANDONED
    assert worklist.cases(db)[0].reason == "wrong organ"


def test_a_cancelled_job_keeps_no_result(db: Database) -> None:
    queued(db)
    job = claimed(db).job
    jobs.act(db, job, Action.CANCEL, "user ann")
    assert not jobs.progress(db, job, "read", 0, 0, 1e12)
    with pytest.raises(NotAllowedError, match="cancelled"):
        jobs.succeed(db, job, outcome("PACS"), hold=False)
    assert outbox.of_job(db, job) == [] and worklist.timings(db, 0) == []


def test_run_again_with_other_series(db: Database) -> None:
    case_id = queued(db)
    with pytest.raises(NotAllowedError, match="queued"):
        orders.rerun(db, case_id, "user ann")
    jobs.succeed(db, claimed(db).job, outcome(), hold=False)
    number = orders.rerun(
        db, case_id, "user ann", bundle="other.bundle", series={"t2w": "1.2.3.0"}, priority=1
    )
    job = claimed(db, 5000)
    assert (job.job, job.bundle, job.series) == (number, "other.bundle", {"t2w": "1.2.3.0"})


def test_a_row_says_what_a_decision_wants(db: Database) -> None:
    case_id = queued(db)
    warned = (Warned("lesions-apart", "They lie apart."), Warned("other", "It is odd."))
    made = replace(outcome(), positive="PDAC", named=None, warnings=warned)
    jobs.succeed(db, claimed(db).job, made, hold=True)
    case = worklist.case(db, case_id)
    assert case is not None
    assert (case.positive, case.named, case.warnings) == ("PDAC", None, warned)
    assert (case.probability, case.low, case.high) == (0.7, 0.5, 0.8)
    add(db, instance(2), now=1005)
    (again,) = worklist.cases(db)
    assert (again.positive, again.named, again.warnings) == (None, None, None), "it was another result"
