"""Figures for monitoring: counts, ages, and what is new in histories that only grow."""

from collections.abc import Mapping
from dataclasses import dataclass

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import Action, Sending, State


@dataclass(frozen=True)
class News:
    """What was added since the last look.

    Attributes:
        entry, timing: The newest audit entry and timing.
        failures: Kind → failed tries.
        stages: (stage, milliseconds) in their order.
    """

    entry: int
    timing: int
    failures: Mapping[str, int]
    stages: tuple[tuple[str, float], ...]


def newest(database: Database) -> tuple[int, int]:
    """Numbers of the newest audit entry and timing; both grow, unless the store is another one."""
    entry, _ = audit.head(database)
    return entry, int(database.rows("SELECT coalesce(max(rowid), 0) FROM timings")[0][0])


def news(database: Database, entry: int, timing: int) -> News:
    """What was added after an audit entry and a timing."""
    last_entry, last_timing = newest(database)
    failed = database.rows(
        "SELECT json_extract(detail, '$.kind') AS kind, count(*) AS n FROM audit "
        "WHERE number > ? AND number <= ? AND action IN (?, ?) GROUP BY kind",
        (entry, last_entry, Action.TRY_AGAIN, Action.QUARANTINE),
    )
    timings = database.rows(
        "SELECT stage, ms FROM timings WHERE rowid > ? AND rowid <= ? ORDER BY rowid", (timing, last_timing)
    )
    return News(
        last_entry,
        last_timing,
        {str(row["kind"] or "unknown"): int(row["n"]) for row in failed},
        tuple((str(row["stage"]), float(row["ms"])) for row in timings),
    )


def count_results(database: Database) -> dict[str, int]:
    """Jobs with a result, by its status."""
    rows = database.rows("SELECT status, count(*) AS n FROM jobs WHERE status IS NOT NULL GROUP BY status")
    return {str(row["status"]): int(row["n"]) for row in rows}


def count_studies(database: Database) -> int:
    """Received since the store was made."""
    return int(database.rows("SELECT count(*) FROM studies")[0][0])


def oldest_job(database: Database) -> float | None:
    """Since when the oldest job waits or runs; None where none does."""
    rows = database.rows("SELECT min(created) FROM jobs WHERE state IN (?, ?)", (State.QUEUED, State.RUNNING))
    return None if rows[0][0] is None else float(rows[0][0])


def oldest_delivery(database: Database) -> float | None:
    """Since when the oldest result waits to be delivered; None where none does."""
    rows = database.rows(
        "SELECT min(jobs.finished) FROM outbox JOIN jobs USING (job) "
        "WHERE outbox.state IN (?, ?, ?) AND jobs.state = ?",
        (Sending.WAITING, Sending.SENT, Sending.AWAITING, State.SENDING),
    )
    return None if rows[0][0] is None else float(rows[0][0])


def latest_result(database: Database) -> str | None:
    """Folder of the result that changed last."""
    rows = database.rows("SELECT result FROM jobs WHERE result IS NOT NULL ORDER BY tick DESC LIMIT 1")
    return str(rows[0]["result"]) if rows else None
