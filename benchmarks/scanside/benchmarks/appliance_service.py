"""A real `scanside serve` on a folder of its own, and what its store says of a study's way through it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from scanside.benchmarks.processes import MIB, high_water_mark, tail
from scanside.runtime.appliance.config import Config, load_config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.receive.main import PORT_FILE
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import ENDED, Action, State
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.options import Options

TITLE = "SCANSIDE"
_START_SECONDS = 120.0
_STOP_SECONDS = 40.0
_LOOK_SECONDS = 0.05
_NOT_INFERENCE = frozenset({"queued", "inputs", "read", "open", "golden cases", "write", "total"})


@dataclass(frozen=True)
class Way:
    """A study's moments in the store, seconds since 1970.

    Attributes:
        queued: It counted as complete.
        claimed: The worker took it.
        finished: Its result was on disk and in the store.
        objects: Number of objects that are sent.
        result: Its result.json.
        stages_ms: Of the worker.
    """

    queued: float
    claimed: float
    finished: float
    objects: int
    result: dict[str, Any]
    stages_ms: dict[str, float]

    @property
    def inference_ms(self) -> float:
        """The pipeline's stages, without reading and writing files."""
        return sum(ms for stage, ms in self.stages_ms.items() if stage not in _NOT_INFERENCE)


class Service:
    """`scanside serve` in a process of its own. Use as a context manager: it then receives."""

    def __init__(
        self,
        folder: Path,
        bundle: Path,
        options: Options,
        *,
        quiet_seconds: float,
        peer_port: int,
        title: str,
    ) -> None:
        """Write its configuration.

        Args:
            folder: For configuration, data and log; made.
            options: How studies are computed.
            quiet_seconds: As in the configuration.
            peer_port, title: Where results are sent, on this machine.
        """
        folder.mkdir(parents=True)
        self._folder, self._path = folder, folder / "scanside.toml"
        work = {
            "device": options.device, "precision": options.precision, "mirroring": options.mirroring,
            "step_size": options.step_size, "folds": options.folds, "threads": options.threads,
        }  # fmt: skip
        measured = open_bundle(bundle)
        tables: dict[str, dict[str, Any]] = {
            "service": {"data": folder / "data", "bundle": bundle.resolve(), "research_use_only": True},
            "trust": {"allow": [f"{measured.manifest.name}@{measured.sha256}"]},
            "receive": {"ae_title": TITLE, "port": 0, "quiet_seconds": quiet_seconds, "reserve_gb": 0.05},
            "work": work,
            "send": {"commitment_port": 0},
            "watch": {"port": 0, "log_level": "WARNING"},
            "[destinations]": {
                "kind": "dicom", "name": title, "ae_title": title, "host": "127.0.0.1", "port": peer_port,
                "commitment": False,
            },
        }  # fmt: skip
        self._path.write_text(_toml(tables), encoding="utf-8")
        self.config: Config = load_config(self._path)
        self.port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "scanside.runtime.cli.main", "serve", "-c", str(self._path)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self._stop()
            raise
        return self

    @property
    def _log(self) -> Path:
        return self._folder / "serve.log"

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                return int(json.loads((self.config.service.data / PORT_FILE).read_text())["port"])
            if self._process.poll() is not None:
                break
            time.sleep(_LOOK_SECONDS)
        raise CaseError(f"The appliance does not start: {tail(self._log)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        children = [psutil.Process(pid) for pid in self._pids().values()]
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for child in children:
            with suppress(psutil.Error):
                child.kill()

    def _pids(self) -> dict[str, int]:
        found = dict[str, int]()
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children():
                with suppress(psutil.Error):
                    words = child.cmdline()
                    found |= {name: child.pid for name in NAMES if words[-2:] == [name, str(self._path)]}
        return found

    def peak_mib(self) -> dict[str, float]:
        """VmHWM of the supervisor and its processes, since they were started."""
        pids = {"serve": self._process.pid, **self._pids()}
        return {name: round(high_water_mark(pid) / MIB, 1) for name, pid in pids.items()}

    def way(self, study_uid: str, seconds: float) -> Way:
        """Wait until a study has been computed and sent.

        Raises:
            CaseError: If that takes too long, or it was not computed.
        """
        deadline = time.monotonic() + seconds
        with Database(self.config.database) as database:
            while True:
                rows = database.rows(
                    "SELECT * FROM jobs WHERE study_uid = ? ORDER BY job DESC LIMIT 1", (study_uid,)
                )
                state = State(rows[0]["state"]) if rows else State.RECEIVING
                if state is State.DONE:
                    return self._found(database, dict(rows[0]))
                if state in ENDED or time.monotonic() > deadline:
                    why = (rows[0]["reason"] if rows else None) or f"after {seconds:g} s it is {state}"
                    raise CaseError(f"The appliance did not finish a study: {why}; {tail(self._log)}")
                time.sleep(_LOOK_SECONDS)

    def _found(self, database: Database, job: Mapping[str, Any]) -> Way:
        number = (job["job"],)
        queued = database.rows(
            "SELECT max(at) AS at FROM audit WHERE job = ? AND action = ?", (*number, Action.COMPLETE)
        )
        stages = database.rows("SELECT stage, ms FROM timings WHERE job = ? ORDER BY rowid", number)
        objects = database.rows("SELECT count(*) AS n FROM outbox WHERE job = ?", number)
        return Way(
            queued=float(queued[0]["at"]),
            claimed=float(job["started"]),
            finished=float(job["finished"]),
            objects=int(objects[0]["n"]),
            result=json.loads((self.config.results / job["result"] / "result.json").read_text()),
            stages_ms={str(row["stage"]): float(row["ms"]) for row in stages},
        )


def tree_cpu_s() -> float:
    """CPU time of this process and everything below it, also of children that have ended, s."""
    total = 0.0
    own = psutil.Process(os.getpid())
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """JSON, which for texts, numbers, truth values and lists of them is TOML too."""
    return json.dumps(str(value) if isinstance(value, Path) else value)
