"""Looking in archives for earlier results of a patient: once for each job, while its study comes in and is computed.

No job waits for it. Whoever computes takes what is here by then.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.fetches import FETCHER
from scanside.runtime.appliance.store.records import Measured
from scanside.runtime.appliance.store.states import State
from scanside.runtime.remark import Remark

LATE = Remark(
    "Earlier results of the patient were looked for in the configured archives and were not here in time; the report "
    "states none that only an archive holds.",
    "prior-late",
)
_OPEN = (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING)


@dataclass(frozen=True)
class Sought:
    """A study of whose patient earlier results are looked for.

    Attributes:
        path: Of one of its instances, below the spool.
    """

    job: int
    study_uid: str
    case_id: str
    patient_id: str
    path: str


@dataclass(frozen=True)
class Archived:
    """What a report in an archive states.

    Attributes:
        case_id: Of its study (`intake.pseudonym`).
        measured: Of whom, when, by what, and how large.
        archive: Its name.
    """

    case_id: str
    measured: Measured
    archive: str


def sought(database: Database) -> list[Sought]:
    """Studies that are still received or computed, and were not looked for; the one that waits longest first."""
    marks = ", ".join("?" * len(_OPEN))
    rows = database.rows(
        "SELECT jobs.job, jobs.study_uid, studies.case_id, studies.patient_id, "
        "(SELECT path FROM instances WHERE instances.study_uid = jobs.study_uid LIMIT 1) AS path "
        f"FROM jobs JOIN studies USING (study_uid) WHERE jobs.state IN ({marks}) "
        "AND NOT EXISTS (SELECT 1 FROM lookups WHERE lookups.job = jobs.job) ORDER BY jobs.job",
        _OPEN,
    )
    return [Sought(**dict(row)) for row in rows if row["path"] is not None]


def computed_here(database: Database, study_uid: str) -> bool:
    """Whether a result of a study was computed here."""
    return bool(
        database.rows("SELECT 1 FROM jobs WHERE study_uid = ? AND status IS NOT NULL LIMIT 1", (study_uid,))
    )


def keep(
    database: Database,
    person: str,
    before: date,
    found: Archived | None,
    whole: bool,
    now: float | None = None,
) -> None:
    """Keep what was found.

    Args:
        person: Pseudonym (`priors.pseudonym_of`) of whom it was looked for.
        before: Studies before this day were looked for.
        whole: Every archive has answered: of later studies than the one that was found there is nothing any more.
    """
    with database.transaction() as write:
        if whole:
            since = "" if found is None else found.measured.day.isoformat()  # nothing before it was looked at
            write.execute(
                "DELETE FROM archived WHERE person = ? AND examined >= ? AND examined < ?",
                (person, since, before.isoformat()),
            )
        if found is None:
            return
        made = found.measured
        sizes = [[one.role, one.volume_ml, one.longest_diameter_mm] for one in made.sizes]
        write.execute(
            "INSERT OR REPLACE INTO archived VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                found.case_id, made.person, made.day.isoformat(), made.algorithm, made.bundle_sha256, found.archive,
                json.dumps(sizes), clock(now),
            ),
        )  # fmt: skip


def end(
    database: Database,
    one: Sought,
    detail: Mapping[str, object],
    remark: Remark | None = None,
    now: float | None = None,
) -> None:
    """It has ended; with a remark for the result, where something went wrong."""
    code, reason = (None, None) if remark is None else (remark.code, str(remark))
    with database.transaction() as write:
        made = write.execute("INSERT OR IGNORE INTO lookups VALUES (?, ?, ?)", (one.job, code, reason))
        if made.rowcount == 1:
            append(
                write,
                FETCHER,
                "earlier results looked for",
                case_id=one.case_id,
                job=one.job,
                detail=detail,
                now=clock(now),
            )


def of_another(write: sqlite3.Connection, study_uid: str) -> None:
    """A study has another patient or header now, in the running transaction: it is looked for again."""
    write.execute("DELETE FROM lookups WHERE job IN (SELECT job FROM jobs WHERE study_uid = ?)", (study_uid,))


def remark_of(database: Database, job: int) -> Remark | None:
    """What the result of a job has to say of it; None where all went well."""
    rows = database.rows("SELECT code, reason FROM lookups WHERE job = ?", (job,))
    if not rows:
        return LATE
    return None if rows[0]["code"] is None else Remark(str(rows[0]["reason"]), str(rows[0]["code"]))
