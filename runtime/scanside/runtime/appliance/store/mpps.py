"""Procedure steps that scanners tell of (MPPS, PS3.4 annex F.7): a completed one completes its study."""

import json
from collections.abc import Sequence
from enum import StrEnum

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock


class Step(StrEnum):
    """State of a procedure step, in the words of (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    DISCONTINUED = "DISCONTINUED"
    COMPLETED = "COMPLETED"


class Noted(StrEnum):
    """What became of a message about a step."""

    NOTED = "noted"
    DUPLICATE = "duplicate"
    """There is such a step already."""
    UNKNOWN = "unknown"
    """There is no such step."""
    FINAL = "final"
    """It has ended; nothing changes it any more."""


def begin_step(
    database: Database,
    step_uid: str,
    study_uid: str,
    case_id: str,
    calling: str,
    state: Step = Step.IN_PROGRESS,
    now: float | None = None,
) -> Noted:
    """A scanner has begun a procedure step of a study, of which nothing has to be here yet."""
    at = clock(now)
    with database.transaction() as write:
        made = write.execute(
            "INSERT OR IGNORE INTO steps (step_uid, study_uid, state, changed) VALUES (?, ?, ?, ?)",
            (step_uid, study_uid, state, at),
        )
        if made.rowcount != 1:
            return Noted.DUPLICATE
        append(write, calling, f"procedure step {state.lower()}", case_id=case_id, now=at)
    return Noted.NOTED


def change_step(
    database: Database,
    step_uid: str,
    state: Step | None,
    images: Sequence[str],
    calling: str,
    case_of: str,
    reason: str | None = None,
    now: float | None = None,
) -> Noted:
    """A scanner tells more of a step.

    Args:
        state: None when it is not about that.
        images: SOP Instance UIDs of what it has made, as far as it tells and we take them; empty: what was told before.
        case_of: Case id of its study.
        reason: Code of why it was discontinued.
    """
    at = clock(now)
    with database.transaction() as write:
        row = write.execute("SELECT state FROM steps WHERE step_uid = ?", (step_uid,)).fetchone()
        if row is None:
            return Noted.UNKNOWN
        if row["state"] != Step.IN_PROGRESS:
            return Noted.FINAL
        write.execute(
            "UPDATE steps SET state = ?, changed = ?, images = coalesce(?, images) WHERE step_uid = ?",
            (state or row["state"], at, json.dumps(sorted(images)) if images else None, step_uid),
        )
        if state is not None and state is not Step.IN_PROGRESS:
            detail = {"images": len(images), **({"reason": reason} if reason else {})}
            append(write, calling, f"procedure step {state.lower()}", case_id=case_of, detail=detail, now=at)
    return Noted.NOTED


def study_of_step(database: Database, step_uid: str) -> str | None:
    """Study Instance UID that a step was begun for."""
    rows = database.rows("SELECT study_uid FROM steps WHERE step_uid = ?", (step_uid,))
    return str(rows[0]["study_uid"]) if rows else None


def forget_old_steps(database: Database, seconds: float, now: float | None = None) -> None:
    """Delete steps that nothing has been told of for so long."""
    with database.transaction() as write:
        write.execute("DELETE FROM steps WHERE changed < ?", (clock(now) - seconds,))
