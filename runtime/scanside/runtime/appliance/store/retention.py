"""Forgetting a study, when its time has come or a person says so: its rows stay, its images and results go."""

import sqlite3

from scanside.runtime.appliance.store import priors, trends
from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.jobs import move
from scanside.runtime.appliance.store.states import (
    DELIVERIES,
    ENDED,
    Action,
    Delivery,
    NotAllowedError,
    Sending,
    State,
)
from scanside.runtime.errors import InputError


def forget(database: Database, study_uid: str, case_id: str, now: float | None = None) -> bool:
    """Write that a study is deleted, before its files are: who is killed between the two deletes files again.

    The name of the patient goes as well.

    Returns:
        False if something of it has begun again meanwhile, so that nothing may be deleted.
    """
    at = clock(now)
    ended = ", ".join(f"'{state}'" for state in ENDED)
    with database.transaction() as write:
        busy = write.execute(
            f"SELECT 1 FROM jobs WHERE study_uid = ? AND state NOT IN ({ended}) "
            "UNION SELECT 1 FROM associations WHERE study_uid = ?",
            (study_uid, study_uid),
        ).fetchone()
        if busy:
            return False
        _delete(write, study_uid, case_id, "retention", at)
    return True


def forget_now(database: Database, case_id: str, actor: str, now: float | None = None) -> None:
    """Forget a study that a person names, so that it may come again otherwise: as if it had never been here.

    What waits is cancelled, and what has not been sent never will be. What destinations have got stays there.

    Raises:
        InputError: If there is no such case, or it is forgotten already.
        NotAllowedError: If it is being received or computed.
    """
    at = clock(now)
    with database.transaction() as write:
        study = write.execute("SELECT * FROM studies WHERE case_id = ?", (case_id,)).fetchone()
        if study is None or study["deleted"] is not None:
            raise InputError(f"The store holds no images of case {case_id}.")
        study_uid = str(study["study_uid"])
        if write.execute("SELECT 1 FROM associations WHERE study_uid = ?", (study_uid,)).fetchone():
            raise NotAllowedError(f"Case {case_id} is being received; wait until its sender has ended.")
        for row in write.execute("SELECT job, state FROM jobs WHERE study_uid = ?", (study_uid,)).fetchall():
            _end(write, int(row["job"]), State(row["state"]), case_id, actor, at)
        priors.forget_study(write, study_uid)
        trends.forget_study(write, study_uid)
        _delete(write, study_uid, case_id, actor, at)


def _end(write: sqlite3.Connection, job: int, state: State, case_id: str, actor: str, at: float) -> None:
    if state is State.RUNNING:
        raise NotAllowedError(f"Case {case_id} is being computed; cancel it first.")
    given_up = [one for one, delivery in DELIVERIES if delivery is Delivery.ABANDON]
    marks = ", ".join("?" * len(given_up))
    write.execute(
        f"UPDATE outbox SET state = ?, changed = ? WHERE job = ? AND state IN ({marks})",
        (Sending.ABANDONED, at, job, *given_up),
    )
    if state is State.SENDING:
        move(write, job, Action.FINISH, actor, at, {"given up": "what had not arrived"})
    elif state not in ENDED:
        move(write, job, Action.CANCEL, actor, at)


def _delete(write: sqlite3.Connection, study_uid: str, case_id: str, actor: str, at: float) -> None:
    write.execute("DELETE FROM instances WHERE study_uid = ?", (study_uid,))
    write.execute("DELETE FROM steps WHERE study_uid = ?", (study_uid,))
    write.execute(
        "UPDATE studies SET deleted = ?, patient_id = '', patient_name = '' WHERE study_uid = ?",
        (at, study_uid),
    )
    write.execute("UPDATE jobs SET tick = ? WHERE study_uid = ?", (next_tick(write), study_uid))
    append(write, actor, "study deleted", case_id=case_id, now=at)


def deleted(database: Database) -> list[str]:
    """Case ids of deleted studies: files under these names are left from an interrupted deletion."""
    rows = database.rows("SELECT case_id FROM studies WHERE deleted IS NOT NULL")
    return [str(row["case_id"]) for row in rows]
