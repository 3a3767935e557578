"""Changes of a job's state: one function makes them all, and writes the audit entry with it."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from scanside.runtime.appliance.store import priors, trends
from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.orders import is_paused
from scanside.runtime.appliance.store.records import Job, Outcome
from scanside.runtime.appliance.store.states import (
    BY_PERSON,
    DELIVERIES,
    SETTLED,
    TRANSITIONS,
    Action,
    Delivery,
    NotAllowedError,
    Sending,
    State,
)
from scanside.runtime.appliance.store.verdicts import see_same
from scanside.runtime.errors import InputError, UsageError

WORKER = "worker"
SUPERVISOR = "supervisor"
_MOST_BACKOFF = 3600.0

_JOB = "SELECT jobs.*, studies.case_id FROM jobs JOIN studies USING (study_uid)"


def move(
    write: sqlite3.Connection,
    job: int,
    action: Action,
    actor: str,
    at: float,
    detail: Mapping[str, Any] | None = None,
    **columns: Any,
) -> State:
    """Make one transition in the running transaction.

    Args:
        detail: For the audit log.
        columns: Other columns of the job to set with it.

    Raises:
        NotAllowedError: If the table of transitions does not have it.
        InputError: If there is no such job.
    """
    row = write.execute(f"{_JOB} WHERE job = ?", (job,)).fetchone()
    if row is None:
        raise InputError(f"There is no job {job}; look at `scanside queue`.")
    old = State(row["state"])
    new = TRANSITIONS.get((old, action))
    if new is None:
        raise NotAllowedError(f"Case {row['case_id']} is {old}, which does not allow '{action}'.")
    columns = {"state": new, "changed": at, "tick": next_tick(write), **columns}
    names = ", ".join(f"{name} = ?" for name in columns)
    write.execute(f"UPDATE jobs SET {names} WHERE job = ?", (*columns.values(), job))
    append(
        write,
        actor,
        action,
        case_id=row["case_id"],
        job=job,
        detail={"from": old, "to": new, **(detail or {})},
        now=at,
    )
    return new


def claim(
    database: Database, worker: str, now: float | None = None, *, seconds: float | None = None
) -> Job | None:
    """Take the next job: highest priority first, then the oldest. None when nothing is due, or the queue is paused.

    Args:
        seconds: That may pass before the worker tells of a stage, so that one that hangs at once is seen; None: any.
    """
    at = clock(now)
    deadline = None if seconds is None else at + seconds
    due = f"{_JOB} WHERE state = ? AND not_before <= ? ORDER BY priority DESC, job LIMIT 1"
    if not database.rows(due, (State.QUEUED, at)) or is_paused(database):
        return None
    with database.transaction() as write:
        row = write.execute(due, (State.QUEUED, at)).fetchone()
        if row is None:
            return None
        attempts = int(row["attempts"]) + 1
        move(
            write, row["job"], Action.CLAIM, WORKER, at, {"attempt": attempts},
            attempts=attempts, worker=worker, started=at, stage="start", done=0, total=0, deadline=deadline,
            reason=None, failure=None,
        )  # fmt: skip
    return _job({**dict(row), "state": State.RUNNING, "attempts": attempts})


def progress(database: Database, job: int, stage: str, done: int, total: int, deadline: float) -> bool:
    """Tell what a running job does. Wants no durable connection.

    Args:
        deadline: When the stage has taken too long.

    Returns:
        Whether the job still runs: False when a person has cancelled it.
    """
    with database.transaction() as write:
        changed = write.execute(
            "UPDATE jobs SET stage = ?, done = ?, total = ?, deadline = ?, changed = ?, tick = ? "
            "WHERE job = ? AND state = ?",
            (stage, done, total, deadline, clock(None), next_tick(write), job, State.RUNNING),
        )
        return changed.rowcount == 1


def succeed(database: Database, job: int, outcome: Outcome, *, hold: bool, now: float | None = None) -> State:
    """The result is on disk: keep what it is, put what is to be sent into the outbox, and go on.

    Args:
        hold: A person has to accept it first.

    Raises:
        NotAllowedError: If the job no longer runs (it was cancelled); nothing is kept then.
    """
    at = clock(now)
    with database.transaction() as write:
        columns = {
            "finished": at, "status": outcome.status, "reason": outcome.reason, "probability": outcome.probability,
            "low": outcome.low, "high": outcome.high, "class": outcome.positive, "named": outcome.named,
            "warnings": json.dumps([[one.code, one.sentence] for one in outcome.warnings]),
            "result": outcome.result, "reason_code": outcome.reason_code, "failure": None,
            "stage": None, "deadline": None,
        }  # fmt: skip
        action = Action.HOLD if hold else Action.RELEASE
        state = move(write, job, action, WORKER, at, {"status": outcome.status}, **columns)
        priors.keep(write, job, outcome.measured)
        trends.keep(write, job, outcome.figures)
        write.executemany(
            "INSERT INTO timings VALUES (?, ?, ?, ?)",
            [(job, stage, ms, at) for stage, ms in outcome.stages.items()],
        )
        write.execute(  # of an earlier result of this job, of fewer images
            "UPDATE outbox SET state = ?, changed = ? WHERE job = ? AND state = ?",
            (Sending.ABANDONED, at, job, Sending.WAITING),
        )
        write.executemany(
            "INSERT INTO outbox (job, destination, kind, sop_class, sop_uid, path, state, changed, series_uid) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job, destination, sop_uid) DO UPDATE "
            f"SET state = excluded.state, changed = excluded.changed WHERE state = '{Sending.ABANDONED}'",
            [
                (
                    job,
                    destination,
                    made.kind,
                    made.sop_class,
                    made.sop_uid,
                    made.path,
                    Sending.WAITING,
                    at,
                    made.series_uid,
                )
                for destination, made in outcome.sends
            ],
        )
        return finish_if_settled(write, job, at) if state is State.SENDING else state


def finish_if_settled(write: sqlite3.Connection, job: int, at: float) -> State:
    """A job whose objects have all arrived is done."""
    settled = ", ".join(f"'{state}'" for state in SETTLED)
    left = write.execute(
        f"SELECT count(*) FROM outbox WHERE job = ? AND state NOT IN ({settled})", (job,)
    ).fetchone()[0]
    return State.SENDING if left else move(write, job, Action.FINISH, "sender", at)


def fail(
    database: Database,
    job: int,
    kind: str,
    reason: str,
    *,
    tries: int,
    backoff: float,
    blameless: bool = False,
    actor: str = WORKER,
    now: float | None = None,
) -> State:
    """A computation failed: try again later, or, after `tries`, put it into quarantine.

    Args:
        kind: One word, for the metrics: timeout, crash, backend, …
        reason: A sentence without patient data.
        backoff: Seconds before the second try; doubled for each further one.
        blameless: The study had no part in it (a full disk, a service that was stopped): this try does not count.

    Raises:
        NotAllowedError: If the job no longer runs.
    """
    at = clock(now)
    with database.transaction() as write:
        row = write.execute("SELECT attempts FROM jobs WHERE job = ?", (job,)).fetchone()
        attempts = int(row["attempts"]) if row else 0
        counted = attempts - 1 if blameless else attempts
        last = counted >= tries
        action = Action.QUARANTINE if last else Action.TRY_AGAIN
        wait = 0.0 if last else min(backoff * 2 ** max(counted - 1, 0), _MOST_BACKOFF)
        return move(
            write, job, action, actor, at, {"kind": kind, "reason": reason, "attempt": attempts},
            attempts=counted, reason=reason, failure=kind, not_before=at + wait, stage=None, deadline=None,
        )  # fmt: skip


def running(database: Database, worker: str | None = None) -> list[Job]:
    """Jobs that run, of one worker or of all: after a restart of the worker, those that it left behind."""
    sql = f"{_JOB} WHERE state = ? AND (? IS NULL OR worker = ?) ORDER BY job"
    return [_job(dict(row)) for row in database.rows(sql, (State.RUNNING, worker, worker))]


def worker_of(database: Database, job: int) -> str | None:
    """Who computes a job, as `host:pid`; None when it does not run."""
    rows = database.rows("SELECT worker FROM jobs WHERE job = ? AND state = ?", (job, State.RUNNING))
    return str(rows[0]["worker"]) if rows and rows[0]["worker"] else None


def overdue(database: Database, now: float | None = None) -> list[tuple[Job, str]]:
    """Running jobs whose stage has taken too long, with the stage."""
    sql = f"{_JOB} WHERE state = ? AND deadline < ?"
    return [(_job(dict(row)), str(row["stage"])) for row in database.rows(sql, (State.RUNNING, clock(now)))]


def let_go(database: Database, job: int) -> None:
    """The worker no longer computes a job that a person cancelled, or that more images came for."""
    with database.transaction() as write:
        write.execute(
            "UPDATE jobs SET stage = NULL, deadline = NULL WHERE job = ? AND state != ?", (job, State.RUNNING)
        )


def forget_stuck(database: Database, now: float | None = None) -> bool:
    """Whether a worker still computes a job that no longer runs, and its stage takes too long: it has to be killed."""
    stuck = "deadline < ? AND state != ?"
    values = (clock(now), State.RUNNING)
    if not database.rows(f"SELECT 1 FROM jobs WHERE {stuck}", values):
        return False
    with database.transaction() as write:
        write.execute(f"UPDATE jobs SET stage = NULL, deadline = NULL WHERE {stuck}", values)
    return True


def act(
    database: Database,
    job: int,
    action: Action,
    actor: str,
    reason: str | None = None,
    now: float | None = None,
    *,
    finished: float | None = None,
) -> State:
    """What a person does to a job. A rejection wants a reason.

    Args:
        finished: Which result the person has seen (`Case.finished`); None when it is not about a result.

    Raises:
        NotAllowedError: If its state does not allow it, or another result has taken the place of that one.
        UsageError: If it is no action of a person, or lacks its reason.
    """
    if action not in BY_PERSON:
        raise UsageError(f"'{action}' is nothing that a person does to a job.")
    if action is Action.REJECT and not (reason or "").strip():
        raise UsageError("A rejection needs a reason.")
    at = clock(now)
    detail = {"reason": reason} if reason else {}
    columns: dict[str, Any] = {}
    if action is Action.RETRY:
        columns = {"attempts": 0, "not_before": 0.0, "reason": None, "failure": None}
    if action in (Action.ACCEPT, Action.REJECT):
        columns = {"verdict": f"{action}ed", "verdict_by": actor}
        if reason:
            columns["reason"] = reason
    if action is Action.REOPEN:
        columns = {"verdict": None, "verdict_by": None}
    with database.transaction() as write:
        see_same(write, job, finished)
        state = move(write, job, action, actor, at, detail, **columns)
        if action in (Action.SEND_AGAIN, Action.REOPEN):
            _deliver_again(write, job, at)
        if action in (Action.REJECT, Action.CANCEL):
            write.execute(
                "UPDATE outbox SET state = ?, changed = ? WHERE job = ? AND state = ?",
                (Sending.ABANDONED, at, job, Sending.WAITING),
            )
        return finish_if_settled(write, job, at) if state is State.SENDING else state


def _deliver_again(write: sqlite3.Connection, job: int, at: float) -> None:
    can = [state for state, delivery in DELIVERIES if delivery is Delivery.AGAIN]
    marks = ", ".join("?" * len(can))
    write.execute(
        "UPDATE outbox SET state = ?, attempts = 0, not_before = 0, reason = NULL, transaction_uid = NULL, "
        f"changed = ? WHERE job = ? AND state IN ({marks})",
        (Sending.WAITING, at, job, *can),
    )


def _job(row: Mapping[str, Any]) -> Job:
    return Job(
        job=int(row["job"]),
        study_uid=str(row["study_uid"]),
        case_id=str(row["case_id"]),
        state=State(row["state"]),
        priority=int(row["priority"]),
        bundle=row["bundle"],
        series=json.loads(row["series"]),
        attempts=int(row["attempts"]),
    )
