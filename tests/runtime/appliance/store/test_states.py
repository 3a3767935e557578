"""States: the table has no dead end, nothing else changes one, and any order of events loses nothing."""

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scanside.runtime.appliance.store import audit, intake, jobs, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Job
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
from tests.runtime.appliance.store.filling import add, instance, outcome, queued


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
