"""What the sender reads and writes: objects on their way, each to one destination."""

import sqlite3
from collections.abc import Mapping, Sequence

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.jobs import finish_if_settled
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.appliance.store.states import DELIVERIES, Delivery, Sending, State
from scanside.runtime.errors import InputError, UsageError

SENDER = "sender"

_ITEM = """
    SELECT outbox.*, studies.case_id FROM outbox JOIN jobs USING (job) JOIN studies USING (study_uid)
"""


def due(database: Database, destination: str, now: float | None = None, limit: int = 64) -> list[Item]:
    """Objects to send to a destination now, oldest first. Those of a result that is under review are not among them."""
    sql = (
        f"{_ITEM} WHERE outbox.destination = ? AND outbox.state = ? AND outbox.not_before <= ? AND jobs.state = ? "
        "ORDER BY item LIMIT ?"
    )
    return _items(database, sql, (destination, Sending.WAITING, clock(now), State.SENDING, limit))


def uncommitted(database: Database, destination: str, limit: int = 64) -> list[Item]:
    """Objects that a destination has, and whose commitment has yet to be asked for."""
    sql = f"{_ITEM} WHERE outbox.destination = ? AND outbox.state = ? AND outbox.not_before <= ? ORDER BY item LIMIT ?"
    return _items(database, sql, (destination, Sending.SENT, clock(None), limit))


def unanswered(database: Database, destination: str, before: float) -> list[Item]:
    """Objects whose commitment was asked for before a time, and that nobody has answered."""
    sql = f"{_ITEM} WHERE outbox.destination = ? AND outbox.state = ? AND outbox.changed < ? ORDER BY item"
    return _items(database, sql, (destination, Sending.AWAITING, before))


def of_job(database: Database, job: int) -> list[Item]:
    """All objects of a job."""
    return _items(database, f"{_ITEM} WHERE outbox.job = ? ORDER BY item", (job,))


def stored(database: Database, items: Sequence[Item], *, commitment: bool, now: float | None = None) -> None:
    """The peer has acknowledged objects.

    Args:
        commitment: It will be asked to commit itself to them.
    """
    action = Delivery.STORED if commitment else Delivery.STORED_FOR_GOOD
    _move_all(database, items, action, clock(now), reason=None)


def postponed(database: Database, item: Item, reason: str, wait: float, now: float | None = None) -> None:
    """Sending an object failed: note why, and when to try again.

    Args:
        reason: A sentence without patient data.
        wait: Seconds.
    """
    at = clock(now)
    with database.transaction() as write:
        write.execute(
            "UPDATE outbox SET attempts = attempts + 1, not_before = ?, reason = ?, changed = ? "
            "WHERE item = ? AND state IN (?, ?)",
            (at + wait, reason, at, item.item, Sending.WAITING, Sending.SENT),
        )
        _touch(write, item.job, at)
        if item.reason != reason:
            detail = {"destination": item.destination, "object": item.kind, "reason": reason}
            append(
                write, SENDER, "delivery failed", case_id=item.case_id, job=item.job, detail=detail, now=at
            )


def requested(
    database: Database, items: Sequence[Item], transaction_uid: str, now: float | None = None
) -> None:
    """Commitment to objects has been asked for. To be written before the request goes out: the answer may be quick."""
    _move_all(database, items, Delivery.REQUESTED, clock(now), transaction_uid=transaction_uid)


def answered(
    database: Database,
    transaction_uid: str,
    committed: Sequence[str],
    failed: Mapping[str, str],
    *,
    wait: float = 0.0,
    now: float | None = None,
) -> int:
    """A peer answers a request for commitment (PS3.4 J.3.3). Objects that it does not have are sent again.

    Args:
        committed: SOP instance UIDs.
        failed: SOP instance UID → reason.
        wait: Seconds before these are sent again.

    Returns:
        Number of objects that the answer was about; 0 for a transaction that is not ours.
    """
    at = clock(now)
    items = _items(database, f"{_ITEM} WHERE outbox.transaction_uid = ?", (transaction_uid,))
    good = [item for item in items if item.sop_uid in set(committed)]
    bad = [item for item in items if item.sop_uid in failed]
    _move_all(database, good, Delivery.COMMIT, at, reason=None)
    for item in bad:
        _move_all(database, [item], Delivery.LOST, at, wait=wait, reason=failed[item.sop_uid])
    return len(good) + len(bad)


def overdue(
    database: Database,
    items: Sequence[Item],
    now: float | None = None,
    *,
    reason: str = "no answer to the request for commitment",
) -> None:
    """Nobody answered: ask again."""
    _move_all(database, items, Delivery.OVERDUE, clock(now), reason=reason)


def abandon(database: Database, job: int, destination: str, actor: str, now: float | None = None) -> int:
    """Give up delivering a job's objects to one destination.

    Returns:
        Number of objects.

    Raises:
        UsageError: If there is nothing on its way there.
    """
    at = clock(now)
    open_ = [state for state, action in DELIVERIES if action is Delivery.ABANDON]
    items = [i for i in of_job(database, job) if i.destination == destination and i.state in open_]
    if not items:
        raise UsageError(f"Nothing of job {job} is on its way to {destination}.")
    _move_all(database, items, Delivery.ABANDON, at, actor=actor)
    return len(items)


def _move_all(
    database: Database,
    items: Sequence[Item],
    action: Delivery,
    at: float,
    *,
    actor: str = SENDER,
    wait: float = 0.0,
    **columns: str | None,
) -> None:
    """Make a transition for every object that it is allowed for; another process may have been faster with some."""
    with database.transaction() as write:
        for item in items:
            row = write.execute("SELECT state FROM outbox WHERE item = ?", (item.item,)).fetchone()
            if row is None:
                raise InputError(f"There is no object {item.item} in the outbox.")
            new = DELIVERIES.get((Sending(row["state"]), action))
            if new is None:
                continue
            values = {"state": new, "changed": at, "not_before": at + wait if wait else 0.0, **columns}
            names = ", ".join(f"{name} = ?" for name in values)
            tries = ", attempts = attempts + 1" if action is Delivery.LOST else ""
            write.execute(f"UPDATE outbox SET {names}{tries} WHERE item = ?", (*values.values(), item.item))
            detail = {"destination": item.destination, "object": item.kind, "sop_uid": item.sop_uid}
            append(write, actor, f"object {new}", case_id=item.case_id, job=item.job, detail=detail, now=at)
        for job in sorted({item.job for item in items}):
            _touch(write, job, at)
            state = write.execute("SELECT state FROM jobs WHERE job = ?", (job,)).fetchone()["state"]
            if state == State.SENDING:
                finish_if_settled(write, job, at)


def _touch(write: sqlite3.Connection, job: int, at: float) -> None:
    write.execute("UPDATE jobs SET changed = ?, tick = ? WHERE job = ?", (at, next_tick(write), job))


def _items(database: Database, sql: str, values: tuple[object, ...]) -> list[Item]:
    return [Item(**{**dict(row), "state": Sending(row["state"])}) for row in database.rows(sql, values)]
