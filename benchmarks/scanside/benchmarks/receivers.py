"""`scanside bench receivers`: how fast instances are received, here and by dcmtk's storescp and Orthanc.

One sender of dcmtk, one association, loopback, no TLS. Rounds of the receivers alternate, so that a busy moment meets
all of them. What a file and a transaction cost on this disk is measured beside it: that is what bounds a receiver that
acknowledges only what a power cut leaves.
"""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from scanside.benchmarks.appliance_inputs import write_slices
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Part, Run
from scanside.benchmarks.tables import aligned
from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.receive.main import PORT_FILE
from scanside.runtime.errors import CaseError

RECEIVERS = "scanside.bench-receivers/1"
_TITLE = "RECEIVER"
_START_SECONDS = 60.0
_SEND_SECONDS = 600.0
_FLOOR_SAMPLES = 100


class Receiving(Part):
    """One receiver."""

    name: str
    version: str
    acknowledges: str
    """What is true of an instance when it is acknowledged, as its configuration or documentation says."""
    wall_ms: Distribution
    """A round: from the start of the sender to its end."""
    instances_per_s: float
    """By the median of `wall_ms`."""


class Floor(Part):
    """What one instance costs on this disk at least, without any DICOM."""

    file_ms: Distribution
    """Writing a file of the same size, and fsync of it."""
    folder_ms: Distribution
    """Moving it into its folder, and fsync of that."""
    transaction_ms: Distribution
    """A transaction of SQLite in WAL mode with `synchronous = FULL`."""


class ReceiversReport(Run):
    """`scanside bench receivers`."""

    schema_: Literal["scanside.bench-receivers/1"] = Field(alias="schema")
    remarks: list[str]
    instances: int
    """Of a round."""
    megabytes: float
    """Of a round's files, 10⁶ bytes."""
    sender: str
    receivers: list[Receiving]
    absent: list[str]
    """Receivers that are not here."""
    floor: Floor


@dataclass(frozen=True)
class _Receiver:
    name: str
    version: str
    acknowledges: str
    open: Callable[[Path, int], Any]
    """Starts it in a folder on a port, as a context manager."""


def run_receivers(instances: int, size: int, repeats: int, facts: Mapping[str, Any]) -> ReceiversReport:
    """Measure the receivers that are here, in alternating rounds; the first round of each does not count.

    Args:
        instances, size: Slices of a round; their rows and columns.
        facts: Of `environment`, taken before anything else was done.

    Raises:
        CaseError: If dcmtk's storescu is not here, a receiver does not start, or refuses an instance.
    """
    sender = _program("storescu")
    if sender is None:
        raise CaseError("dcmtk's storescu is not here; apt-get install dcmtk.")
    receivers, absent = _receivers()
    walls: dict[str, list[float]] = {one.name: [] for one in receivers}
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary, ExitStack() as opened:
        folder = Path(temporary)
        ports = {}
        for one in receivers:
            ports[one.name] = _free_port()
            place = folder / one.name.replace(" ", "-")
            place.mkdir(mode=0o700)
            opened.enter_context(one.open(place, ports[one.name]))
            _wait_for(ports[one.name], one.name)
        for number in range(repeats + 1):
            for one in receivers:
                slices = folder / "slices"
                bytes_ = write_slices(slices, instances, size, f"{one.name} {number} {time.time_ns()}")
                walls[one.name].append(_send(sender, ports[one.name], slices, one.name))
                shutil.rmtree(slices)
        floor = _floor(folder, bytes_ // instances)
    return ReceiversReport.model_validate(
        {
            **{name: facts[name] for name in ("created", "command", "machine", "versions", "git", "remarks")},
            "schema": RECEIVERS,
            "instances": instances,
            "megabytes": round(bytes_ / 1e6, 3),
            "sender": f"storescu, {_version(sender)}",
            "receivers": [_summed(one, walls[one.name][1:], instances) for one in receivers],
            "absent": absent,
            "floor": floor,
        }
    )


def receivers_table(report: ReceiversReport) -> str:
    """Rates beside one another, and what a file and a transaction cost."""
    fastest = max(one.instances_per_s for one in report.receivers)
    rows: list[tuple[str, ...]] = [
        ("receiver", "version", "instances/s", "of the fastest", "acknowledged means")
    ]
    rows += [
        (
            one.name,
            one.version,
            f"{one.instances_per_s:.0f}",
            f"{one.instances_per_s / fastest:.2f}",
            one.acknowledges,
        )
        for one in report.receivers
    ]
    floor = report.floor
    least = floor.file_ms.median + floor.folder_ms.median + floor.transaction_ms.median
    return "\n".join(
        [
            *(f"- {remark}" for remark in (*report.remarks, *report.absent)),
            f"- {report.instances} instances, {report.megabytes:.1f} MB a round, {report.sender}, one association, "
            "loopback, no TLS.",
            "",
            *aligned(rows),
            "",
            f"- On this disk a file takes {floor.file_ms.median:.2f} ms with its fsync, moving it into its folder "
            f"{floor.folder_ms.median:.2f} ms, a transaction {floor.transaction_ms.median:.2f} ms. A receiver that "
            f"does all three before it acknowledges gives one sender at most {1000 / least:.0f} instances/s.",
        ]
    )


def _summed(one: _Receiver, walls: Sequence[float], instances: int) -> Receiving:
    wall = Distribution.of([1000 * seconds for seconds in walls])
    return Receiving(
        name=one.name,
        version=one.version,
        acknowledges=one.acknowledges,
        wall_ms=wall,
        instances_per_s=round(1000 * instances / wall.median, 2),
    )


def _receivers() -> tuple[list[_Receiver], list[str]]:
    from importlib.metadata import version

    found = [_Receiver("scanside", version("scanside"), "file, folder and row are on disk", _open_scanside)]
    absent = []
    for program, name, words, opener in (
        ("storescp", "dcmtk storescp", "the file is written; no fsync", _open_storescp),
        ("Orthanc", "Orthanc", "file and index are written", _open_orthanc),
    ):
        path = _program(program)
        if path is None:
            absent.append(f"{name} is not here.")
        else:
            found.append(_Receiver(name, _version(path), words, opener(path)))
    return found, absent


@contextmanager
def _open_scanside(folder: Path, port: int) -> Iterator[None]:
    """The receiving process alone, as the supervisor starts it; no study gets complete meanwhile."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    tables = {
        "service": {"data": str(data), "bundle": str(folder / "none.bundle"), "research_use_only": True},
        "receive": {"ae_title": _TITLE, "port": port, "quiet_seconds": 86400.0, "reserve_gb": 0.05},
    }
    Config.model_validate(tables)
    path = folder / "scanside.toml"
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    ]
    path.write_text("\n".join(lines))
    command = [sys.executable, "-m", "scanside.runtime.appliance.process", "receive", str(path)]
    with _running(command, folder):
        deadline = time.monotonic() + _START_SECONDS
        while not (data / PORT_FILE).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield


def _open_storescp(program: Path) -> Callable[[Path, int], Any]:
    def opened(folder: Path, port: int) -> Any:
        received = folder / "received"
        received.mkdir()
        return _running([str(program), "-aet", _TITLE, "-od", str(received), str(port)], folder)

    return opened


def _open_orthanc(program: Path) -> Callable[[Path, int], Any]:
    def opened(folder: Path, port: int) -> Any:
        storage = str(folder / "storage")
        configuration = {
            "Name": _TITLE, "StorageDirectory": storage, "IndexDirectory": storage, "DicomAet": _TITLE,
            "DicomPort": port, "DicomAlwaysAllowStore": True, "HttpServerEnabled": False, "Plugins": [],
        }  # fmt: skip
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        return _running([str(program), str(path)], folder)

    return opened


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send(sender: Path, port: int, slices: Path, name: str) -> float:
    command = [str(sender), "-aec", _TITLE, "+sd", "127.0.0.1", str(port), str(slices)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SEND_SECONDS, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no words"]
        raise CaseError(f"{name} refused what was sent ({last[0][:200]}).")
    return seconds


def _floor(folder: Path, size: int) -> Floor:
    """What file, folder and transaction cost by themselves."""
    place = folder / "floor"
    (place / "series").mkdir(parents=True)
    data = os.urandom(size)
    files, folders, transactions = list[float](), list[float](), list[float]()
    with closing(sqlite3.connect(place / "floor.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, words TEXT)")
        for number in range(_FLOOR_SAMPLES):
            part = place / f"{number}.part"
            files.append(_timed(lambda part=part: _write(part, data)))  # type: ignore[misc]
            folders.append(_timed(lambda part=part: _move(part, place / "series")))  # type: ignore[misc]
            transactions.append(_timed(lambda: database.execute("INSERT INTO rows (words) VALUES ('x')")))
    return Floor(
        file_ms=Distribution.of(files),
        folder_ms=Distribution.of(folders),
        transaction_ms=Distribution.of(transactions),
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _move(path: Path, folder: Path) -> None:
    path.replace(folder / path.name)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _program(name: str) -> Path | None:
    """Not from an environment of Python: pynetdicom brings scripts of the same names as dcmtk's programs."""
    places = [place for place in os.get_exec_path() if Path(place) != Path(sys.prefix) / "bin"]
    found = shutil.which(name, path=os.pathsep.join([*places, "/usr/sbin", "/usr/local/sbin"]))
    return None if found is None else Path(found)


def _version(program: Path) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
        found = re.search(r"v?\d+\.\d+[\w.+-]*", said)
        return found.group(0) if found else "unknown"
    return "unknown"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int, name: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise CaseError(f"{name} does not start.")
