"""What the receiver writes: instances, associations, and that a study is complete."""

import base64
import hashlib
import hmac
import sqlite3
from enum import Enum

from scanside.runtime.appliance.store import fetches, prior_lookups
from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.fetches import Fetching
from scanside.runtime.appliance.store.jobs import move
from scanside.runtime.appliance.store.mpps import Step
from scanside.runtime.appliance.store.records import Instance, Patient
from scanside.runtime.appliance.store.states import TRANSITIONS, Action, State

RECEIVER = "receiver"


class Added(Enum):
    """What became of an instance."""

    NEW = "new"
    SAME = "same"
    """It was there already, byte for byte: acknowledge it again."""
    CONFLICT = "conflict"
    """Another one with its UID was there: refuse it."""
    FULL = "full"
    """The study has as many instances as it may have: refuse it."""


def add_instance(
    database: Database,
    instance: Instance,
    *,
    association: str,
    calling: str,
    patient: Patient,
    most: int,
    priority: int = 0,
    now: float | None = None,
) -> Added:
    """Register an instance whose file is on disk. Only then may it be acknowledged.

    Args:
        association: Name of the association, unique; the study is not complete while it is open.
        calling: AE title of the sender.
        most: Number of instances that a study may have.
        priority: That its study is to have at least.
    """
    at = clock(now)
    with database.transaction() as write:
        old = write.execute("SELECT sha256 FROM instances WHERE sop_uid = ?", (instance.sop_uid,)).fetchone()
        if old is not None and old["sha256"] != instance.sha256:
            return Added.CONFLICT
        study = write.execute("SELECT * FROM studies WHERE study_uid = ?", (instance.study_uid,)).fetchone()
        known = str(study["case_id"]) if study is not None else None
        case_id = known or _new_case(write, instance.study_uid, calling, patient, at)
        write.execute("INSERT OR IGNORE INTO associations VALUES (?, ?)", (association, instance.study_uid))
        if old is not None:
            return Added.SAME
        count = write.execute("SELECT count(*) FROM instances WHERE study_uid = ?", (instance.study_uid,))
        if int(count.fetchone()[0]) >= most:
            return Added.FULL
        write.execute(
            "INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                instance.sop_uid, instance.study_uid, instance.series_uid, instance.path, instance.sha256,
                instance.size, at,
            ),
        )  # fmt: skip
        write.execute(
            "UPDATE studies SET last_received = ?, last_active = ? WHERE study_uid = ?",
            (at, at, instance.study_uid),
        )
        if study is not None and study["deleted"] is not None:
            _name(write, instance.study_uid, patient)
        _reopen(write, instance.study_uid, case_id, at, priority)
    return Added.NEW


def replace_instance(
    database: Database,
    instance: Instance,
    *,
    before: str,
    association: str,
    calling: str,
    patient: Patient,
    now: float | None = None,
) -> Added:
    """An instance came again with another header, and it is to take the place of the one before.

    The study is computed again, as when more images come; patient and header are those of the latest.

    Args:
        before: Hash of the file that it replaces.

    Returns:
        NEW, or CONFLICT if that is not what is there.
    """
    at = clock(now)
    with database.transaction() as write:
        changed = write.execute(
            "UPDATE instances SET path = ?, sha256 = ?, size = ?, received = ? "
            "WHERE sop_uid = ? AND sha256 = ? AND study_uid = ? AND series_uid = ?",
            (
                instance.path, instance.sha256, instance.size, at,
                instance.sop_uid, before, instance.study_uid, instance.series_uid,
            ),
        )  # fmt: skip
        if changed.rowcount != 1:
            return Added.CONFLICT
        study = write.execute("SELECT * FROM studies WHERE study_uid = ?", (instance.study_uid,)).fetchone()
        write.execute("INSERT OR IGNORE INTO associations VALUES (?, ?)", (association, instance.study_uid))
        write.execute(
            "UPDATE studies SET last_received = ?, last_active = ? WHERE study_uid = ?",
            (at, at, instance.study_uid),
        )
        _name(write, instance.study_uid, patient)
        prior_lookups.of_another(write, instance.study_uid)
        detail = {"calling": calling, "before": before, "after": instance.sha256}
        append(write, RECEIVER, "instance replaced", case_id=study["case_id"], detail=detail, now=at)
        _reopen(write, instance.study_uid, study["case_id"], at)
    return Added.NEW


def _name(write: sqlite3.Connection, study_uid: str, patient: Patient) -> None:
    write.execute(
        "UPDATE studies SET patient_id = ?, patient_name = ?, deleted = NULL WHERE study_uid = ?",
        (patient.patient_id, patient.name, study_uid),
    )


def _new_case(write: sqlite3.Connection, study_uid: str, calling: str, patient: Patient, at: float) -> str:
    key = write.execute("SELECT value FROM meta WHERE key = 'site_key'").fetchone()[0]
    case_id = pseudonym(str(key), study_uid)
    write.execute(
        "INSERT INTO studies VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (study_uid, case_id, calling, patient.patient_id, patient.name, at, at, at),
    )
    append(write, RECEIVER, "study arrived", case_id=case_id, detail={"calling": calling}, now=at)
    return case_id


def _reopen(write: sqlite3.Connection, study_uid: str, case_id: str, at: float, priority: int = 0) -> None:
    """See that a job of the study is receiving: the latest one, which starts anew, or, if that has ended, a new one."""
    job = write.execute(
        "SELECT job, state FROM jobs WHERE study_uid = ? ORDER BY job DESC LIMIT 1", (study_uid,)
    ).fetchone()
    state = None if job is None else State(job["state"])
    if (state, Action.MORE) in TRANSITIONS:
        move(
            write, int(job["job"]), Action.MORE, RECEIVER, at,
            attempts=0, not_before=0.0, stage=None, status=None, probability=None, low=None, high=None,
            result=None, finished=None, named=None, warnings=None, **{"class": None},
        )  # fmt: skip
    elif state is not State.RECEIVING:
        write.execute(
            "INSERT INTO jobs (study_uid, state, created, changed, tick) VALUES (?, ?, ?, ?, ?)",
            (study_uid, State.RECEIVING, at, at, next_tick(write)),
        )
        append(write, RECEIVER, "job opened", case_id=case_id, job=_last_id(write), now=at)
    else:
        write.execute(
            "UPDATE jobs SET changed = ?, tick = ? WHERE job = ?", (at, next_tick(write), job["job"])
        )
    write.execute(
        "UPDATE jobs SET priority = max(priority, ?) WHERE study_uid = ? AND state = ?",
        (priority, study_uid, State.RECEIVING),
    )


def _last_id(write: sqlite3.Connection) -> int:
    return int(write.execute("SELECT last_insert_rowid()").fetchone()[0])


def close_association(database: Database, association: str, now: float | None = None) -> None:
    """An association has ended, in whatever way. If it broke, its sender will want some time to come back."""
    with database.transaction() as write:
        write.execute(
            "UPDATE studies SET last_active = ? "
            "WHERE study_uid IN (SELECT study_uid FROM associations WHERE association = ?)",
            (clock(now), association),
        )
        write.execute("DELETE FROM associations WHERE association = ?", (association,))


def forget_associations(database: Database, now: float | None = None) -> None:
    """None is open: the receiver has just started. Senders that it could not answer will come back."""
    with database.transaction() as write:
        write.execute(
            "UPDATE studies SET last_active = ? WHERE study_uid IN (SELECT study_uid FROM jobs WHERE state = ?)",
            (clock(now), State.RECEIVING),
        )
        write.execute("DELETE FROM associations")


_READY = f"""
    SELECT jobs.job, jobs.study_uid, studies.case_id FROM jobs JOIN studies USING (study_uid)
    WHERE jobs.state = '{State.RECEIVING}'
    AND NOT EXISTS (SELECT 1 FROM associations WHERE associations.study_uid = jobs.study_uid)
    AND (
        (studies.last_active <= :quiet AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.study_uid = jobs.study_uid
            AND steps.state = '{Step.IN_PROGRESS}' AND max(steps.changed, studies.last_active) > :held))
        OR (SELECT count(DISTINCT series_uid) FROM instances
            WHERE instances.study_uid = jobs.study_uid) >= :enough
        OR (EXISTS (SELECT 1 FROM steps WHERE steps.study_uid = jobs.study_uid
                AND steps.state = '{Step.COMPLETED}' AND NOT steps.used)
            AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.study_uid = jobs.study_uid
                AND steps.state = '{Step.IN_PROGRESS}')
            AND NOT EXISTS (SELECT 1 FROM steps, json_each(steps.images) AS image
                WHERE steps.study_uid = jobs.study_uid AND steps.state = '{Step.COMPLETED}'
                AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.sop_uid = image.value)))
    )
    AND NOT EXISTS (SELECT 1 FROM fetches WHERE fetches.job = jobs.job
        AND fetches.state = '{Fetching.WAITING}' AND fetches.begun > :fetching)
    ORDER BY jobs.job
"""


def complete_studies(
    database: Database,
    *,
    quiet_seconds: float,
    series: int | None,
    step_seconds: float = 0.0,
    fetch_seconds: float | None = None,
    now: float | None = None,
) -> list[str]:
    """Queue every study that is complete: its associations have closed, and one of three things is so.

    It is quiet for long enough, and no procedure step of it is in progress; or it has enough series; or its steps have
    ended, one of them as completed, and every image that they name is here. A step completes its study once: what
    comes after that is waited for in silence.

    Args:
        step_seconds: After so long without a sign of life, a step in progress holds its study no longer.
        fetch_seconds: A complete study is queued after what it lacks was looked for, and waits so long for that at
            most; None where nothing is looked for.

    Returns:
        Case ids.
    """
    at = clock(now)
    values = {
        "fetching": at - (fetch_seconds or 0.0),
        "quiet": at - quiet_seconds,
        "held": at - step_seconds,
        "enough": series if series is not None else 1 << 62,
    }
    if not database.rows(_READY, values):
        return []
    with database.transaction() as write:
        found = [
            row
            for row in write.execute(_READY, values).fetchall()
            if fetch_seconds is None or not fetches.begin(write, int(row["job"]), row["case_id"], at)
        ]
        for row in found:
            fetches.give_up(write, int(row["job"]), row["case_id"], at)
            move(write, int(row["job"]), Action.COMPLETE, RECEIVER, at, stage=None)
            write.execute(
                "UPDATE steps SET used = 1 WHERE study_uid = ? AND state = ?",
                (row["study_uid"], Step.COMPLETED),
            )
    return [str(row["case_id"]) for row in found]


def pseudonym(site_key: str, study_uid: str) -> str:
    """The case id: a keyed hash of the Study Instance UID, which nobody without the store can turn back."""
    digest = hmac.new(bytes.fromhex(site_key), study_uid.encode(), hashlib.sha256).digest()
    letters = base64.b32encode(digest)[:10].decode()
    return f"{letters[:5]}-{letters[5:]}"
