"""The store: states, audit chain, what a restart finds."""

import re
import sqlite3
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scanside.runtime.appliance.store import (
    audit,
    intake,
    jobs,
    orders,
    outbox,
    retention,
    verdicts,
    worklist,
)
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Instance, Job, Made, Outcome, Patient, Warned
from scanside.runtime.appliance.store.schema import VERSION
from scanside.runtime.appliance.store.states import (
    ARRIVED,
    BY_PERSON,
    DELIVERIES,
    ENDED,
    SETTLED,
    TRANSITIONS,
    Action,
    NotAllowedError,
    Sending,
    State,
)
from scanside.runtime.errors import InputError, OutputError, UsageError

ANN = Patient("4711", "Doe^Ann")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "data" / "scanside.db", create=True)


def instance(number: int, study: str = "1.2.3", sha: str = "a") -> Instance:
    return Instance(f"{study}.9.{number}", study, f"{study}.{number % 2}", f"x/{number}", sha * 64, 100)


def add(
    db: Database, one: Instance, *, association: str = "a1", most: int = 100, now: float = 1000.0
) -> Added:
    return intake.add_instance(
        db, one, association=association, calling="MR1", patient=ANN, most=most, now=now
    )


def queued(db: Database, study: str = "1.2.3", now: float = 1000.0) -> str:
    add(db, instance(1, study), now=now)
    intake.close_association(db, "a1", now)
    (case_id,) = intake.complete_studies(db, quiet_seconds=0, series=None, now=now)
    return case_id


def outcome(*destinations: str, status: str = "ok", uid: str = "7.1") -> Outcome:
    made = Made("sr", "1.2.840.10008.5.1.4.1.1.88.34", uid, "c/1/report_sr.dcm")
    sends = tuple((name, made) for name in destinations)
    return Outcome(status, None, 0.7, 0.5, 0.8, "c/1", {"read": 5.0, "check": 1.0}, sends)


def claimed(db: Database, now: float = 1001.0) -> Job:
    job = jobs.claim(db, "w1", now)
    assert job is not None
    return job


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


def test_delivery_with_commitment(db: Database) -> None:
    queued(db)
    job = claimed(db).job
    assert jobs.succeed(db, job, outcome("PACS", "ARCHIVE"), hold=False) is State.SENDING
    (item,) = outbox.due(db, "PACS", 3000)
    outbox.postponed(db, item, "PACS does not answer.", 60, 3000)
    assert outbox.due(db, "PACS", 3059) == []
    (item,) = outbox.due(db, "PACS", 3060)
    assert (item.attempts, item.reason) == (1, "PACS does not answer.")
    outbox.stored(db, [item], commitment=True)
    (item,) = outbox.uncommitted(db, "PACS")
    outbox.requested(db, [item], "9.9", 4000)
    assert outbox.unanswered(db, "PACS", 3999) == [] and len(outbox.unanswered(db, "PACS", 4001)) == 1
    assert outbox.answered(db, "8.8", [item.sop_uid], {}) == 0, "not our transaction"
    assert outbox.answered(db, "9.9", [], {item.sop_uid: "no such object"}) == 1
    (item,) = outbox.due(db, "PACS")
    outbox.stored(db, [item], commitment=True)
    outbox.requested(db, outbox.uncommitted(db, "PACS"), "9.10")
    assert outbox.answered(db, "9.10", [item.sop_uid], {}) == 1
    (case,) = worklist.cases(db)
    assert case.state is State.SENDING and case.sending == {Sending.COMMITTED: 1, Sending.WAITING: 1}
    outbox.stored(db, outbox.due(db, "ARCHIVE"), commitment=False)
    assert worklist.cases(db)[0].state is State.DONE
    assert jobs.act(db, job, Action.SEND_AGAIN, "user ann") is State.SENDING
    assert len(outbox.due(db, "PACS")) == 1


def test_a_destination_may_be_given_up(db: Database) -> None:
    queued(db)
    job = claimed(db).job
    jobs.succeed(db, job, outcome("PACS"), hold=False)
    assert outbox.abandon(db, job, "PACS", "user ann") == 1
    assert worklist.cases(db)[0].state is State.DONE
    with pytest.raises(UsageError, match="on its way"):
        outbox.abandon(db, job, "PACS", "user ann")


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


def test_retention_waits_for_what_is_under_way(db: Database) -> None:
    case_id = queued(db)
    job = claimed(db).job
    jobs.succeed(db, job, outcome("PACS"), hold=False, now=2000)
    day = 86400.0
    assert worklist.expired(db, days=1, unsent_days=9, now=2000 + 99 * day) == [], "not delivered"
    outbox.stored(db, outbox.due(db, "PACS", 2000), commitment=False, now=2000)
    assert worklist.expired(db, days=1, unsent_days=9, now=2000 + 0.9 * day) == []
    assert worklist.expired(db, days=1, unsent_days=9, now=2000 + day) == [("1.2.3", case_id)]
    assert retention.forget(db, "1.2.3", case_id)
    (case,) = worklist.cases(db)
    assert case.deleted is not None and case.patient == Patient() and case.instances == 0
    assert retention.deleted(db) == [case_id]
    with pytest.raises(InputError, match="deleted after retention"):
        orders.rerun(db, case_id, "user ann")
    assert add(db, instance(5)) is Added.NEW, "sent again, it is a case again"
    assert worklist.cases(db)[0].deleted is None and retention.deleted(db) == []
    assert not retention.forget(db, "1.2.3", case_id), "it is being received"


def test_cases_since_a_tick(db: Database) -> None:
    queued(db, "1.2.1")
    seen = worklist.tick(db)
    assert worklist.cases(db, since=seen) == []
    case_id = queued(db, "1.2.2")
    assert [case.case_id for case in worklist.cases(db, since=seen)] == [case_id]


def test_case_ids_tell_nothing_and_differ_by_site(tmp_path: Path) -> None:
    ids = []
    for site in "ab":
        ids.append(queued(Database(tmp_path / f"{site}.db", create=True)))
    assert ids[0] != ids[1] and all("1.2.3" not in one and "4711" not in one for one in ids)


def test_the_audit_log_is_a_chain(db: Database, tmp_path: Path) -> None:
    queued(db)
    jobs.act(db, 1, Action.PAUSE, "user ann")
    number, newest = audit.head(db)
    assert audit.verify(db, (number, newest)) == number > 3
    text = " ".join(entry.detail for entry in audit.entries(db))
    assert "Doe" not in text and "4711" not in text and "1.2.3" not in text
    raw = sqlite3.connect(db.path)
    for forbidden in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(forbidden)
    raw.execute("DROP TRIGGER audit_is_not_changed")
    raw.execute("DROP TRIGGER audit_is_not_deleted")
    raw.execute("DELETE FROM audit WHERE number = ?", (number,))
    raw.commit()
    assert audit.verify(db) == number - 1, "a cut end shows only against an anchor"
    with pytest.raises(InputError, match="it was cut"):
        audit.verify(db, (number, newest))
    raw.execute("UPDATE audit SET actor = 'user eve' WHERE number = 2")
    raw.commit()
    with pytest.raises(InputError, match="Entry 2 of the audit log is not"):
        audit.verify(db)
    raw.execute("DELETE FROM audit WHERE number = 2")
    raw.commit()
    with pytest.raises(InputError, match="lacks entry 2"):
        audit.verify(db)


@pytest.mark.requirement("rollback")
def test_a_store_of_a_newer_program_is_refused(db: Database) -> None:
    raw = sqlite3.connect(db.path)
    raw.execute("PRAGMA user_version = 99")
    raw.commit()
    with pytest.raises(InputError, match="newer scanside"):
        Database(db.path)


def test_no_store_and_no_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scanside serve"):
        Database(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("this is no database, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="cannot be opened"):
        Database(tmp_path / "text.db")


def test_a_store_that_is_full_says_so_and_loses_nothing(db: Database) -> None:
    case_id = queued(db)
    pages = db.rows("PRAGMA page_count")[0][0]
    db.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="cannot be written"):
        for number in range(10_000):
            add(db, instance(number, "5.6.7"))
    db.rows("PRAGMA max_page_count = 1000000")
    assert case_id in {case.case_id for case in worklist.cases(db)}
    audit.verify(db)


def test_the_store_is_private(db: Database) -> None:
    assert db.path.stat().st_mode & 0o077 == 0 and db.path.parent.stat().st_mode & 0o077 == 0


def test_the_tables_of_states_leave_no_dead_end() -> None:
    assert {state for state, _ in TRANSITIONS} | ENDED == set(State)
    for state in set(State) - {State.RECEIVING, State.RUNNING, State.SENDING}:
        ways = {action for origin, action in TRANSITIONS if origin is state}
        assert ways & BY_PERSON or state in ENDED, f"nobody can act on {state}"
    assert {state for state, _ in DELIVERIES} == set(Sending)
    assert SETTLED >= ARRIVED


@given(st.sampled_from(list(State)), st.sampled_from(list(Action)))
@settings(max_examples=150)
def test_only_the_table_changes_a_state(state: State, action: Action) -> None:
    with tempfile.TemporaryDirectory() as folder, Database(Path(folder) / "x.db", create=True) as db:
        queued(db)
        with db.transaction() as write:
            write.execute("UPDATE jobs SET state = ?", (state,))
        before = audit.head(db)
        try:
            with db.transaction() as write:
                new = jobs.move(write, 1, action, "somebody", 1.0)
        except NotAllowedError:
            assert (state, action) not in TRANSITIONS and audit.head(db) == before
            new = state
        assert worklist.cases(db)[0].state is new is TRANSITIONS.get((state, action), state)


RELEASED = sorted(Path(__file__).parent.glob("store_version_*.sql"))


@pytest.mark.requirement("upgrade")
@pytest.mark.parametrize("dump", RELEASED, ids=lambda path: path.stem)
def test_a_store_of_every_released_version_goes_on(dump: Path, tmp_path: Path) -> None:
    """It has one study that was sent and waits for commitment, and one in the queue."""
    path = tmp_path / "scanside.db"
    with sqlite3.connect(path) as old:
        old.executescript(dump.read_text())
    before = [row[0] for row in old.execute("SELECT hash FROM audit ORDER BY number")]
    old.close()
    with Database(path) as db:
        assert db.rows("PRAGMA user_version")[0][0] == VERSION
        sent, waiting = sorted(worklist.cases(db), key=lambda case: case.job)
        assert (sent.state, sent.status, sent.probability) == (State.SENDING, "ok", 0.7)
        if dump.stem.endswith("1"):
            assert sent.warnings is None and sent.positive is None, "unknown is not none"
        else:
            assert sent.warnings == (Warned("lesions-apart", "They lie apart."),) and sent.positive == "PDAC"
        with Database(tmp_path / "new.db", create=True) as new:
            assert _columns(db) == _columns(new), "an old store becomes what a new one is"
        assert audit.verify(db) == len(before)
        assert outbox.answered(db, _transaction(db), ["7.1"], {}) == 1
        assert worklist.case(db, sent.case_id) is not None
        jobs.succeed(db, claimed(db, 2000.0).job, outcome("PACS", uid="7.2"), hold=True)
        after = worklist.case(db, waiting.case_id)
        assert after is not None and after.state is State.REVIEW and after.warnings == ()


def test_every_released_version_of_the_schema_has_its_dump() -> None:
    """A version that went out in a release; 2 never did. Whoever raises VERSION in a release adds a dump."""
    assert {dump.stem for dump in RELEASED} >= {"store_version_1", "store_version_3"}


def _columns(db: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = [str(row[0]) for row in db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [tuple(row) for row in db.rows(f"PRAGMA table_info({name})")] for name in sorted(tables)}


def _transaction(db: Database) -> str:
    items = outbox.uncommitted(db, "PACS")
    outbox.requested(db, items, "9.9")
    return "9.9"


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


class Appliance(RuleBasedStateMachine):
    """Any order of events: nothing is lost, nothing is sent without a result, the audit log holds."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.db = Database(Path(self.folder.name) / "x.db", create=True)
        self.now, self.number, self.claims = 1000.0, 0, 0
        self.job: Job | None = None
        self.sent: set[str] = set()

    def tick(self) -> float:
        self.now += 1
        return self.now

    @rule(study=st.sampled_from(["1.1", "1.2", "1.3"]))
    def receive(self, study: str) -> None:
        self.number += 1
        assert add(self.db, instance(self.number, study), now=self.tick()) is Added.NEW

    @rule()
    def complete(self) -> None:
        intake.forget_associations(self.db, self.tick())
        intake.complete_studies(self.db, quiet_seconds=0, series=None, now=self.tick())

    @precondition(lambda self: self.job is None)
    @rule()
    def work(self) -> None:
        self.job = jobs.claim(self.db, "w", self.tick() + 1e6)

    @precondition(lambda self: self.job is not None)
    @rule(hold=st.booleans(), end=st.sampled_from(["succeed", "fail", "die"]))
    def end(self, hold: bool, end: str) -> None:
        assert self.job is not None
        with suppress(NotAllowedError):
            if end == "succeed":
                uid = f"{self.job.study_uid}.{len(worklist.instances_of(self.db, self.job.study_uid))}"
                jobs.succeed(self.db, self.job.job, outcome("PACS", uid=uid), hold=hold, now=self.tick())
            else:
                jobs.fail(self.db, self.job.job, end, "x", tries=2, backoff=1, now=self.tick())
        self.job = None

    @rule()
    def send(self) -> None:
        items = outbox.due(self.db, "PACS", self.tick() + 1e6)
        outbox.stored(self.db, items, commitment=False, now=self.now)
        self.sent |= {item.sop_uid for item in items}

    @rule(action=st.sampled_from(sorted(BY_PERSON)), at=st.integers(0, 5))
    def person(self, action: Action, at: int) -> None:
        cases = worklist.cases(self.db)
        if at < len(cases):
            with suppress(NotAllowedError):
                jobs.act(self.db, cases[at].job, action, "user ann", "because", now=self.tick())

    @invariant()
    def nothing_is_lost(self) -> None:
        received = sum(case.instances for case in worklist.cases(self.db))
        assert received == self.number
        assert audit.verify(self.db) == audit.head(self.db)[0]
        running = jobs.running(self.db)
        assert len(running) <= 1 and (not running or self.job is not None)
        for case in worklist.cases(self.db):
            for item in outbox.of_job(self.db, case.job):
                assert item.state is not Sending.DELIVERED or item.sop_uid in self.sent
            if case.state is State.DONE:
                assert set(case.sending) <= SETTLED

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.folder.cleanup()


Appliance.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestAppliance = Appliance.TestCase


def test_sql_stands_in_the_store_alone() -> None:
    """Who reads the tables elsewhere breaks with the next version of the schema, and nobody sees it."""
    root = Path(__file__).parents[3]
    sql = re.compile(r"\b(SELECT|UPDATE|INSERT INTO|DELETE FROM|PRAGMA)\s+[a-z(*_]")
    allowed = root / "runtime/scanside/runtime/appliance/store"
    found = [
        path.relative_to(root)
        for part in ("runtime", "tui")
        for path in (root / part / "scanside").rglob("*.py")
        if not path.is_relative_to(allowed) and sql.search(path.read_text())
    ]
    assert found == []
