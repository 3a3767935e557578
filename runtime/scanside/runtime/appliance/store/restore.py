"""Bringing a backup back: proven first, copied beside, then put in place; what was there before is kept aside."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from scanside.runtime.appliance.store import anchor, audit, backup
from scanside.runtime.appliance.store.backup import RESULTS, SPOOL, STORE, Backup
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import hash_of, sync_folder, write_private, writing_failed

ASIDE = "before-restore"
_MOVED = (STORE, f"{STORE}-wal", f"{STORE}-shm", SPOOL, RESULTS)


def restore(
    folder: Path, data: Path, kept: Path, actor: str, *, older: bool = False
) -> tuple[Backup, Path | None]:
    """Bring a backup back into a data folder whose service does not run.

    Args:
        data: Data folder; what it held of store, spool and results is moved into a folder of it.
        kept: File of the anchor.
        actor: Who does it, for the audit log.
        older: Although the appliance has come further since, which is then forgotten.

    Returns:
        What was restored, and where the state before lies; None where there was none.

    Raises:
        InputError: If the backup is not whole or of a newer program, or the appliance has come further since.
        OutputError: If it cannot be written.
    """
    made = backup.verify(folder)
    seen = anchor.kept(kept)
    if seen is not None and seen.number and not older and not backup.holds(folder, seen.number, seen.hash):
        raise InputError(
            f"The backup {folder} ends at entry {made.number} of the audit log, and this appliance had come to entry "
            f"{seen.number} at {seen.at}; take a newer backup, or say --older to forget what came since."
        )
    part = data / f".{ASIDE}.part"
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(part, ignore_errors=True)
        _copy(folder, part, made)
        aside = _move_aside(data)
        for name in (SPOOL, RESULTS, STORE):  # the store last: without it nothing starts
            if (part / name).exists():
                (part / name).rename(data / name)
        part.rmdir()
        sync_folder(data)
    except OSError as error:
        raise writing_failed(data, error) from error
    with Database(data / STORE) as database:
        detail = {
            "made": made.created, "entry": made.number, "hash": made.hash,
            "forgotten": None if seen is None else f"{seen.number}:{seen.hash}",
        }  # fmt: skip
        audit.record(database, actor, "store restored", detail=detail)
        anchor.keep(kept, database)
    return made, aside


def _copy(folder: Path, part: Path, made: Backup) -> None:
    for name, saved in made.files.items():
        target = part / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(target, (folder / name).read_bytes())
        if hash_of(target) != saved.sha256:
            raise InputError(
                f"{name} of the backup {folder} changed while it was copied; use another backup."
            )
    backup.settle(part)


def _move_aside(data: Path) -> Path | None:
    there = [data / name for name in _MOVED if (data / name).exists()]
    if not there:
        return None
    aside = data / f"{ASIDE}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}"
    aside.mkdir(mode=0o700)
    for path in there:  # the store first: what is interrupted here does not start without it
        path.rename(aside / path.name)
    sync_folder(aside)
    sync_folder(data)
    return aside


def verify_live(data: Path, kept: Path) -> tuple[int, tuple[str, ...]]:
    """Prove a data folder as it is: audit log, anchor, and the images by their hashes.

    Returns:
        Number of images, and those that are missing or not as they were received.

    Raises:
        InputError: If the store is damaged, of a newer program or rolled back, or the audit log is broken.
    """
    store = data / STORE
    anchor.refuse_rolled_back(kept, store)
    with Database(store) as database:
        fault = str(database.rows("PRAGMA integrity_check(1)")[0][0])
        if fault != "ok":
            raise InputError(
                f"The store {store} is damaged ({fault.splitlines()[0]}); restore it from a backup."
            )
        audit.verify(database)
        rows = database.rows("SELECT path, sha256 FROM instances")
    wrong = [str(path) for path, sha256 in rows if not _is(data / SPOOL / path, sha256)]
    return len(rows), tuple(sorted(wrong))


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_of(path) == sha256
