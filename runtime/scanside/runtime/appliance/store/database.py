"""Opening the store, and transactions. Several processes have it open at once; each thread opens its own connection."""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scanside.runtime.appliance.store.place import refuse_network
from scanside.runtime.appliance.store.schema import MIGRATIONS, VERSION
from scanside.runtime.errors import InputError, OutputError
from scanside.runtime.images.files import make_folder, sync_folder

BUSY_SECONDS = 30.0
"""How long a writer waits for another one."""


class Database:
    """A connection to the store. Use as a context manager; not to be shared between threads."""

    def __init__(self, path: Path, *, create: bool = False, durable: bool = True) -> None:
        """Open it.

        Args:
            create: Make it where there is none.
            durable: A transaction is on disk when it returns; otherwise a power cut (not a crash) may undo the last
                ones, which is right for progress and nothing else.

        Raises:
            InputError: If there is no store, it is damaged or of a newer program, or lies on a network file system.
            OutputError: If it cannot be made.
        """
        self.path = path
        refuse_network(path)
        if not path.exists():
            if not create:
                raise InputError(f"There is no store {path}; start the service with `scanside serve` first.")
            _make_private(path)
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except sqlite3.Error as error:
            raise InputError(
                f"The store {path} cannot be opened ({error}); restore it from a backup."
            ) from error

    def _migrate(self) -> None:
        if self._version() == VERSION:
            return
        with self.transaction() as write:
            found = self._version()  # another process may have been faster
            if found > VERSION:
                raise InputError(
                    f"The store {self.path} was made by a newer scanside (version {found}); update this one."
                )
            for step in MIGRATIONS[found:]:
                for statement in _statements(step):
                    write.execute(statement)
            if found == 0:
                write.execute(
                    "INSERT INTO meta VALUES ('site_key', ?), ('tick', '0')", (secrets.token_hex(32),)
                )
            write.execute(f"PRAGMA user_version = {VERSION}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it is done, or nothing.

        Raises:
            OutputError: If the store cannot be written, such as on a full disk.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise OutputError(
                f"The store {self.path} cannot be written ({error}); check the disk."
            ) from error

    def rows(self, sql: str, values: tuple[Any, ...] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Read.

        Raises:
            InputError: If it cannot be read.
        """
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise InputError(f"The store {self.path} cannot be read ({error}); check the disk.") from error

    def meta(self, key: str) -> str | None:
        """A value of the table `meta`."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0]["value"]) if found else None

    def data_version(self) -> int:
        """Changes when another connection has changed anything: the cheapest way to learn that a look pays."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Condition:
    """Of a store that was looked at without bringing it up to date.

    Attributes:
        version: Of its tables.
        fault: What is damaged; None where nothing is.
    """

    version: int
    fault: str | None


def condition(path: Path, seconds: float = 5.0) -> Condition:
    """Look at a store as it is.

    Raises:
        InputError: If it cannot be opened.
    """
    try:
        with closing(open_existing(path, seconds)) as look:
            version = int(look.execute("PRAGMA user_version").fetchone()[0])
            said = str(look.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be opened ({error}); restore it from a backup.") from error
    return Condition(version, None if said == "ok" else said.splitlines()[0])


def why_not_writable(path: Path, seconds: float) -> str | None:
    """Why no transaction can begin within a time; None if one can."""
    try:
        with closing(open_existing(path, seconds)) as store:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return None


def open_existing(path: Path, seconds: float = 5.0) -> sqlite3.Connection:
    """A connection to a store as it is, whatever its version."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=seconds)


def next_tick(write: sqlite3.Connection) -> int:
    """A number above every one before, of this transaction."""
    row = write.execute(
        "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'tick' RETURNING CAST(value AS INTEGER)"
    ).fetchone()
    return int(row[0])


def clock(now: float | None) -> float:
    """`now`, or what time it is."""
    return time.time() if now is None else now


def _make_private(path: Path) -> None:
    """The folder of the store holds names of patients: nobody else may look."""
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        sync_folder(path.parent)  # SQLite syncs the folder of its journals, and never that of the file itself
    except OSError as error:
        raise OutputError(f"The store {path} cannot be made ({error.strerror}); check the folder.") from error


def _statements(script: str) -> Iterator[str]:
    """Split a script; sqlite3's own `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
