"""What is sent: storage and commitment, a destination that is given up, and when data may go."""

import pytest

from scanside.runtime.appliance.store import jobs, orders, outbox, retention, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Patient
from scanside.runtime.appliance.store.states import Action, Sending, State
from scanside.runtime.errors import InputError, UsageError
from tests.runtime.appliance.store.filling import add, claimed, instance, outcome, queued


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
