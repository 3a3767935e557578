"""Forgetting a study whose time has come: its rows stay, its images and results go."""

from scanside.runtime.appliance.store.audit import append
from scanside.runtime.appliance.store.database import Database, clock, next_tick
from scanside.runtime.appliance.store.states import ENDED


def forget(database: Database, study_uid: str, case_id: str, now: float | None = None) -> bool:
    """Write that a study is deleted, before its files are: who is killed between the two deletes files again.

    The name of the patient goes as well.

    Returns:
        False if something of it has begun again meanwhile, so that nothing may be deleted.
    """
    at = clock(now)
    ended = ", ".join(f"'{state}'" for state in ENDED)
    with database.transaction() as write:
        busy = write.execute(
            f"SELECT 1 FROM jobs WHERE study_uid = ? AND state NOT IN ({ended}) "
            "UNION SELECT 1 FROM associations WHERE study_uid = ?",
            (study_uid, study_uid),
        ).fetchone()
        if busy:
            return False
        write.execute("DELETE FROM instances WHERE study_uid = ?", (study_uid,))
        write.execute(
            "UPDATE studies SET deleted = ?, patient_id = '', patient_name = '' WHERE study_uid = ?",
            (at, study_uid),
        )
        write.execute("UPDATE jobs SET tick = ? WHERE study_uid = ?", (next_tick(write), study_uid))
        append(write, "retention", "study deleted", case_id=case_id, now=at)
    return True


def deleted(database: Database) -> list[str]:
    """Case ids of deleted studies: files under these names are left from an interrupted deletion."""
    rows = database.rows("SELECT case_id FROM studies WHERE deleted IS NOT NULL")
    return [str(row["case_id"]) for row in rows]
