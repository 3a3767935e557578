"""The worker process: takes one job after the other. It may be killed at any instant and is started again."""

import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import jobs, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Job, Outcome
from scanside.runtime.appliance.store.states import NotAllowedError, State
from scanside.runtime.appliance.work.case import CaseRun, begin
from scanside.runtime.appliance.work.engine import Engine
from scanside.runtime.appliance.work.failure import Fault, fault_of
from scanside.runtime.appliance.work.inputs import remove_leftovers
from scanside.runtime.appliance.work.progress import ProgressListener, Stopped
from scanside.runtime.errors import OutputError

_POLL_SECONDS = 0.2
_FULL_SECONDS = 1.0
"""Before the store is tried again after it could not be written."""

T = TypeVar("T")
log = logging.getLogger("scanside.work")


def run(config: Config, stop: threading.Event) -> None:
    """Compute jobs until told to stop; a job that runs then goes back to the queue.

    Only one of this kind may run a data folder (`process.only_one`): what it finds running at its start is taken for
    lost.

    Raises:
        InputError: If the store cannot be read.
    """
    with Database(config.database, create=True) as database:
        worker = Worker(config, database, stop)
        try:
            worker.recover()
            while not stop.is_set():
                if worker.step():
                    continue
                _load_heavy()
                stop.wait(_POLL_SECONDS)
        except OutputError:
            if not stop.is_set():
                raise
        finally:
            worker.close()


def _load_heavy() -> None:
    """Modules that take seconds to load, while there is nothing to do."""
    from scanside.runtime.dicom import key_object, readback, secondary_capture, seg, sr  # noqa: F401


class Worker:
    """Computes the jobs of a store, one at a time."""

    def __init__(self, config: Config, database: Database, stop: threading.Event) -> None:
        self._config, self._database, self._stop = config, database, stop
        self._engine = Engine(config.work.options(), config.trust)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def recover(self) -> None:
        """Clear up after a worker that was killed. Its job has failed: what kills every time ends in quarantine."""
        for job in jobs.running(self._database):
            case = worklist.case(self._database, job.case_id)
            stage = f" in stage '{case.stage}'" if case is not None and case.stage else ""
            reason = f"The worker process ended{stage}, by a crash, a kill or for lack of memory."
            self._fail(job, Fault("crash", reason, blameless=False))
        removed = remove_leftovers(self._config.results)
        if removed:
            log.info("%d unfinished folders of an earlier worker removed", removed)

    def step(self) -> bool:
        """Take the next job and compute it. Returns whether there was one."""
        try:
            job = jobs.claim(self._database, self._name, seconds=self._config.work.stage_seconds)
        except OutputError as error:
            log.error("%s", error)
            self._stop.wait(_FULL_SECONDS)
            return False
        if job is None:
            return False
        log.info("computing, try %d", job.attempts, extra=_about(job))
        begun = begin(self._config, self._database, job)
        outcome: Outcome | Fault | None = None
        with ProgressListener(
            self._config.database, job.job, self._config.work.stage_seconds, self._stop
        ) as tell:
            try:
                outcome = begun.compute(self._database, self._engine, tell)
            except Stopped:
                pass
            except Exception as error:
                if not tell.gone:
                    own = bool(job.bundle or job.series)
                    outcome = fault_of(error, begun.words, self._config.results, own=own)
                    log.error("failed: %s", outcome.reason, exc_info=error, extra=_about(job))
                self._engine.close()
        self._conclude(begun, outcome)
        return True

    def _conclude(self, begun: CaseRun, outcome: Outcome | Fault | None) -> None:
        """Write what became of a job; None: it was stopped."""
        job = begun.job
        if isinstance(outcome, Fault):
            self._fail(job, outcome)
        elif outcome is not None:
            self._succeed(begun, outcome)
        elif self._stop.is_set():
            self._fail(
                job, Fault("stopped", "The service was stopped meanwhile.", blameless=True), backoff=0.0
            )
        else:
            self._discard(begun)

    def _succeed(self, begun: CaseRun, outcome: Outcome) -> None:
        job, hold = begun.job, self._config.service.require_review
        try:
            state = self._written(lambda: jobs.succeed(self._database, job.job, outcome, hold=hold))
        except NotAllowedError:
            self._discard(begun)
        else:
            log.info("%s, now %s", outcome.status, state, extra=_about(job))

    def _discard(self, begun: CaseRun) -> None:
        """A person has cancelled it, more images came, or it took too long: nothing of it is kept."""
        log.info("no longer to be computed", extra=_about(begun.job))
        shutil.rmtree(begun.out, ignore_errors=True)
        self._written(lambda: jobs.let_go(self._database, begun.job.job))

    def _fail(self, job: Job, fault: Fault, backoff: float | None = None) -> None:
        work = self._config.work
        wait = work.backoff_seconds if backoff is None else backoff
        with suppress(NotAllowedError):  # it was cancelled, or the supervisor has failed it for its time
            state = self._written(
                lambda: jobs.fail(
                    self._database,
                    job.job,
                    fault.kind,
                    fault.reason,
                    tries=work.tries,
                    backoff=wait,
                    blameless=fault.blameless,
                )
            )
            if state is State.QUARANTINED:
                log.error("quarantined after %d tries", job.attempts, extra=_about(job))

    def _written(self, change: Callable[[], T]) -> T:
        """Write to the store however long the disk is full.

        Raises:
            OutputError: If the service ends before there is space.
        """
        while True:
            try:
                return change()
            except OutputError as error:
                log.error("%s", error)
                if self._stop.wait(_FULL_SECONDS):
                    raise

    def close(self) -> None:
        """Free the networks."""
        self._engine.close()


def _about(job: Job) -> dict[str, object]:
    return {"case": job.case_id, "job": job.job}
