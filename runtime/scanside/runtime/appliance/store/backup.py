"""A backup: the store as it was at one instant, with every file that it speaks of, each with its hash.

    FOLDER/backup.json            what is in it
    FOLDER/scanside.db            by SQLite's own backup, while the service runs
    FOLDER/spool/… results/…      received images, results

Images and results never change in their place, so that they can be copied after the store; what has been deleted
meanwhile is no longer in the next copy of the store, which is then taken.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import open_existing
from scanside.runtime.appliance.store.records import Entry
from scanside.runtime.appliance.store.schema import VERSION
from scanside.runtime.errors import InputError, OutputError, ScansideError
from scanside.runtime.images.files import hash_of, sync, sync_folder, write_private, writing_failed
from scanside.runtime.record import Record, RelativePath, Sha256, first_fault

MANIFEST, STORE, SPOOL, RESULTS = "backup.json", "scanside.db", "spool", "results"
_ROUNDS = 5


class Saved(Record):
    """A file of a backup."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Backup(Record):
    """`backup.json`.

    Attributes:
        scanside: The program that made it.
        store_version: Of the tables.
        created: ISO 8601, UTC.
        number, hash: The newest entry of the audit log.
        files: Every file but backup.json.
        lacking: Files that the store speaks of and that were not there, or not as they were received.
    """

    schema_name: Literal["scanside.backup/1"] = Field(alias="schema")
    scanside: str
    store_version: int
    created: str
    number: Annotated[int, Field(ge=0)]
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    files: dict[RelativePath, Saved]
    lacking: tuple[RelativePath, ...] = ()


def make(data: Path, out: Path) -> Backup:
    """Back up a data folder, whether its service runs or not. The folder appears whole or not at all.

    Args:
        out: A folder that does not exist.

    Raises:
        InputError: If the store cannot be read.
        OutputError: If `out` exists or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out} exists already; choose another folder for the backup.")
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True, mode=0o700)
        made = _fill(data, part)
        write_private(part / MANIFEST, made.model_dump_json(by_alias=True, indent=1).encode() + b"\n")
        settle(part)
        part.rename(out)
        sync_folder(out.parent)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, ScansideError):
            raise writing_failed(out, error) from error
        raise
    return made


def _fill(data: Path, part: Path) -> Backup:
    files: dict[str, Saved] = {}
    for _ in range(_ROUNDS):
        _snapshot(data / STORE, part / STORE)
        with closing(_read_only(part / STORE)) as store:
            images = {f"{SPOOL}/{path}": str(sha256) for path, sha256 in store.execute(_IMAGES)}
            folders = [f"{RESULTS}/{result}" for (result,) in store.execute(_RESULTS)]
        wanted: dict[str, str | None] = {**images, **dict.fromkeys(_below(data, folders))}
        for name in [one for one in files if one not in wanted]:
            (part / name).unlink()
            del files[name]
        lacking = [one for one in wanted if one not in files and not _copied(data, part, one, wanted, files)]
        lacking += [folder for folder in folders if not (data / folder).is_dir()]
        if not lacking:
            break
    number, newest = _proven(part / STORE)
    files[STORE] = Saved(sha256=hash_of(part / STORE), bytes=(part / STORE).stat().st_size)
    return Backup(
        schema="scanside.backup/1", scanside=version("scanside"), store_version=store_version(part / STORE),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), number=number, hash=newest,
        files=dict(sorted(files.items())), lacking=tuple(sorted(lacking)),
    )  # fmt: skip


_IMAGES = "SELECT path, sha256 FROM instances"
_RESULTS = """
    SELECT DISTINCT result FROM jobs JOIN studies USING (study_uid) WHERE result IS NOT NULL AND deleted IS NULL
"""


def _snapshot(store: Path, copy: Path) -> None:
    try:
        copy.unlink(missing_ok=True)
        with closing(open_existing(store)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, which may lie on a read-only disk
        copy.chmod(0o600)
        sync(copy)
    except sqlite3.Error as error:
        raise InputError(f"The store {store} cannot be read ({error}); check the disk.") from error


def _below(data: Path, folders: list[str]) -> Iterator[str]:
    for folder in folders:
        for path in (data / folder).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(data).as_posix()


def _copied(
    data: Path, part: Path, name: str, wanted: dict[str, str | None], files: dict[str, Saved]
) -> bool:
    """Copy a file; False if it is not there, or is not what was received."""
    target = part / name
    try:
        content = (data / name).read_bytes()
    except FileNotFoundError:
        return False
    sha256 = hashlib.sha256(content).hexdigest()
    if wanted[name] not in (None, sha256):
        return False
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(target, content)
    files[name] = Saved(sha256=sha256, bytes=len(content))
    return True


def verify(folder: Path) -> Backup:
    """Prove a backup: every file by its hash, the store by SQLite's own check, the audit log by its chain.

    Raises:
        InputError: At what is missing, altered, or of a newer program.
    """
    try:
        made = Backup.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise InputError(
            f"{folder} is no backup: it has no readable {MANIFEST}; make one with `scanside store backup`."
        ) from error
    except ValidationError as error:
        where, why = first_fault(error)
        raise InputError(f"{folder / MANIFEST} is damaged ({where}: {why}); use another backup.") from error
    _refuse_newer(folder, made.store_version)
    for name, saved in made.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != saved.bytes or hash_of(path) != saved.sha256:
            raise InputError(f"{name} of the backup {folder} is missing or altered; use another backup.")
    found = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if not one.is_dir()}
    if unknown := sorted(found - {*made.files, MANIFEST}):
        raise InputError(f"The backup {folder} holds {unknown[0]}, which it does not name; remove it.")
    _refuse_newer(folder, store_version(folder / STORE))
    if _proven(folder / STORE) != (made.number, made.hash):
        raise InputError(f"The audit log of the backup {folder} does not end where it says; use another one.")
    return made


def holds(folder: Path, number: int, entry: str) -> bool:
    """Whether the audit log of a verified backup has an entry with this number and hash."""
    with closing(_read_only(folder / STORE)) as look:
        row = look.execute("SELECT hash FROM audit WHERE number = ?", (number,)).fetchone()
    return row is not None and row[0] == entry


def store_version(store: Path) -> int:
    """Version of the tables of a store that nobody has open.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with closing(_read_only(store)) as look:
            return int(look.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise InputError(f"The store {store} cannot be read ({error}); use another one.") from error


def _refuse_newer(folder: Path, found: int) -> None:
    if found > VERSION:
        raise InputError(
            f"The backup {folder} was made by a newer scanside (store version {found}, here {VERSION}); update this "
            "one."
        )


def _proven(store: Path) -> tuple[int, str]:
    """Number and hash of the newest entry of the audit log of a copy, after everything in it was checked."""
    try:
        with closing(_read_only(store)) as look:
            said = str(look.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if said == "ok" and look.execute("PRAGMA foreign_key_check").fetchone() is not None:
                said = "a row refers to one that is not there"
            look.row_factory = sqlite3.Row
            rows = look.execute("SELECT * FROM audit ORDER BY number") if said == "ok" else ()
            if said == "ok":
                return audit.verify_entries(Entry(**dict(row)) for row in rows)
    except sqlite3.Error as error:
        said = str(error)
    raise InputError(f"The store {store} is damaged ({said.splitlines()[0]}); use another backup.")


def _read_only(store: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def settle(folder: Path) -> None:
    """Make every folder below for its owner alone, and bring their names to the disk."""
    for one in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        one.chmod(0o700)
        sync_folder(one)
