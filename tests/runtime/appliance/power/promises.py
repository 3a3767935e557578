"""What the appliance has promised by each instant of a recorded way, and whether it is kept after a power cut."""

import bisect
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.records import Entry
from tests.runtime.appliance.power.disk import Disk, Operation

STORE = "data/scanside.db"


@dataclass(frozen=True)
class Promises:
    """Each with the number of operations before it.

    Attributes:
        acknowledged: SOP instance UIDs whose sender was told that they are stored.
        heads: How far the audit log was when a transaction returned.
        shown: SOP instance UIDs of objects that the PACS has got.
        sent: UID → sha256 of each object that the PACS had at the end.
        stored: UID → sha256 of the file, of every instance.
        results: Path → sha256 of every file of a result.
    """

    acknowledged: tuple[tuple[int, str], ...]
    heads: tuple[tuple[int, int], ...]
    shown: tuple[tuple[int, str], ...]
    sent: Mapping[str, str]
    stored: Mapping[str, str]
    results: Mapping[str, str]


def read_promises(operations: list[Operation], scratch: Path) -> Promises:
    disk, said = Disk(), list[tuple[int, dict[str, Any]]]()
    for number, one in enumerate(operations, 1):
        if one.kind == "m":
            said.append((number, json.loads(one.data)))
        disk.follow(one)
    end = disk.now()
    with closing(opened(end, scratch)) as store:
        stored = dict(store.execute("SELECT sop_uid, sha256 FROM instances").fetchall())
    return Promises(
        acknowledged=tuple((at, str(what["acknowledged"])) for at, what in said if "acknowledged" in what),
        heads=tuple((at, int(what["head"])) for at, what in said if "head" in what),
        sent=dict(next(what["done"] for _, what in said if "done" in what)),
        shown=tuple((at, str(what["got"])) for at, what in said if "got" in what),
        stored=stored,
        results={
            path.removeprefix("data/results/"): hashlib.sha256(data).hexdigest()
            for path, data in end.items()
            if path.startswith("data/results/")
        },
    )


def broken(promises: Promises, place: int, image: Mapping[str, bytes], scratch: Path) -> str | None:
    """The first promise that is not kept if the power went after so many operations; None: all are."""
    acknowledged = before(promises.acknowledged, place)
    shown = before(promises.shown, place)
    head = max(before(promises.heads, place), default=0)
    if not (acknowledged or shown or head):
        return None
    if STORE not in image:
        return "the store is gone"
    try:
        with closing(opened(image, scratch)) as store:
            return _broken(promises, store, image, acknowledged, shown, head)
    except sqlite3.Error as error:
        return f"the store does not open: {error}"


def _broken(
    promises: Promises,
    store: sqlite3.Connection,
    image: Mapping[str, bytes],
    acknowledged: list[str],
    shown: list[str],
    head: int,
) -> str | None:
    if store.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        return "the store is damaged"
    store.row_factory = sqlite3.Row
    entries = [Entry(**dict(row)) for row in store.execute("SELECT * FROM audit ORDER BY number")]
    found, _ = audit.verify_entries(iter(entries))
    if found < head:
        return f"entry {head} of the audit log was written, and it ends at {found}"
    rows = {row["sop_uid"]: row for row in store.execute("SELECT * FROM instances")}
    for uid in acknowledged:
        if uid not in rows:
            return f"instance {uid} was acknowledged and has no row"
    for uid, row in rows.items():  # a row without its file is a study that can never be computed
        if _sha256(image.get(f"data/spool/{row['path']}")) != promises.stored[uid]:
            return f"the file of instance {uid} is missing or damaged"
    items = {row["sop_uid"]: row for row in store.execute("SELECT * FROM outbox")}
    for uid in shown:
        if uid not in items:
            return f"object {uid} has left, and the store does not know of it: it would be made again"
    for uid, row in items.items():
        if _sha256(image.get(f"data/results/{row['path']}")) != promises.results[row["path"]]:
            return f"the file of object {uid} is missing or damaged"
    sent = {
        json.loads(one.detail)["sop_uid"] for one in entries if one.action in ("object sent", "object stored")
    }
    again = sorted(uid for uid in sent if items[uid]["state"] == "waiting")
    return f"object {again[0]} was taken by the PACS and would be sent again" if again else None


def before(marks: tuple[tuple[int, Any], ...], place: int) -> list[Any]:
    return [what for _, what in marks[: bisect.bisect_right([at for at, _ in marks], place)]]


def _sha256(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def opened(image: Mapping[str, bytes], scratch: Path) -> sqlite3.Connection:
    """The store of an image, as the next process would open it: SQLite recovers it from its log."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for suffix in ("", "-wal"):
        if STORE + suffix in image:
            (scratch / f"scanside.db{suffix}").write_bytes(image[STORE + suffix])
    return sqlite3.connect(scratch / "scanside.db")


def laid_out(image: Mapping[str, bytes], folder: Path) -> None:
    """Write a whole image, to start the appliance on it."""
    for path, data in image.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / path).write_bytes(data)
