"""Reading: the worklist and what surrounds it. Nothing here writes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.records import Case, Instance, Patient, Warned
from scanside.runtime.appliance.store.states import SETTLED, Sending, State

_CASE = """
    SELECT studies.*, jobs.*, jobs.class AS positive,
        (SELECT count(*) FROM instances WHERE instances.study_uid = jobs.study_uid) AS instances,
        (SELECT count(DISTINCT series_uid) FROM instances WHERE instances.study_uid = jobs.study_uid) AS series_count,
        (SELECT json_group_object(state, n) FROM (SELECT outbox.state, count(*) AS n FROM outbox
            WHERE outbox.job = jobs.job GROUP BY outbox.state)) AS sending
    FROM jobs JOIN studies USING (study_uid)
"""
_LATEST = "jobs.job = (SELECT max(job) FROM jobs AS newer WHERE newer.study_uid = jobs.study_uid)"


def cases(database: Database, *, since: int = -1, limit: int | None = None) -> list[Case]:
    """The worklist, latest arrival first.

    Args:
        since: Only what has changed after this tick.
    """
    rows = database.rows(
        f"{_CASE} WHERE jobs.tick > ? AND {_LATEST} ORDER BY studies.arrived DESC, studies.case_id LIMIT ?",
        (since, -1 if limit is None else limit),
    )
    return [_case(dict(row)) for row in rows]


def case(database: Database, case_id: str) -> Case | None:
    """One line of the worklist."""
    rows = database.rows(f"{_CASE} WHERE studies.case_id = ? AND {_LATEST}", (case_id,))
    return _case(dict(rows[0])) if rows else None


def jobs_of(database: Database, case_id: str) -> list[Case]:
    """Every job of a case, latest first, each with what the worklist shows of it."""
    rows = database.rows(f"{_CASE} WHERE studies.case_id = ? ORDER BY jobs.job DESC", (case_id,))
    return [_case(dict(row)) for row in rows]


def tick(database: Database) -> int:
    """The newest change, for `cases(since=…)`."""
    return int(database.meta("tick") or 0)


def instances_of(database: Database, study_uid: str) -> list[Instance]:
    """What has been received of a study."""
    rows = database.rows(
        "SELECT sop_uid, study_uid, series_uid, path, sha256, size FROM instances WHERE study_uid = ? "
        "ORDER BY series_uid, sop_uid",
        (study_uid,),
    )
    return [Instance(**dict(row)) for row in rows]


def instance(database: Database, sop_uid: str) -> Instance | None:
    """What has been received under a UID."""
    rows = database.rows(
        "SELECT sop_uid, study_uid, series_uid, path, sha256, size FROM instances WHERE sop_uid = ?",
        (sop_uid,),
    )
    return Instance(**dict(rows[0])) if rows else None


def paths(database: Database) -> set[str]:
    """Of every received instance, below the spool."""
    return {str(row["path"]) for row in database.rows("SELECT path FROM instances")}


def knows_path(database: Database, path: str) -> bool:
    """Whether a received instance is there."""
    return bool(database.rows("SELECT 1 FROM instances WHERE path = ? LIMIT 1", (path,)))


def begun(database: Database, job: int) -> tuple[float, float] | None:
    """When a job was made, and when a worker took it last; None if there is no such job that was taken."""
    rows = database.rows("SELECT created, started FROM jobs WHERE job = ? AND started IS NOT NULL", (job,))
    return (float(rows[0]["created"]), float(rows[0]["started"])) if rows else None


def last_results(database: Database, most: int) -> list[tuple[str, str]]:
    """Case and folder of the last results, the latest first."""
    rows = database.rows(
        "SELECT studies.case_id, jobs.result FROM jobs JOIN studies USING (study_uid) "
        "WHERE jobs.result IS NOT NULL ORDER BY jobs.finished DESC LIMIT ?",
        (most,),
    )
    return [(str(row["case_id"]), str(row["result"])) for row in rows]


def count_states(database: Database) -> dict[State, int]:
    """Number of jobs in each state, the empty ones included."""
    found = {
        row["state"]: int(row["n"])
        for row in database.rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
    }
    return {state: found.get(state, 0) for state in State}


def count_outbox(database: Database) -> dict[tuple[str, Sending], int]:
    """Number of objects on their way, by destination and state."""
    rows = database.rows("SELECT destination, state, count(*) AS n FROM outbox GROUP BY destination, state")
    return {(str(row["destination"]), Sending(row["state"])): int(row["n"]) for row in rows}


def count_held(database: Database) -> dict[str, int]:
    """Number of objects that wait because nobody has accepted their result yet, by destination."""
    rows = database.rows(
        "SELECT destination, count(*) AS n FROM outbox JOIN jobs USING (job) WHERE outbox.state = ? AND jobs.state = ? "
        "GROUP BY destination",
        (Sending.WAITING, State.REVIEW),
    )
    return {str(row["destination"]): int(row["n"]) for row in rows}


@dataclass(frozen=True)
class Timing:
    """How long a stage of a job took. `at`: when the job was finished."""

    job: int
    stage: str
    ms: float
    at: float


def timings(database: Database, since: float) -> list[Timing]:
    """Of jobs finished after a time, oldest first."""
    rows = database.rows("SELECT job, stage, ms, at FROM timings WHERE at > ? ORDER BY at, rowid", (since,))
    return [Timing(**dict(row)) for row in rows]


def failures(database: Database) -> Mapping[str, int]:
    """Failed tries by kind, since the store was made."""
    rows = database.rows(
        "SELECT json_extract(detail, '$.kind') AS kind, count(*) AS n FROM audit "
        "WHERE action IN ('try again', 'quarantine') GROUP BY kind"
    )
    return {str(row["kind"]): int(row["n"]) for row in rows if row["kind"] is not None}


def expired(
    database: Database, *, days: float, unsent_days: float, now: float | None = None
) -> list[tuple[str, str]]:
    """Studies whose images and results may be deleted.

    All jobs have ended long enough ago, and every object of theirs has arrived, or was given up by a person.

    Returns:
        (study_uid, case_id)
    """
    at = clock(now)
    settled = ", ".join(f"'{state}'" for state in SETTLED)
    rows = database.rows(
        f"""
        SELECT study_uid, case_id FROM studies WHERE deleted IS NULL
        AND NOT EXISTS (SELECT 1 FROM associations WHERE associations.study_uid = studies.study_uid)
        AND EXISTS (SELECT 1 FROM jobs WHERE jobs.study_uid = studies.study_uid)
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.study_uid = studies.study_uid AND NOT (
            (state = '{State.DONE}' AND changed <= ?)
            OR (state IN ('{State.QUARANTINED}', '{State.REJECTED}', '{State.CANCELLED}') AND changed <= ?)))
        AND NOT EXISTS (SELECT 1 FROM outbox JOIN jobs USING (job)
            WHERE jobs.study_uid = studies.study_uid AND outbox.state NOT IN ({settled}))
        ORDER BY arrived
        """,
        (at - days * 86400, at - unsent_days * 86400),
    )
    return [(str(row["study_uid"]), str(row["case_id"])) for row in rows]


def _case(row: dict[str, object]) -> Case:
    values = {name: row[name] for name in Case.__dataclass_fields__ if name in row}
    warnings = json.loads(str(row["warnings"])) if row["warnings"] else None
    sending = json.loads(str(row["sending"])) if row["sending"] else {}
    return Case(
        **{
            **values,
            "patient": Patient(str(row["patient_id"]), str(row["patient_name"])),
            "state": State(str(row["state"])),
            "series": json.loads(str(row["series"])),
            "warnings": None if warnings is None else tuple(Warned(*pair) for pair in warnings),
            "sending": {Sending(state): int(n) for state, n in sending.items()},
        }
    )
