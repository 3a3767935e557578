"""The supervisor: keeps the three processes running, stops what takes too long, forgets what may be forgotten."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES, SUPERVISOR, only_one
from scanside.runtime.appliance.store import anchor, audit, jobs, priors, retention, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import NotAllowedError
from scanside.runtime.errors import OutputError, ScansideError
from scanside.runtime.images.files import make_folder

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 20.0
_LONGEST_WAIT = 10.0
_STEADY_SECONDS = 10.0
"""A process that ran so long is started again at once; one that ends sooner waits, twice as long each time."""
_HOUSEKEEPING_SECONDS = 60.0
_LEAST_ROOM = 4 << 20
"""Bytes: with less on the disk the store may not open, and that is no reason to give up."""
_ROOM_SECONDS = 1.0

log = logging.getLogger("scanside.serve")


class Child:
    """One of the processes, started again whenever it ends."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._next = 0.0
        self._wait = 0.5

    def look(self, now: float) -> str | None:
        """Start it if it does not run and it is time; returns what happened, in words."""
        if self._process is None:
            return self._start(now) if now >= self._next else None
        code = self._process.poll()
        if code is None:
            return None
        self._process = None
        self._again(now)
        return f"ended with {'signal ' + str(-code) if code < 0 else 'code ' + str(code)}"

    def _start(self, now: float) -> str | None:
        command = [sys.executable, "-m", "scanside.runtime.appliance.process", self.name, str(self._path)]
        environment = {**os.environ, SUPERVISOR: str(os.getpid())}
        self._started = now
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        except OSError as error:  # no memory, too many processes: this passes
            self._again(now)
            return f"could not be started ({error.strerror})"
        return None

    def _again(self, now: float) -> None:
        """Set the time of the next start."""
        self._wait = 0.5 if now - self._started > _STEADY_SECONDS else min(self._wait * 2, _LONGEST_WAIT)
        self._next = now + self._wait

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, deadline: float) -> None:
        """Wait for it, and kill it when it does not end in time."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("process %s did not end in time and is killed", self.name)
            self._process.kill()
            self._process.wait()


def serve(config: Config, path: Path, stop: threading.Event) -> None:
    """Run the appliance until it is told to stop.

    Args:
        path: File of the configuration, which the processes read themselves.

    Raises:
        UsageError: If another service works on the same data folder.
        OutputError: If the data folder cannot be made.
    """
    from scanside.runtime.appliance.watch.http import serve_watch

    make_folders(config)
    with ExitStack() as held:
        held.enter_context(only_one(config, "serve", seconds=2))
        threading.Thread(target=serve_watch, args=(config, stop), daemon=True).start()
        begun = _begin(config, stop)
        if begun is None:
            return
        database = held.enter_context(begun)
        _log_anchor(database)
        children = {name: Child(name, path) for name in NAMES}
        try:
            _supervise(config, database, children, stop)
        finally:
            _stop_all(children)
        audit.record(database, "supervisor", "service stopped", detail={})
        with suppress(ScansideError):  # a full disk; an older anchor holds as well
            anchor.keep(config.anchor, database)


def _begin(config: Config, stop: threading.Event) -> Database | None:
    """Open the store and say that the service starts, as soon as the disk has room. None if it is stopped before.

    Raises:
        InputError: If the store is damaged, or was rolled back.
        OutputError: If it cannot be written, and the disk has room.
    """
    while True:
        try:
            anchor.refuse_rolled_back(config.anchor, config.database)
            with ExitStack() as opened:
                database = opened.enter_context(Database(config.database, create=True))
                audit.record(database, "supervisor", "service started", detail={"versions": _versions()})
                opened.pop_all()
            return database
        except ScansideError as error:
            if _has_room(config):
                raise
            log.error("%s; the service starts when the disk has room", str(error).rstrip("."))
        if stop.wait(_ROOM_SECONDS):
            return None


def make_folders(config: Config) -> None:
    """Make the data folder and what it holds, for us alone.

    Raises:
        OutputError: If that is not possible.
    """
    for folder in (config.service.data, config.spool, config.results, config.quarantine):
        try:
            make_folder(folder)
            folder.chmod(0o700)
        except OSError as error:
            raise OutputError(
                f"The data folder {folder} cannot be made ({error.strerror}); check service.data and its permissions."
            ) from error


def _supervise(config: Config, database: Database, children: dict[str, Child], stop: threading.Event) -> None:
    tidied, anchored = -_HOUSEKEEPING_SECONDS, time.monotonic()
    while not stop.wait(_LOOK_SECONDS):
        now = time.monotonic()
        happened = {name: words for name, child in children.items() if (words := child.look(now))}
        for name, words in happened.items():
            log.warning("process %s %s; it is started again", name, words)
        try:
            for name, words in happened.items():
                audit.record(database, "supervisor", f"process {name} ended", detail={"how": words})
            if _stop_overdue(config, database):
                children["work"].send(signal.SIGKILL)
            if now - tidied > _HOUSEKEEPING_SECONDS:
                tidied = now
                _tidy(config, database)
                anchor.keep(config.anchor, database)
            if now - anchored > 86400:
                anchored = now
                _log_anchor(database)
        except ScansideError as error:  # a full disk, a store that is locked: go on, and try again
            log.error("%s", error)


def _stop_overdue(config: Config, database: Database) -> bool:
    """Fail jobs whose stage takes too long. Returns whether the worker has to be killed.

    It has to be, too, when the store cannot be written although the disk has room: a worker that hangs may hold the
    lock. The next worker finds the job running, and fails it.
    """
    found = False
    for job, stage in jobs.overdue(database):
        reason = f"Stage '{stage}' took longer than {config.work.stage_seconds:g} s and was stopped."
        try:
            jobs.fail(
                database, job.job, "timeout", reason, tries=config.work.tries, backoff=config.work.backoff_seconds,
                actor="supervisor",
            )  # fmt: skip
        except NotAllowedError:
            continue  # it has ended just now
        except OutputError as error:
            log.error("%s", error)
            return _has_room(config)
        log.error("case %s: %s", job.case_id, reason, extra={"case": job.case_id, "job": job.job})
        found = True
    return jobs.forget_stuck(database) or found


def _has_room(config: Config) -> bool:
    return shutil.disk_usage(config.service.data).free >= _LEAST_ROOM


def _tidy(config: Config, database: Database) -> None:
    """Delete the results of studies whose time has come; the receiver deletes their images, which it may get again."""
    keep = config.retention
    for study_uid, case_id in worklist.expired(database, days=keep.days, unsent_days=keep.unsent_days):
        if retention.forget(database, study_uid, case_id):
            log.info("case %s: images and results deleted after retention", case_id)
    priors.forget_old(database, keep.prior_days)
    for case_id in retention.deleted(database):
        if (config.results / case_id).exists():
            shutil.rmtree(config.results / case_id, ignore_errors=True)


def _stop_all(children: dict[str, Child]) -> None:
    for child in children.values():
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for child in children.values():
        child.stop(deadline)


def _log_anchor(database: Database) -> None:
    """Write the audit log's newest hash where an intruder in the store cannot change it."""
    number, newest = audit.head(database)
    log.info("audit anchor %d:%s", number, newest)


def _versions() -> dict[str, str | None]:
    from scanside.runtime import machine

    return {**machine.versions(machine.OF_STUDIES), "pid": str(os.getpid())}
