"""The supervisor: keeps the three processes running, stops what takes too long, forgets what may be forgotten."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES, only_one
from scanside.runtime.appliance.store import audit, jobs, retention, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.jobs import NotAllowedError
from scanside.runtime.errors import OutputError, ScansideError
from scanside.runtime.study.report import LIBRARIES

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 20.0
_LONGEST_WAIT = 10.0
_STEADY_SECONDS = 10.0
"""A process that ran so long is started again at once; one that ends sooner waits, twice as long each time."""
_HOUSEKEEPING_SECONDS = 60.0

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
            if now >= self._next:
                self._start(now)
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._process = None
        self._wait = 0.5 if now - self._started > _STEADY_SECONDS else min(self._wait * 2, _LONGEST_WAIT)
        self._next = now + self._wait
        return f"ended with {'signal ' + str(-code) if code < 0 else 'code ' + str(code)}"

    def _start(self, now: float) -> None:
        command = [sys.executable, "-m", "scanside.runtime.appliance.process", self.name, str(self._path)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._started = now

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
        database = held.enter_context(Database(config.database, create=True))
        audit.record(database, "supervisor", "service started", detail={"versions": _versions()})
        _log_anchor(database)
        threading.Thread(target=serve_watch, args=(config, stop), daemon=True).start()
        children = {name: Child(name, path) for name in NAMES}
        try:
            _supervise(config, database, children, stop)
        finally:
            _stop_all(children)
        audit.record(database, "supervisor", "service stopped", detail={})


def make_folders(config: Config) -> None:
    """Make the data folder and what it holds, for us alone.

    Raises:
        OutputError: If that is not possible.
    """
    for folder in (config.service.data, config.spool, config.results, config.quarantine):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        except OSError as error:
            raise OutputError(
                f"The data folder {folder} cannot be made ({error.strerror}); check service.data and its permissions."
            ) from error


def _supervise(config: Config, database: Database, children: dict[str, Child], stop: threading.Event) -> None:
    tidied = anchored = time.monotonic()
    _tidy(config, database)
    while not stop.wait(_LOOK_SECONDS):
        now = time.monotonic()
        try:
            for name, child in children.items():
                happened = child.look(now)
                if happened:
                    log.warning("process %s %s; it is started again", name, happened)
                    audit.record(database, "supervisor", f"process {name} ended", detail={"how": happened})
            if _stop_overdue(config, database):
                children["work"].send(signal.SIGKILL)
            if now - tidied > _HOUSEKEEPING_SECONDS:
                tidied = now
                _tidy(config, database)
            if now - anchored > 86400:
                anchored = now
                _log_anchor(database)
        except ScansideError as error:  # a full disk, a store that is locked: go on, and try again
            log.error("%s", error)


def _stop_overdue(config: Config, database: Database) -> bool:
    """Fail jobs whose stage takes too long. Returns whether the worker has to be killed."""
    found = False
    for job, stage in jobs.overdue(database):
        reason = f"Stage '{stage}' took longer than {config.work.stage_seconds:g} s and was stopped."
        try:
            jobs.fail(
                database, job.job, "timeout", reason, tries=config.work.tries, backoff=config.work.backoff_seconds,
                actor="supervisor",
            )  # fmt: skip
            log.error("case %s: %s", job.case_id, reason)
        except NotAllowedError:
            continue  # it has ended just now
        found = True
    return jobs.forget_stuck(database) or found


def _tidy(config: Config, database: Database) -> None:
    """Delete the results of studies whose time has come; the receiver deletes their images, which it may get again."""
    keep = config.retention
    for study_uid, case_id in worklist.expired(database, days=keep.days, unsent_days=keep.unsent_days):
        if retention.forget(database, study_uid, case_id):
            log.info("case %s: images and results deleted after retention", case_id)
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

    return {**machine.versions(LIBRARIES), "pid": str(os.getpid())}
