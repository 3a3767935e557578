"""What arrives: when a study is complete, what comes again, and what comes late."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.store import intake, jobs, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.states import NotAllowedError, State
from tests.runtime.appliance.store.filling import add, claimed, instance, outcome, queued


def test_a_study_is_complete_when_its_associations_have_closed_and_it_is_quiet(db: Database) -> None:
    assert add(db, instance(1), now=1000) is Added.NEW
    assert add(db, instance(2), association="a2", now=1010) is Added.NEW
    assert intake.complete_studies(db, quiet_seconds=30, series=None, now=2000) == [], "both are open"
    intake.close_association(db, "a1", 1011)
    assert intake.complete_studies(db, quiet_seconds=30, series=None, now=2000) == [], "one is open"
    intake.close_association(db, "a2", 1020)
    assert intake.complete_studies(db, quiet_seconds=30, series=None, now=1049) == [], "not quiet yet"
    assert len(intake.complete_studies(db, quiet_seconds=30, series=None, now=1050)) == 1
    assert intake.complete_studies(db, quiet_seconds=30, series=None, now=1051) == []


def test_a_receiver_that_starts_again_gives_senders_time_to_come_back(db: Database) -> None:
    add(db, instance(1), now=1000)
    intake.forget_associations(db, 5000)
    assert intake.complete_studies(db, quiet_seconds=30, series=None, now=5029) == []
    assert len(intake.complete_studies(db, quiet_seconds=30, series=None, now=5030)) == 1


def test_enough_series_complete_a_study(db: Database) -> None:
    add(db, instance(1))
    intake.close_association(db, "a1")
    assert intake.complete_studies(db, quiet_seconds=1e9, series=2, now=1000) == []
    add(db, instance(2))
    assert intake.complete_studies(db, quiet_seconds=1e9, series=2, now=1000) == [], "an association is open"
    intake.forget_associations(db)
    assert len(intake.complete_studies(db, quiet_seconds=1e9, series=2, now=1000)) == 1


def test_the_same_instance_again_changes_nothing_and_another_one_is_a_conflict(db: Database) -> None:
    case_id = queued(db)
    assert add(db, instance(1), association="a9") is Added.SAME
    assert add(db, instance(1, sha="b"), association="a9") is Added.CONFLICT
    (case,) = worklist.cases(db)
    assert (case.case_id, case.state, case.instances) == (case_id, State.QUEUED, 1)


def test_a_study_has_only_so_many_instances(db: Database) -> None:
    assert [add(db, instance(n), most=2) for n in (1, 2, 3, 1)] == [
        Added.NEW,
        Added.NEW,
        Added.FULL,
        Added.SAME,
    ]


@pytest.mark.parametrize("begun", [False, True])
def test_images_that_come_late_send_the_job_back(db: Database, begun: bool) -> None:
    queued(db)
    job = claimed(db) if begun else None
    add(db, instance(2), now=1005)
    (case,) = worklist.cases(db)
    assert case.state is State.RECEIVING and case.job == 1 and case.attempts == 0
    if job is not None:
        assert not jobs.progress(db, job.job, "read", 0, 0, 2000.0), "the worker is told to stop"
        with pytest.raises(NotAllowedError, match="receiving"):
            jobs.succeed(db, job.job, outcome("PACS"), hold=False)
    assert not outbox.due(db, "PACS")


def test_images_that_come_after_the_result_open_a_new_job(db: Database) -> None:
    case_id = queued(db)
    jobs.succeed(db, claimed(db).job, outcome(), hold=False)
    add(db, instance(2), now=1005)
    first, second = reversed(worklist.jobs_of(db, case_id))
    assert (first.state, second.state) == (State.DONE, State.RECEIVING)
    assert [case.job for case in worklist.cases(db)] == [second.job]


def test_case_ids_tell_nothing_and_differ_by_site(tmp_path: Path) -> None:
    ids = []
    for site in "ab":
        ids.append(queued(Database(tmp_path / f"{site}.db", create=True)))
    assert ids[0] != ids[1] and all("1.2.3" not in one and "4711" not in one for one in ids)
