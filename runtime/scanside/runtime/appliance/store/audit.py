"""The audit log: entries written in the transaction of what they tell, each with the hash of the one before.

Who changes or removes an entry breaks the chain. Who removes the last ones does not, so that the service writes the
newest hash to its log every day; keep logs elsewhere and pass one to `verify`.
"""

import getpass
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.records import Entry
from scanside.runtime.errors import InputError

GENESIS = "0" * 64
_PAGE = 1000


def person() -> str:
    """The user at the keyboard, as an actor."""
    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):
        return "user unknown"


def append(
    write: sqlite3.Connection,
    actor: str,
    action: str,
    *,
    case_id: str | None = None,
    job: int | None = None,
    detail: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> None:
    """Add an entry to the running transaction.

    Args:
        detail: What else belongs to it; no patient data.
    """
    last = write.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    number, previous = (int(last["number"]) + 1, str(last["hash"])) if last else (1, GENESIS)
    text = json.dumps(dict(detail or {}), sort_keys=True, ensure_ascii=False)
    entry = (number, clock(now), actor, action, case_id, job, text, previous)
    write.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*entry, _hash(entry)))


def record(
    database: Database, actor: str, action: str, *, case_id: str | None = None, detail: Mapping[str, Any]
) -> None:
    """Add an entry that stands for itself, such as a start or a refusal."""
    with database.transaction() as write:
        append(write, actor, action, case_id=case_id, detail=detail)


def entries(database: Database, *, after: int = 0, case_id: str | None = None) -> Iterator[Entry]:
    """Every entry in order, read in pages.

    Args:
        after: The number of an entry; those behind it.
    """
    while True:
        rows = database.rows(
            "SELECT * FROM audit WHERE number > ? AND (? IS NULL OR case_id = ?) ORDER BY number LIMIT ?",
            (after, case_id, case_id, _PAGE),
        )
        for row in rows:
            yield Entry(**dict(row))
        if len(rows) < _PAGE:
            return
        after = int(rows[-1]["number"])


def head(database: Database) -> tuple[int, str]:
    """Number and hash of the newest entry; (0, `GENESIS`) when there is none."""
    rows = database.rows("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
    return (int(rows[0]["number"]), str(rows[0]["hash"])) if rows else (0, GENESIS)


def verify(database: Database, anchor: tuple[int, str] | None = None) -> int:
    """Recompute the chain of a store: see `verify_entries`. Returns the number of entries."""
    return verify_entries(entries(database), anchor)[0]


def verify_entries(found: Iterable[Entry], anchor: tuple[int, str] | None = None) -> tuple[int, str]:
    """Recompute the chain.

    Args:
        found: Every entry from the first, in order.
        anchor: Number and hash of an entry as they stood in a log.

    Returns:
        Number and hash of the last entry; (0, `GENESIS`) when there is none.

    Raises:
        InputError: At the first entry that is not what was written, or is missing.
    """
    number, previous = 0, GENESIS
    for entry in found:
        values = (
            entry.number, entry.at, entry.actor, entry.action, entry.case_id, entry.job, entry.detail, entry.previous,
        )  # fmt: skip
        if entry.number != number + 1:
            raise InputError(f"The audit log lacks entry {number + 1} in its place: it was removed.")
        if entry.previous != previous or entry.hash != _hash(values):
            raise InputError(
                f"Entry {entry.number} of the audit log is not what was written: it was changed."
            )
        if anchor is not None and anchor[0] == entry.number and anchor[1] != entry.hash:
            raise InputError(
                f"Entry {entry.number} of the audit log is not the one of the anchor: it was replaced."
            )
        number, previous = entry.number, entry.hash
    if anchor is not None and anchor[0] > number:
        raise InputError(
            f"The audit log ends at entry {number}, before entry {anchor[0]} of the anchor: it was cut."
        )
    return number, previous


def _hash(values: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()
