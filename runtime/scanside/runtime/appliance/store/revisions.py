"""Which of a study's results a job makes: recorded once, so that a second try makes the same objects."""

import sqlite3
from typing import Any

from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.records import Made, Occasion
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.errors import InputError


def occasion(database: Database, job: int, inputs: str, now: float | None = None) -> Occasion:
    """Record what a job computes with, and learn its time and its place among the study's results.

    What was computed last with the same inputs is the same result: it has the same time and number, and so the same
    bytes.

    Args:
        inputs: A hash of everything that the result depends on.

    Raises:
        InputError: If there is no such job.
    """
    with database.transaction() as write:
        row = write.execute("SELECT * FROM jobs WHERE job = ?", (job,)).fetchone()
        if row is None:
            raise InputError(f"The store has no job {job}; it was changed by another program.")
        earlier = _earlier(write, row)
        last = earlier[0] if earlier else None
        if row["inputs"] == inputs and row["moment"] is not None:
            moment, number = float(row["moment"]), int(row["revision"])
        elif last is not None and last["inputs"] == inputs:
            moment, number = float(last["moment"]), int(last["revision"])
        else:
            moment = clock(now)
            number = 1 + max((int(one["revision"] or 1) for one in earlier), default=0)
        write.execute(
            "UPDATE jobs SET inputs = ?, moment = ?, revision = ? WHERE job = ?",
            (inputs, moment, number, job),
        )
        before = next((one for one in earlier if int(one["revision"] or 1) < number), None)
        return Occasion(moment, number, () if before is None else _sent(write, int(before["job"])))


def _earlier(write: sqlite3.Connection, job: sqlite3.Row) -> list[sqlite3.Row]:
    """Earlier jobs of the study that have a result which somebody may have got or may yet get, the latest first."""
    never = (State.REJECTED, State.CANCELLED)
    return write.execute(
        "SELECT job, inputs, moment, revision FROM jobs WHERE study_uid = ? AND job < ? AND status IS NOT NULL "
        "AND state NOT IN (?, ?) ORDER BY COALESCE(revision, 1) DESC, job DESC",
        (job["study_uid"], job["job"], *never),
    ).fetchall()


def _sent(write: sqlite3.Connection, job: int) -> tuple[Made, ...]:
    """Objects of a job that have left or are about to, each once; those that a person has given up are not replaced."""
    rows: list[Any] = write.execute(
        "SELECT kind, sop_class, sop_uid, path, series_uid, min(item) AS first FROM outbox JOIN jobs USING (job) "
        "WHERE job = ? AND outbox.state != ? AND jobs.state != ? AND kind != 'reject' GROUP BY sop_uid ORDER BY first",
        (job, Sending.ABANDONED, State.REVIEW),
    ).fetchall()
    return tuple(
        Made(one["kind"], one["sop_class"], one["sop_uid"], one["path"], one["series_uid"]) for one in rows
    )
