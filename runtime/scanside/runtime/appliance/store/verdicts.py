"""What a person says of a result that has been sent already."""

import sqlite3

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.states import Action, NotAllowedError

_JOB = "SELECT jobs.*, studies.case_id FROM jobs JOIN studies USING (study_uid) WHERE jobs.job = ?"


def mark(
    database: Database,
    job: int,
    verdict: str,
    reason: str | None,
    actor: str,
    *,
    finished: float | None = None,
) -> None:
    """Keep what a person says of a result that has been sent already, such as `false lesion`.

    Args:
        finished: As in `act`.

    Raises:
        NotAllowedError: If it has no result, or another one than that.
    """
    at = clock(None)
    with database.transaction() as write:
        see_same(write, job, finished)
        row = write.execute(_JOB, (job,)).fetchone()
        if row is None or row["status"] is None:
            raise NotAllowedError(f"Job {job} has no result to judge.")
        write.execute(
            "UPDATE jobs SET verdict = ?, verdict_by = ?, changed = ?, tick = ? WHERE job = ?",
            (verdict, actor, at, next_tick(write), job),
        )
        append(
            write,
            actor,
            f"marked {verdict}",
            case_id=row["case_id"],
            job=job,
            detail={"reason": reason},
            now=at,
        )


def unmark(database: Database, job: int, verdict: str, actor: str, *, finished: float | None = None) -> None:
    """Take back a verdict of `mark`; an acceptance from before it stands again.

    Args:
        finished: As in `act`.

    Raises:
        NotAllowedError: If it does not carry that verdict, or it has another result than that.
    """
    at = clock(None)
    with database.transaction() as write:
        see_same(write, job, finished)
        row = write.execute(_JOB, (job,)).fetchone()
        if row is None or row["verdict"] != verdict:
            raise NotAllowedError(f"Job {job} is not marked '{verdict}'; look at it again.")
        accepted = write.execute(
            "SELECT actor FROM audit WHERE job = ? AND action = ? AND at >= ? ORDER BY number DESC LIMIT 1",
            (job, Action.ACCEPT, row["finished"]),
        ).fetchone()
        before = ("accepted", accepted["actor"]) if accepted else (None, None)
        write.execute(
            "UPDATE jobs SET verdict = ?, verdict_by = ?, changed = ?, tick = ? WHERE job = ?",
            (*before, at, next_tick(write), job),
        )
        append(
            write, actor, f"mark taken back: {verdict}", case_id=row["case_id"], job=job, detail={}, now=at
        )


def see_same(write: sqlite3.Connection, job: int, finished: float | None) -> None:
    """Refuse what a person decided on a result that is no longer there.

    Raises:
        NotAllowedError: If the job has another result than the one that was finished then.
    """
    row = write.execute(_JOB, (job,)).fetchone()
    if finished is not None and row is not None and row["finished"] != finished:
        raise NotAllowedError(
            f"Case {row['case_id']} no longer has the result that was looked at; look at what it has now."
        )
