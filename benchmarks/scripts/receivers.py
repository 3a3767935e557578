"""`python benchmarks/scripts/receivers.py OUT.json`: instances per second here, by dcmtk's storescp and by Orthanc.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scanside.benchmarks.appliance_ends import write_slices
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.script import facts, save, script, table
from scanside.runtime.appliance.receive.main import PORT_FILE
from scanside.runtime.errors import CaseError

_TITLE = "RECEIVER"
_START_SECONDS = 60.0


def main(
    out: Path, repeats: int = 6, instances: int = 600, matrix: int = 320, overwrite: bool = False
) -> None:
    """Measure the receivers that are here, in alternating rounds; the first round of each does not count."""
    document, sender = facts("bench-receivers/1", out, overwrite), _program("storescu")
    if sender is None:
        raise CaseError("dcmtk's storescu is not here; apt-get install dcmtk.")
    walls, receivers, absent = dict[str, list[float]](), list[dict[str, Any]](), list[str]()
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary, ExitStack() as opened:
        folder, ports = Path(temporary), dict[str, int]()
        for name, program, words, command in RECEIVERS:
            path = _program(program) if program else None
            if program and path is None:
                absent.append(f"{name} is not here.")
                continue
            place, ports[name] = folder / name.replace(" ", "-"), _free_port()
            place.mkdir(mode=0o700)
            opened.enter_context(_running(command(path, place, ports[name]), place, ports[name], name))
            said = _version(path) if path else version("scanside")
            receivers.append({"name": name, "version": said, "acknowledges": words})
        for number in range(repeats + 1):
            for name, port in ports.items():
                size = write_slices(folder / "slices", instances, matrix, f"{name} {number} {time.time_ns()}")
                walls.setdefault(name, []).append(_send(sender, port, folder / "slices", name))
                shutil.rmtree(folder / "slices")
        floor = _floor(folder / "floor", size // instances)
    for one in receivers:
        wall = Distribution.of([1000 * seconds for seconds in walls[one["name"]][1:]])
        one |= {"wall_ms": wall, "instances_per_s": round(1000 * instances / wall.median, 2)}
    document |= {
        "instances": instances, "megabytes": round(size / 1e6, 3), "sender": f"storescu, {_version(sender)}",
        "receivers": receivers, "absent": absent, "floor": floor,
    }  # fmt: skip
    fastest = max(one["instances_per_s"] for one in receivers)
    written, moved, row = (floor[name].median for name in ("file_ms", "folder_ms", "transaction_ms"))
    lines = [
        *(f"- {remark}" for remark in (*document["remarks"], *absent)),
        f"- {instances} instances, {size / 1e6:.1f} MB a round, {document['sender']}, one association, no TLS.",
        *table(
            ("receiver", "version", "instances/s", "of the fastest", "acknowledged means"),
            [
                (one["name"], one["version"], f"{one['instances_per_s']:.0f}",
                 f"{one['instances_per_s'] / fastest:.2f}", one["acknowledges"])
                for one in receivers
            ],
        ),
        f"- On this disk a file takes {written:.2f} ms with its fsync, moving it into its folder {moved:.2f} ms, a "
        f"transaction {row:.2f} ms. A receiver that does all three before it acknowledges gives one sender at most "
        f"{1000 / (written + moved + row):.0f} instances/s.",
    ]  # fmt: skip
    save(document, out, lines)


def _scanside(_: Path | None, folder: Path, port: int) -> list[str]:
    """The receiving process alone, as the supervisor starts it; no study gets complete meanwhile."""
    (folder / "data").mkdir(mode=0o700)
    path = folder / "scanside.toml"
    path.write_text(
        f'[service]\ndata = "{folder / "data"}"\nbundle = "{folder / "none.bundle"}"\nresearch_use_only = true\n'
        f'[receive]\nae_title = "{_TITLE}"\nport = {port}\nquiet_seconds = 86400.0\nreserve_gb = 0.05\n'
    )
    return [sys.executable, "-m", "scanside.runtime.appliance.process", "receive", str(path)]


def _storescp(program: Path | None, folder: Path, port: int) -> list[str]:
    (folder / "received").mkdir()
    return [str(program), "-aet", _TITLE, "-od", str(folder / "received"), str(port)]


def _orthanc(program: Path | None, folder: Path, port: int) -> list[str]:
    storage, path = str(folder / "storage"), folder / "orthanc.json"
    configuration = {
        "Name": _TITLE, "StorageDirectory": storage, "IndexDirectory": storage, "DicomAet": _TITLE, "DicomPort": port,
        "DicomAlwaysAllowStore": True, "HttpServerEnabled": False, "Plugins": [],
    }  # fmt: skip
    path.write_text(json.dumps(configuration))
    return [str(program), str(path)]


RECEIVERS: tuple[tuple[str, str, str, Callable[[Path | None, Path, int], list[str]]], ...] = (
    ("scanside", "", "file, folder and row are on disk", _scanside),
    ("dcmtk storescp", "storescp", "the file is written; no fsync", _storescp),
    ("Orthanc", "Orthanc", "file and index are written", _orthanc),
)
"""Name, program, what is true of an instance when it is acknowledged, and the command that receives."""


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int, name: str) -> Iterator[None]:
    """Until it listens; a scanside says so itself."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        deadline, data = time.monotonic() + _START_SECONDS, folder / "data"
        while not _listens(port) or (data.exists() and not (data / PORT_FILE).exists()):
            if time.monotonic() > deadline:
                raise CaseError(f"{name} does not start.")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _send(sender: Path, port: int, slices: Path, name: str) -> float:
    command = [str(sender), "-aec", _TITLE, "+sd", "127.0.0.1", str(port), str(slices)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no words"]
        raise CaseError(f"{name} refused what was sent ({last[0][:200]}).")
    return time.perf_counter() - begun


def _floor(place: Path, size: int) -> dict[str, Distribution]:
    """What file, folder and transaction cost by themselves: each with its fsync."""
    (place / "series").mkdir(parents=True)
    data, found = os.urandom(size), dict[str, list[float]]()
    with closing(sqlite3.connect(place / "floor.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, words TEXT)")
        for number in range(100):
            moments = [time.perf_counter()]
            part = place / f"{number}.part"
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            moments.append(time.perf_counter())
            part.replace(place / "series" / part.name)
            handle = os.open(place / "series", os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(handle)
            os.close(handle)
            moments.append(time.perf_counter())
            database.execute("INSERT INTO rows (words) VALUES ('x')")
            moments.append(time.perf_counter())
            for index, name in enumerate(("file_ms", "folder_ms", "transaction_ms")):
                found.setdefault(name, []).append(1000 * (moments[index + 1] - moments[index]))
    return {name: Distribution.of(samples) for name, samples in found.items()}


def _program(name: str) -> Path | None:
    """Not from an environment of Python: pynetdicom brings scripts of the same names as dcmtk's programs."""
    places = [place for place in os.get_exec_path() if Path(place) != Path(sys.prefix) / "bin"]
    found = shutil.which(name, path=os.pathsep.join([*places, "/usr/sbin", "/usr/local/sbin"]))
    return None if found is None else Path(found)


def _version(program: Path) -> str:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v?\d+\.\d+[\w.+-]*", said)
    return found.group(0) if found else "unknown"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    script(main)
