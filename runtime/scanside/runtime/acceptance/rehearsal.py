"""A service of the acceptance's own: the site's configuration on a data folder that is thrown away.

Ports, AE titles, TLS, destinations, device and bundle are the site's. What is changed is in `rehearsed`, and nothing
else: results wait for review, so that an archive gets only what the acceptance has looked at.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from scanside.runtime.appliance.config import (
    Caller,
    Config,
    Destination,
    DicomDestination,
    Fetch,
    Tls,
    load_config,
)
from scanside.runtime.appliance.store import jobs, orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Item
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.errors import CaseError, ScansideError
from scanside.runtime.study.report import StudyReport, read_report

SENDER = "SCANSIDE_ACCEPT"
"""AE title under which the acceptance sends, as the scanner does."""
ACTOR = "acceptance"
_QUIET_SECONDS = 1.0
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.1

T = TypeVar("T")


def rehearsed(config: Config, folder: Path, also: Sequence[str] = ()) -> Config:
    """The configuration of the rehearsal.

    Args:
        folder: Its data folder.
        also: Bundles that may run beside the site's, as `[trust]` names them.
    """
    hosts = dict.fromkeys(
        ["127.0.0.1", "::1", *([config.receive.host] if _is_address(config.receive.host) else [])]
    )
    callers = (*config.receive.callers, *(Caller(ae_title=SENDER, address=host) for host in hosts))
    return config.model_copy(
        update={
            "service": config.service.model_copy(
                update={"data": folder, "require_review": True, "anchor": None}
            ),
            "receive": config.receive.model_copy(
                update={"quiet_seconds": _QUIET_SECONDS, "callers": callers if config.receive.callers else ()}
            ),
            "fetch": Fetch(),  # no archive is asked for the studies of a phantom
            "trust": config.trust.model_copy(update={"allow": (*config.trust.allow, *also)}),
            "watch": config.watch.model_copy(update={"port": 0}),
            "destinations": tuple(_to_us(one) for one in config.destinations),
        }
    )


def _to_us(destination: Destination) -> Destination:
    """A rule that looks at who sent a study has to know the acceptance."""
    if not destination.rule.calling:
        return destination
    rule = destination.rule.model_copy(update={"calling": (*destination.rule.calling, SENDER)})
    return destination.model_copy(update={"rule": rule})


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def as_toml(config: Config) -> str:
    """The configuration as a file that `load_config` reads."""
    lines = []
    for name, table in config.model_dump(mode="json", exclude_none=True).items():
        if isinstance(table, list):
            lines += [line for one in table for line in (f"[[{name}]]", *_keys(one))]
        else:
            lines += [f"[{name}]", *_keys(table)]
    return "\n".join(lines) + "\n"


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{json.dumps(key)} = {_value(value)}"


def _value(value: Any) -> str:
    """TOML's strings, numbers, booleans and arrays are JSON's; only tables differ."""
    if isinstance(value, dict):
        return "{ " + ", ".join(_keys(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


@dataclass
class Rehearsal:
    """The running service, and what is done with it.

    Attributes:
        config: The rehearsal's, as `rehearsed` makes it.
        path: Its file.
    """

    config: Config
    path: Path
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @classmethod
    @contextmanager
    def started(cls, config: Config, folder: Path) -> Iterator[Self]:
        """Start a service whose configuration is written into a folder, and end it at the end of the block.

        Raises:
            CaseError: If it does not begin.
        """
        path = folder / "scanside.toml"
        path.write_text(as_toml(config), encoding="utf-8")
        found = cls(load_config(path), path)
        try:
            found.start()
            yield found
        finally:
            found.stop()

    def start(self) -> None:
        """Start it, and wait until its receiver listens.

        Raises:
            CaseError: If it does not.
        """
        log = self.path.with_suffix(".log")
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scanside.runtime.cli.main", "serve", "-c", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        if self.until(self._listens, _START_SECONDS) is None:
            raise CaseError(f"The service does not begin: {self.last_word()}; look at its configuration.")

    def _listens(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise CaseError(f"The service ends at once: {self.last_word()}; look at its configuration.")
        return (self.config.service.data / "receive.port").exists()

    def last_word(self) -> str:
        """The last message of its log."""
        with suppress(OSError, ValueError, IndexError, KeyError):
            line = self.path.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1]
            return str(json.loads(line)["message"] if line.startswith("{") else line).rstrip(".")
        return "it said nothing"

    def stop(self) -> None:
        """End it in an orderly way."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def until(self, look: Callable[[], T | None], seconds: float) -> T | None:
        """What `look` finds, as soon as it finds something; None when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            found = look()
            if found or time.monotonic() > deadline:
                return found or None
            time.sleep(_LOOK_SECONDS)

    def send(
        self,
        files: Sequence[Path],
        calling: str = SENDER,
        called: str | None = None,
        tls: Tls | None = None,
        plaintext: bool = False,
    ) -> dict[str, str]:
        """Send files as the scanner does.

        Args:
            tls: Other files than the configured ones.
            plaintext: Without TLS although the receiver wants it.

        Returns:
            File name → why it was not taken; empty when every one was.
        """
        from scanside.runtime.acceptance.sender import send_files

        return send_files(*self.receiver(calling, called, tls, plaintext), files)

    def receiver(
        self, calling: str, called: str | None = None, tls: Tls | None = None, plaintext: bool = False
    ) -> tuple[DicomDestination, Config]:
        """Our receiver as a destination, and a configuration that calls it by a title."""
        from scanside.runtime.cli.echo import own_receiver

        destination, as_whom = own_receiver(self.config)
        assert isinstance(destination, DicomDestination)
        changed: dict[str, Any] = {"ae_title": called} if called else {}
        if plaintext or tls is not None:
            changed["tls"] = tls
        send = as_whom.send.model_copy(update={"ae_title": calling})
        return destination.model_copy(update=changed), as_whom.model_copy(update={"send": send})

    def cases(self) -> Mapping[str, Case]:
        """Study Instance UID → its latest job."""
        with suppress(ScansideError), self.store() as database:
            return {case.study_uid: case for case in worklist.cases(database)}
        return {}

    def case(self, study_uid: str) -> Case | None:
        """The latest job of a study."""
        return self.cases().get(study_uid)

    def wait_for(self, study_uid: str, states: Sequence[State], seconds: float) -> Case | None:
        """A study's job, when it is in one of the states; None when the time is over."""

        def look() -> Case | None:
            case = self.case(study_uid)
            return case if case is not None and case.state in states else None

        return self.until(look, seconds)

    def items(self, case: Case) -> list[Item]:
        """What is to be sent of a job."""
        with self.store() as database:
            return outbox.of_job(database, case.job)

    def pause(self, paused: bool) -> None:
        """Keep the worker from taking studies, or let it again."""
        with self.store() as database:
            orders.pause_queue(database, paused, ACTOR)

    def with_bundle(self, case: Case, bundle: Path) -> int:
        """Compute a waiting study with another bundle; returns the job."""
        with self.store() as database:
            jobs.act(database, case.job, Action.CANCEL, ACTOR)
            return orders.rerun(database, case.case_id, ACTOR, bundle=str(bundle))

    def accept(self, case: Case) -> None:
        """Let a result go to the destinations."""
        with self.store() as database:
            jobs.act(database, case.job, Action.ACCEPT, ACTOR, finished=case.finished)

    def kill_worker(self, case: Case) -> bool:
        """SIGKILL to the process that computes a study; whether there was one."""
        with self.store() as database:
            worker = jobs.worker_of(database, case.job)
        if worker is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
            return True
        return False

    def store(self) -> Database:
        """Its store, to be closed after use."""
        return Database(self.config.database)

    def report(self, case: Case) -> StudyReport:
        """The result.json of a job."""
        assert case.result is not None
        return read_report(self.config.results / case.result)


@contextmanager
def rehearsal(config: Config, folder: Path, also: Sequence[str]) -> Iterator[Rehearsal]:
    """Start the service of the acceptance, and end it at the end of the block.

    Args:
        config: The site's.
        folder: Of the rehearsal; it is made.
        also: As in `rehearsed`.

    Raises:
        CaseError: If the service does not begin.
        OutputError: If the folder cannot be made.
    """
    from scanside.runtime.appliance.serve import make_folders

    made = rehearsed(config, folder / "data", also)
    make_folders(made)
    with Rehearsal.started(made, folder) as found:
        yield found
