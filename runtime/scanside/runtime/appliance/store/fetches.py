"""Looking in archives for what a complete study lacks: once for each job, in a bounded time, before it is queued."""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.records import Instance
from scanside.runtime.appliance.store.states import State
from scanside.runtime.remark import Remark

FETCHER = "fetcher"
STAGE = "fetching"
"""`jobs.stage` meanwhile: what screens say of a study that is still receiving."""
LATE = Remark(
    "Series that the study lacks were looked for in the configured archives and were not here in time; it was "
    "computed without them.",
    "fetch-late",
)


class Fetching(StrEnum):
    """State of a job's fetch."""

    WAITING = "waiting"
    ENDED = "ended"


@dataclass(frozen=True)
class Due:
    """A study that waits for what it lacks.

    Attributes:
        begun: Since when.
        tries: That have failed.
        patient_id: What comes has to be of the same patient.
    """

    job: int
    study_uid: str
    case_id: str
    patient_id: str
    begun: float
    tries: int


def begin(write: sqlite3.Connection, job: int, case_id: str, at: float) -> bool:
    """A study is complete: look for what it lacks, in the running transaction. False where that was done before."""
    made = write.execute(
        "INSERT OR IGNORE INTO fetches (job, state, begun) VALUES (?, ?, ?)", (job, Fetching.WAITING, at)
    )
    if made.rowcount != 1:
        return False
    write.execute("UPDATE jobs SET stage = ?, tick = ? WHERE job = ?", (STAGE, next_tick(write), job))
    append(write, FETCHER, "fetch begun", case_id=case_id, job=job, now=at)
    return True


def give_up(write: sqlite3.Connection, job: int, case_id: str, at: float) -> None:
    """Its time is over, in the running transaction; nothing where it has ended."""
    if _end(write, job, LATE):
        append(
            write,
            FETCHER,
            "fetch failed",
            case_id=case_id,
            job=job,
            detail={"why": "its time is over"},
            now=at,
        )


def due(database: Database, now: float | None = None) -> Due | None:
    """The study that waits longest, and may be asked for now."""
    rows = database.rows(
        "SELECT fetches.*, jobs.study_uid, studies.case_id, studies.patient_id FROM fetches "
        "JOIN jobs USING (job) JOIN studies USING (study_uid) "
        "WHERE fetches.state = ? AND jobs.state = ? AND fetches.not_before <= ? "
        "ORDER BY fetches.not_before, job LIMIT 1",
        (Fetching.WAITING, State.RECEIVING, clock(now)),
    )
    if not rows:
        return None
    row = rows[0]
    return Due(
        int(row["job"]), row["study_uid"], row["case_id"], row["patient_id"], row["begun"], int(row["tries"])
    )


def waits(database: Database, study_uid: str) -> bool:
    """Whether a job of a study waits for what was asked for; not once its time is over, or a person has ended it."""
    return bool(
        database.rows(
            "SELECT 1 FROM fetches JOIN jobs USING (job) "
            "WHERE jobs.study_uid = ? AND jobs.state = ? AND fetches.state = ?",
            (study_uid, State.RECEIVING, Fetching.WAITING),
        )
    )


def end(
    database: Database,
    one: Due,
    detail: dict[str, object],
    remark: Remark | None = None,
    now: float | None = None,
) -> None:
    """It has ended: everything was looked for, or, with a remark for the result, it has failed for good."""
    with database.transaction() as write:
        if _end(write, one.job, remark):
            action = "fetch failed" if remark is not None else "fetch ended"
            append(write, FETCHER, action, case_id=one.case_id, job=one.job, detail=detail, now=clock(now))


def try_again(database: Database, one: Due, why: str, wait: float, now: float | None = None) -> None:
    """A try has failed; there is time for another one."""
    at = clock(now)
    with database.transaction() as write:
        write.execute(
            "UPDATE fetches SET tries = tries + 1, not_before = ? WHERE job = ? AND state = ?",
            (at + wait, one.job, Fetching.WAITING),
        )
        detail = {"why": why, "try": one.tries + 1}
        append(write, FETCHER, "fetch try failed", case_id=one.case_id, job=one.job, detail=detail, now=at)


def expect(database: Database, job: int, series_uid: str, images: int) -> None:
    """So many images have to come of a series that was not here; with fewer it is none. Said before the first comes."""
    with database.transaction() as write:
        write.execute(
            "UPDATE fetches SET expected = json_patch(expected, ?) WHERE job = ?",
            (json.dumps({series_uid: images}), job),
        )


def without_incomplete(database: Database, job: int, instances: Sequence[Instance]) -> list[Instance]:
    """What a job computes: of what is here all but series of which a fetch brought a part alone.

    They count as soon as the rest of them is here, whoever sends it.
    """
    rows = database.rows(
        "SELECT expected FROM fetches JOIN jobs USING (job) "
        "WHERE study_uid = (SELECT study_uid FROM jobs WHERE job = ?) ORDER BY job",
        (job,),
    )
    expected = {series: images for row in rows for series, images in json.loads(row["expected"]).items()}
    here = Counter(instance.series_uid for instance in instances)
    return [one for one in instances if here[one.series_uid] >= expected.get(one.series_uid, 0)]


def remarks_of(database: Database, job: int, left_out: int) -> list[Remark]:
    """What the result of a job has to say of fetches.

    Args:
        left_out: Number of images that `without_incomplete` left out.
    """
    failed = remark_of(database, job)
    words = (
        f"{left_out} image(s) are of a series of which an archive gave a part alone; they are left out until the rest "
        "of it is here."
    )
    partly = [Remark(words, "fetch-incomplete")] if left_out else []
    return [*([failed] if failed is not None else []), *partly]


def remark_of(database: Database, job: int) -> Remark | None:
    """What failed of a job's fetch; None where nothing did."""
    rows = database.rows("SELECT code, reason FROM fetches WHERE job = ? AND code IS NOT NULL", (job,))
    return Remark(str(rows[0]["reason"]), str(rows[0]["code"])) if rows else None


def _end(write: sqlite3.Connection, job: int, remark: Remark | None) -> bool:
    code, reason = (None, None) if remark is None else (remark.code, str(remark))
    changed = write.execute(
        "UPDATE fetches SET state = ?, code = ?, reason = ? WHERE job = ? AND state = ?",
        (Fetching.ENDED, code, reason, job, Fetching.WAITING),
    )
    return changed.rowcount == 1
