"""The listener of a running job: tells the store what is computed, and learns that it is no longer wanted."""

import logging
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from scanside.runtime.appliance.store import jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import ScansideError
from scanside.runtime.events import Event, StageProgress, StageStarted

_LEAST_SECONDS = 0.25
"""Between two writes."""

log = logging.getLogger("scanside.work")


class Stopped(Exception):
    """The job is not to be computed any further."""


class ProgressListener:
    """Writes from a thread and a connection of its own, so that a busy store never holds up the computation.

    Use as a context manager. Calling it with an event raises `Stopped` when there is no point in going on.
    """

    def __init__(self, store: Path, job: int, stage_seconds: float, ending: threading.Event) -> None:
        """Begin.

        Args:
            stage_seconds: What a stage may take; its progress adds nothing to that.
            ending: Set when the service ends.
        """
        self._store, self._job, self._seconds, self._ending = store, job, stage_seconds, ending
        self._now: tuple[str, int, int, float] = ("start", 0, 0, time.time() + stage_seconds)
        self._new, self._closing, self._gone = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="progress", daemon=True)
        self._new.set()

    @property
    def gone(self) -> bool:
        """Whether the job is no longer ours: a person has cancelled it, more images came, or it took too long."""
        return self._gone.is_set()

    def __call__(self, event: Event) -> None:
        """Take note of an event.

        Raises:
            Stopped: If the job is gone or the service ends.
        """
        if isinstance(event, StageStarted):
            self._now = (event.stage, 0, 0, time.time() + self._seconds)
            self._new.set()
        elif isinstance(event, StageProgress):
            self._now = (event.stage, event.done, event.total, self._now[3])
            self._new.set()
        self.check()

    def check(self) -> None:
        """Raise `Stopped` if the job is gone or the service ends."""
        if self.gone or self._ending.is_set():
            raise Stopped

    def _write(self) -> None:
        try:
            with Database(self._store, durable=False) as database:
                while self._new.wait() and not self._closing.is_set():
                    self._new.clear()
                    self._tell(database)
                    self._closing.wait(_LEAST_SECONDS)
        except ScansideError as error:
            log.warning("%s", error, extra={"job": self._job})

    def _tell(self, database: Database) -> None:
        try:
            if not jobs.progress(database, self._job, *self._now):
                self._gone.set()
        except (
            ScansideError
        ) as error:  # a full disk does not stop a computation; the next change is told again
            log.warning("%s", error, extra={"job": self._job})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is written of this job afterwards."""
        self._closing.set()
        self._new.set()
        self._thread.join()
