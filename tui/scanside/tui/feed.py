"""What is new in the store: one thread looks, immutable snapshots cross to the screen, nothing else does.

The thread asks SQLite five times a second whether anybody has written, which costs microseconds, and reads only cases
that changed. It outlives the store: when that is gone it says since when, and takes up again when it is back.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.watch.drift import Drift
from scanside.runtime.appliance.watch.heartbeat import STALE_SECONDS, alive
from scanside.runtime.errors import ScansideError
from scanside.tui.estimate import Typical, typical

LOOK_SECONDS = 0.2
HEALTH_SECONDS = 1.0
FIRST_PAGE = 200
"""Cases that are read at once when the terminal opens; the rest follows."""
PAINT_SECONDS = 0.1
"""The rest waits so long, so that the first page is on the screen before the interpreter is busy with it."""


@dataclass(frozen=True)
class Stuck:
    """Objects of a case that did not arrive although it was tried.

    Attributes:
        since: When the last attempt failed.
    """

    count: int
    destination: str
    reason: str
    since: float


@dataclass(frozen=True)
class Health:
    """How the service is.

    Attributes:
        lost_since: Since when the store cannot be read; None when it can.
        lost_why: The sentence.
        paused: The whole queue is.
        beats: Process → seconds since its last sign of life, 0 while it lives; None when there never was one.
        free: Bytes free on the disk of the data folder; None when that is not known.
        stuck: Case → what of it does not arrive.
        drift: What lies outside the limits of commissioning, as sentences.
    """

    lost_since: float | None = None
    lost_why: str = ""
    paused: bool = False
    beats: Mapping[str, float | None] = field(default_factory=dict)
    free: int | None = None
    stuck: Mapping[str, Stuck] = field(default_factory=dict)
    drift: tuple[str, ...] = ()

    @property
    def working(self) -> bool:
        """Whether the worker gives a sign of life; also where nobody could ask (store lost, or not looked yet)."""
        return self.beats.get("work", 0.0) == 0.0


@dataclass(frozen=True)
class Snapshot:
    """One look.

    Attributes:
        changed: Cases that are new or other than before; the latest arrival first.
        complete: These are all there are: forget the rest.
        typical: How long stages take today.
        number: Counts looks.
    """

    changed: tuple[Case, ...]
    complete: bool
    health: Health
    typical: Typical
    number: int


Listener = Callable[[Snapshot], None]


class Feed:
    """The thread, and on the UI's side what it has found so far.

    `cases` and `health` belong to the UI's thread: `take` puts a snapshot in.
    """

    def __init__(self, config: Config, listener: Listener, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self.cases: dict[str, Case] = {}
        self.health = Health()
        self.typical = Typical()
        self.loaded = False
        """Whether the whole worklist has been read."""
        self._number = 0
        self._reader = _Reader(config, clock)
        self._listener = listener
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def hurry(self) -> None:
        """Look now: somebody at this terminal has changed something."""
        self._wake.set()

    def take(self, snapshot: Snapshot) -> None:
        """Put a snapshot into what is known. For the UI's thread."""
        if snapshot.complete:
            self.cases = {case.case_id: case for case in snapshot.changed}
            self.loaded = True
        else:
            self.cases.update((case.case_id, case) for case in snapshot.changed)
        self.health, self.typical, self._number = snapshot.health, snapshot.typical, snapshot.number

    def case(self, case_id: str) -> Case | None:
        """A case as it was last seen. For the UI's thread."""
        return self.cases.get(case_id)

    def everything(self) -> Snapshot:
        """All that is known, for a screen that opens."""
        return Snapshot(tuple(self.cases.values()), self.loaded, self.health, self.typical, self._number)

    def _look_on(self) -> None:
        try:
            while not self._stop.is_set():
                for snapshot in self._reader.look():
                    self._listener(snapshot)
                self._wake.wait(LOOK_SECONDS)
                self._wake.clear()
        finally:
            self._reader.close()


class _Reader:
    """The thread's side: the connection, and what has been read over it."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._config, self._clock = config, clock
        self._database: Database | None = None
        self._file: tuple[int, int] | None = None
        self._written = (0, 0)
        self._version = -1
        self._tick = -1
        self._number = 0
        self._health = Health()
        self._drift = Drift()
        self._typical = Typical()
        self._health_due = 0.0
        self._asked = -1
        self._stored: tuple[bool, Mapping[str, Stuck]] = False, MappingProxyType({})
        self._quiet: Mapping[str, Stuck] = MappingProxyType({})

    def look(self) -> Iterator[Snapshot]:
        """What is new, as soon as it is known; usually nothing."""
        try:
            yield from self._read()
        except (ScansideError, OSError) as error:
            self.close()
            yield from self._lost(str(error))

    def close(self) -> None:
        """Close the connection; the next look opens another one."""
        if self._database is not None:
            self._database.close()
        self._database = None
        self._version = self._asked = -1

    def _read(self) -> Iterator[Snapshot]:
        fresh = self._open()
        assert self._database is not None
        version = self._database.data_version()
        news = version != self._version
        if fresh:
            first = worklist.cases(self._database, limit=FIRST_PAGE)
            self._typical = typical(worklist.timings(self._database, midnight(self._clock())))
            self._health = self._check()
            yield self._snapshot(tuple(first), complete=False)
            time.sleep(PAINT_SECONDS)
            self._tick = -1
        if news:
            tick = worklist.tick(self._database)
            changed = worklist.cases(self._database, since=self._tick)
            complete, self._tick, self._version = fresh, tick, version
            if any(case.finished is not None for case in changed):
                self._typical = typical(worklist.timings(self._database, midnight(self._clock())))
            if changed or complete:
                yield self._snapshot(tuple(changed), complete=complete)
        if time.monotonic() >= self._health_due:
            self._health_due = time.monotonic() + HEALTH_SECONDS
            health = self._check()
            if health != self._health:
                self._health = health
                yield self._snapshot(())

    def _open(self) -> bool:
        """See that the connection is to the file that is there now; True when it is a new one."""
        path = self._config.database
        status = path.stat() if path.exists() else None
        file = (status.st_dev, status.st_ino) if status else None
        if self._database is not None and file == self._file:
            return False
        self.close()
        self._database = Database(path)
        self._file = file
        self._tick = -1
        return True

    def _see_intact(self) -> None:
        """Whether the file is still the store that the connection is to: it may have been overwritten in place.

        SQLite does not notice that, since all its processes trust the log beside the file. The file is looked at
        through a connection alone: closing a plain file would take away this process's locks on it.

        Raises:
            InputError: If the file is no store any more.
        """
        assert self._database is not None
        path = self._config.database
        status = path.stat()
        written = (status.st_mtime_ns, status.st_size)
        if written == self._written:
            return
        self._written = written
        with Database(path) as database:
            other = database.meta("site_key") != self._database.meta("site_key")
            if other or worklist.tick(database) < self._tick:
                self._file = None  # an older copy: read all of it anew

    def _check(self) -> Health:
        assert self._database is not None
        self._see_intact()
        version = self._database.data_version()
        if version != self._asked:  # what stands in the store is asked for only where somebody has written
            self._stored = orders.is_paused(self._database), self._stuck(self._database)
            self._asked = version
        paused, stuck = self._stored
        return Health(
            drift=self._drift.alarms(self._config),
            paused=paused,
            beats=beats(self._config),
            free=free_bytes(self._config.service.data),
            stuck=stuck,
        )

    def _stuck(self, database: Database) -> Mapping[str, Stuck]:
        found: dict[str, Stuck] = {}
        for destination in self._config.destinations:
            # `now` far ahead: those that wait for their next attempt are the ones that are meant.
            for item in outbox.due(database, destination.name, now=float(1 << 40), limit=1000):
                if item.attempts:
                    count = found[item.case_id].count if item.case_id in found else 0
                    found[item.case_id] = Stuck(count + 1, destination.name, item.reason or "", item.changed)
        return MappingProxyType(found)

    def _lost(self, why: str) -> list[Snapshot]:
        if self._health.lost_since is not None:
            return []
        self._health = replace(self._health, lost_since=self._clock(), lost_why=why, beats={})
        return [self._snapshot(())]

    def _snapshot(self, changed: tuple[Case, ...], *, complete: bool = False) -> Snapshot:
        self._number += 1
        return Snapshot(changed, complete, self._health, self._typical, self._number)


def beats(config: Config) -> Mapping[str, float | None]:
    """Process of the service → seconds since its last sign of life."""
    return MappingProxyType({name: _steady(alive(config, name)) for name in NAMES})


def _steady(seconds: float | None) -> float | None:
    """0 for a process that lives, so that a look finds the same as the one before; minutes when it is silent."""
    if seconds is None or seconds < STALE_SECONDS:
        return None if seconds is None else 0.0
    return max(STALE_SECONDS, seconds // 60 * 60)


def free_bytes(folder: Path) -> int | None:
    """Free space of a folder's disk, rounded so that it does not change at every look."""
    try:
        return shutil.disk_usage(folder).free // 50_000_000 * 50_000_000
    except OSError:
        return None


def midnight(now: float) -> float:
    """When today began, here."""
    today = time.localtime(now)
    return time.mktime((today.tm_year, today.tm_mon, today.tm_mday, 0, 0, 0, 0, 0, -1))
