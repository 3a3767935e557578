"""Results over months: what monitoring is made from."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from scanside.runtime.appliance.store.database import Database


@dataclass(frozen=True)
class Finished:
    """The latest result of a study.

    Attributes:
        scanner: AE title that sent it.
        finished: Seconds since 1970.
        reason_code: None where the status is ok, or an earlier version made it.
        reason: The sentence; None where the status is ok.
        verdict: `accepted`, `rejected`, or what a person marked it; None where nobody has said anything.
        figures: Name → value; empty where nothing was computed, or an earlier version made it.
    """

    scanner: str
    finished: float
    status: str
    reason_code: str | None
    reason: str | None
    verdict: str | None
    figures: Mapping[str, float]


def keep(write: sqlite3.Connection, job: int, figures: Mapping[str, float]) -> None:
    """Replace what a job has measured, in the running transaction."""
    write.execute("DELETE FROM measures WHERE job = ?", (job,))
    write.executemany("INSERT INTO measures VALUES (?, ?, ?)", [(job, *row) for row in figures.items()])


def forget_study(write: sqlite3.Connection, study_uid: str) -> None:
    """Of a study that a person has forgotten, in the running transaction."""
    write.execute(
        "DELETE FROM measures WHERE job IN (SELECT job FROM jobs WHERE study_uid = ?)", (study_uid,)
    )


def finished(database: Database, since: float, until: float | None = None) -> tuple[Finished, ...]:
    """The latest result of each study that was finished in a time, the oldest first."""
    where = (
        "status IS NOT NULL AND finished >= ? AND (? IS NULL OR finished < ?) "
        "AND job = (SELECT max(job) FROM jobs AS newer WHERE newer.study_uid = jobs.study_uid "
        "AND newer.status IS NOT NULL)"
    )
    values = (since, until, until)
    figures: dict[int, dict[str, float]] = {}
    for row in database.rows(
        f"SELECT job, name, value FROM measures WHERE job IN (SELECT job FROM jobs WHERE {where})", values
    ):
        figures.setdefault(row["job"], {})[row["name"]] = row["value"]
    rows = database.rows(
        "SELECT jobs.job, studies.calling, jobs.finished, jobs.status, jobs.reason_code, jobs.reason, jobs.verdict "
        f"FROM jobs JOIN studies USING (study_uid) WHERE {where} ORDER BY jobs.finished, jobs.job",
        values,
    )
    return tuple(
        Finished(
            row["calling"],
            row["finished"],
            row["status"],
            row["reason_code"],
            row["reason"],
            row["verdict"],
            figures.get(row["job"], {}),
        )
        for row in rows
    )
