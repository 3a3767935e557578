"""What a person does to the queue: another computation, another order, a pause."""

import json
from collections.abc import Mapping

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.states import NotAllowedError, State
from scanside.runtime.errors import InputError

_JOB = "SELECT jobs.*, studies.case_id FROM jobs JOIN studies USING (study_uid) WHERE jobs.job = ?"


def rerun(
    database: Database,
    case_id: str,
    actor: str,
    *,
    bundle: str | None = None,
    series: Mapping[str, str] | None = None,
    priority: int = 0,
    now: float | None = None,
) -> int:
    """Queue another computation of a study: with another bundle, or other series.

    Returns:
        The number of the new job.

    Raises:
        InputError: If there is no such case, or its images have been deleted.
        NotAllowedError: If its latest job has not ended.
    """
    at = clock(now)
    with database.transaction() as write:
        study = write.execute("SELECT * FROM studies WHERE case_id = ?", (case_id,)).fetchone()
        if study is None:
            raise InputError(f"There is no case {case_id}; look at `scanside queue`.")
        if study["deleted"] is not None:
            raise InputError(
                f"The images of case {case_id} have been deleted after retention; send them again."
            )
        last = write.execute(
            "SELECT state FROM jobs WHERE study_uid = ? ORDER BY job DESC LIMIT 1", (study["study_uid"],)
        ).fetchone()
        if last["state"] in (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING):
            raise NotAllowedError(f"Case {case_id} is {last['state']}; wait for it, or cancel it.")
        job = write.execute(
            "INSERT INTO jobs (study_uid, state, priority, created, changed, tick, bundle, series) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING job",
            (
                study["study_uid"], State.QUEUED, priority, at, at, next_tick(write), bundle,
                json.dumps(dict(series or {}), sort_keys=True),
            ),
        ).fetchone()["job"]  # fmt: skip
        detail = {"bundle": bundle, "series": dict(series or {})}
        append(write, actor, "run again", case_id=case_id, job=job, detail=detail, now=at)
    return int(job)


def prioritise(database: Database, job: int, priority: int, actor: str) -> None:
    """Set a job's priority; higher goes first."""
    at = clock(None)
    with database.transaction() as write:
        row = write.execute(_JOB, (job,)).fetchone()
        if row is None:
            raise InputError(f"There is no job {job}; look at `scanside queue`.")
        write.execute(
            "UPDATE jobs SET priority = ?, changed = ?, tick = ? WHERE job = ?",
            (priority, at, next_tick(write), job),
        )
        append(
            write, actor, "priority", case_id=row["case_id"], job=job, detail={"priority": priority}, now=at
        )


def pause_queue(database: Database, paused: bool, actor: str) -> None:
    """Keep the worker from taking jobs, or let it again. What runs goes on."""
    with database.transaction() as write:
        write.execute("INSERT OR REPLACE INTO meta VALUES ('paused', ?)", ("1" if paused else "0",))
        append(write, actor, "queue paused" if paused else "queue resumed")


def is_paused(database: Database) -> bool:
    """Whether the whole queue is paused."""
    return database.meta("paused") == "1"
