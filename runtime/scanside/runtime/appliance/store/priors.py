"""What was measured of whom, and when: kept beyond the images, under keyed hashes in place of names."""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Collection
from datetime import date

from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.records import Measured
from scanside.runtime.appliance.store.states import State
from scanside.runtime.study.prior import Prior, Size


def pseudonym_of(database: Database, person: str) -> str:
    """Stands for a person in the store: a keyed hash, which nobody without the store can turn back.

    Args:
        person: What `dicom.patient.person_of` says.
    """
    key = bytes.fromhex(str(database.meta("site_key")))
    return hmac.new(key, f"person {person}".encode(), hashlib.sha256).hexdigest()


def keep(write: sqlite3.Connection, job: int, measured: Measured | None) -> None:
    """Replace what a job has measured, in the running transaction."""
    values = (None,) * 4 if measured is None else (
        measured.person, measured.day.isoformat(), measured.algorithm, measured.bundle_sha256,
    )  # fmt: skip
    write.execute(
        "UPDATE jobs SET person = ?, examined = ?, algorithm = ?, bundle_sha256 = ? WHERE job = ?",
        (*values, job),
    )
    write.execute("DELETE FROM sizes WHERE job = ?", (job,))
    write.executemany(
        "INSERT INTO sizes VALUES (?, ?, ?, ?)",
        [
            (job, size.role, size.volume_ml, size.longest_diameter_mm)
            for size in (() if measured is None else measured.sizes)
        ],
    )


def prior_of(
    database: Database, study_uid: str, measured: Measured, archives: Collection[str] = ()
) -> Prior | None:
    """The latest result of another, earlier study of the same person: our own, or one that an archive's report states.

    Two studies of one day have no order here; of an own result and an archive's of one day the own one is taken.

    Args:
        archives: Names of those that are asked for earlier results.
    """
    own = _own(database, study_uid, measured)
    other = _archived(database, study_uid, measured, archives)
    return own if other is None or (own is not None and own.day >= other.day) else other


def _own(database: Database, study_uid: str, measured: Measured) -> Prior | None:
    """One that has been sent and that nobody has rejected. A lesion that a person called false is none."""
    rows = database.rows(
        "SELECT job, examined, algorithm, bundle_sha256 FROM jobs WHERE person = ? AND study_uid != ? AND examined < ? "
        "AND state IN (?, ?) AND (verdict IS NULL OR verdict = 'accepted') "
        "AND job = (SELECT max(job) FROM jobs AS newer "
        "WHERE newer.study_uid = jobs.study_uid AND newer.status IS NOT NULL) "
        "ORDER BY examined DESC, job DESC LIMIT 1",
        (measured.person, study_uid, measured.day.isoformat(), State.SENDING, State.DONE),
    )
    if not rows:
        return None
    sizes = database.rows(
        "SELECT role, volume_ml, diameter_mm FROM sizes WHERE job = ? ORDER BY role", (rows[0]["job"],)
    )
    return Prior(
        date.fromisoformat(rows[0]["examined"]),
        tuple(Size(one["role"], one["volume_ml"], one["diameter_mm"]) for one in sizes),
        str(rows[0]["algorithm"]),
        rows[0]["bundle_sha256"] == measured.bundle_sha256,
    )


def _archived(
    database: Database, study_uid: str, measured: Measured, archives: Collection[str]
) -> Prior | None:
    """None of a study of which a result was computed here: whatever became of that, it is the one that counts."""
    marks = ", ".join("?" * len(archives))
    rows = database.rows(
        f"SELECT * FROM archived WHERE person = ? AND examined < ? AND archive IN ({marks}) AND case_id NOT IN "
        "(SELECT case_id FROM studies WHERE study_uid = ? OR study_uid IN "
        "(SELECT study_uid FROM jobs WHERE status IS NOT NULL)) ORDER BY examined DESC, case_id LIMIT 1",
        (measured.person, measured.day.isoformat(), *archives, study_uid),
    )
    if not rows:
        return None
    (row,) = rows
    return Prior(
        date.fromisoformat(row["examined"]),
        tuple(Size(*size) for size in json.loads(row["sizes"])),
        str(row["algorithm"]),
        row["bundle_sha256"] == measured.bundle_sha256,
        str(row["archive"]),
    )


def forget_study(write: sqlite3.Connection, study_uid: str) -> None:
    """Of a study that a person has forgotten, in the running transaction."""
    write.execute(
        "DELETE FROM archived WHERE case_id = (SELECT case_id FROM studies WHERE study_uid = ?)", (study_uid,)
    )
    of_study = "job IN (SELECT job FROM jobs WHERE study_uid = ?)"
    write.execute(f"DELETE FROM sizes WHERE {of_study}", (study_uid,))
    write.execute(f"UPDATE jobs SET person = NULL, examined = NULL WHERE {of_study}", (study_uid,))


def forget_old(database: Database, days: float, now: float | None = None) -> None:
    """Forget what was measured longer ago, however long its study is kept."""
    before = clock(now) - days * 86400
    old = "job IN (SELECT job FROM jobs WHERE person IS NOT NULL AND finished < ?)"
    some = f"SELECT 1 FROM jobs WHERE {old} UNION ALL SELECT 1 FROM archived WHERE read < ? LIMIT 1"
    if not database.rows(some, (before, before)):
        return
    with database.transaction() as write:
        write.execute("DELETE FROM archived WHERE read < ?", (before,))
        write.execute(f"DELETE FROM sizes WHERE {old}", (before,))
        write.execute(f"UPDATE jobs SET person = NULL, examined = NULL WHERE {old}", (before,))
