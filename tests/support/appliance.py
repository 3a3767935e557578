"""A real appliance for tests: `scanside serve` as a process of its own, with a configuration and a data folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def toml(tables: dict[str, Any]) -> str:
    """A configuration as text."""
    lines: list[str] = []
    for name, table in tables.items():
        for one in table if isinstance(table, list) else [table]:
            lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
            lines += [f"{key} = {_value(value)}" for key, value in one.items()]
    return "\n".join(lines) + "\n"


def allowed(bundle: Path) -> dict[str, Any]:
    """The table `trust` with which a bundle that nobody has signed may run."""
    manifest = bundle / "bundle.json"
    return {"allow": [json.loads(manifest.read_bytes())["name"]]} if manifest.is_file() else {}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


class Appliance:
    """One data folder and the service on it, which may be killed and started again."""

    def __init__(self, folder: Path, bundle: Path, **tables: Any) -> None:
        self.folder, self.data, self.path = folder, folder / "data", folder / "scanside.toml"
        self.receive_port, self.commitment_port = free_port(), free_port()
        document = {
            "service": {"data": self.data, "bundle": bundle, "research_use_only": True},
            "trust": allowed(bundle),
            "receive": {"port": self.receive_port, "quiet_seconds": 2, "reserve_gb": 0.05},
            "work": {"device": "cpu", "threads": 1, "backoff_seconds": 0.2, "tries": 1000, "stage_seconds": 60},
            "send": {
                "commitment_port": self.commitment_port, "retry_seconds": 0.2, "retry_most_seconds": 2,
                "timeout_seconds": 5,
            },
            "watch": {"port": 0, "log_level": "WARNING"},
        }  # fmt: skip
        for name, table in tables.items():
            document[name] = {**document.get(name, {}), **table} if isinstance(table, dict) else table
        self.path.write_text(toml(document))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with (self.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scanside.runtime.cli.main", "serve", "-c", str(self.path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    def wait_for_receiver(self, seconds: float = 60) -> None:
        until(self._answers, seconds, f"the receiver of {self.folder} (see serve.log)")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"serve ended with {self._process.returncode}:\n{self.log()[-3000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.receive_port), timeout=1):
            return True
        return False

    def pids(self, name: str) -> list[int]:
        """Processes of ours: receive, work, deliver or serve."""
        words = {"serve": ["serve", "-c", str(self.path)]}.get(name, [name, str(self.path)])
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                    if command[-len(words) :] == words:
                        found.append(int(entry.name))
        return found

    def kill(self, name: str) -> bool:
        """SIGKILL; whether there was something to kill."""
        found = self.pids(name)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if name == "serve" and self._process is not None:
            self._process.wait()
        return bool(found)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for name in ("receive", "work", "deliver"):
            self.kill(name)

    def log(self) -> str:
        return (self.folder / "serve.log").read_text(errors="replace")


@contextmanager
def appliance(folder: Path, bundle: Path, **tables: Any) -> Iterator[Appliance]:
    made = Appliance(folder, bundle, **tables)
    made.start()
    try:
        yield made
    finally:
        made.stop()
