"""What the store has come to, kept beside it: a store that is older than that was rolled back, and is refused.

The chain of hashes in the audit log shows that an entry was changed. It does not show that the whole file was put back
to last week's, by a snapshot of the disk or by a copy: such a store is sound, and would send again what it has sent.
"""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database, open_existing
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.record import Record


class Anchor(Record):
    """The newest entry of the audit log, at some time.

    Attributes:
        number, hash: Of the entry; 0 where there was none.
        at: When it was kept (ISO 8601, UTC).
    """

    number: int = Field(ge=0)
    hash: str
    at: str


def keep(path: Path, database: Database) -> Anchor:
    """Write the newest entry down.

    Raises:
        OutputError: If the file cannot be written.
    """
    number, newest = audit.head(database)
    made = Anchor(number=number, hash=newest, at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(made.model_dump()) + "\n")
    return made


def kept(path: Path) -> Anchor | None:
    """What was kept last; None where nothing ever was.

    Raises:
        InputError: If the file is damaged.
    """
    try:
        return Anchor.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise InputError(
            f"The anchor {path} cannot be read; verify the audit log with an anchor of the service's log, then "
            "remove the file."
        ) from error


def refuse_rolled_back(path: Path, store: Path) -> None:
    """See that a store is not older than its anchor.

    Raises:
        InputError: If it is, or is gone.
    """
    anchor = kept(path)
    if anchor is not None and anchor.number and not holds(store, anchor):
        state = "is older than what this appliance has come to" if store.exists() else "is gone"
        raise InputError(
            f"The store {store} {state}: entry {anchor.number} of its audit log, kept at {anchor.at} in {path}, is not "
            "in it; bring back the newest backup with `scanside store restore`, or find the right file."
        )


def holds(store: Path, anchor: Anchor) -> bool:
    """Whether a store has an entry of the audit log.

    Raises:
        InputError: If it cannot be read.
    """
    if not store.exists():
        return False
    try:
        with closing(open_existing(store)) as look:
            row = look.execute("SELECT hash FROM audit WHERE number = ?", (anchor.number,)).fetchone()
    except sqlite3.Error as error:
        raise InputError(f"The store {store} cannot be read ({error}); restore it from a backup.") from error
    return row is not None and row[0] == anchor.hash
