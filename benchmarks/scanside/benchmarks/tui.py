"""How quick the operator's terminal is: the real command in a pseudo-terminal over a store of thousands of studies.

A key counts as painted when the terminal has sent the last byte that it caused. Nothing of the terminal's code is
imported: what is measured is the process that an operator starts.
"""

import fcntl
import json
import math
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.benchmarks.environment import environment
from scanside.benchmarks.studies import phantom_studies
from scanside.runtime import machine
from scanside.runtime.appliance.config import load_config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.watch.heartbeat import beat
from scanside.runtime.errors import CaseError, OutputError
from scanside.runtime.images.files import atomic_write

SCHEMA = "scanside.bench-tui/2"
SIZE = (160, 50)
"""Columns and rows of the terminal."""
SIZES = ((80, 24), (120, 40), (200, 60))
"""Those of which bytes are counted."""
_QUIET = 0.04
"""A burst of output has ended when nothing came for so long, s."""
_DOWN, _UP, _PAGE_DOWN = b"\x1b[B", b"\x1b[A", b"\x1b[6~"
_WHO = b"\x1b[c"
_ANSWERS = {"half blocks": b"\x1b[?62;22c", "sixel": b"\x1b[6;20;10t\x1b[?62;4;22c"}
"""What kind of terminal are you? Every terminal answers that: this one has colours, and no pixels, or Sixel."""
_THROUGH_THE_LIST = (_DOWN, _DOWN, _DOWN, _UP, _PAGE_DOWN)
_IMAGES = 100
_EVENTS_A_SECOND = 50
_STEADY_EVENTS = 5
"""So often a second a worker tells how far a case is."""
OPENED = "00000-OPENED"
"""The case that is opened: a phantom study, the latest arrival."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tui(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RESULTS.json", help="Results file to write.")],
    studies: Annotated[int, typer.Option(metavar="N", min=10, help="Studies in the worklist.")] = 5000,
    keys: Annotated[int, typer.Option(metavar="N", min=20, help="Key presses to time.")] = 200,
    openings: Annotated[int, typer.Option(metavar="N", min=1, help="Times to open it.")] = 7,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=1, help="To be idle, and to be under events.")
    ] = 20.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Measure the terminal: opening, key to paint, idle load, and 50 events a second, with thousands of studies.

    Example: scanside bench tui -o results/benchmarks/tui.json
    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already; add --overwrite or choose another name.")
    options = [word for word in sys.argv[1:] if word not in ("bench", "tui")]
    document = {"schema": SCHEMA, **environment(["bench", "tui", *options])}
    document["versions"] |= machine.versions(("textual",))
    document |= {"studies": studies, "images": studies * _IMAGES, "size": list(SIZE)}
    with tempfile.TemporaryDirectory(prefix="scanside-bench-tui-") as name:
        config = _prepare(Path(name), studies)
        with _heartbeats(config):
            _say(f"opening it {openings} times …")
            opened = [_opening(config) for _ in range(openings)]
            document["opening_s"] = _summary([wall for wall, _ in opened])
            document["opening_cpu_s"] = _summary([cpu for _, cpu in opened])
            document.update(_measure(config, keys, seconds))
            document["bytes"] = [
                _traffic(config, size, graphics, seconds) for size in SIZES for graphics in _ANSWERS
            ]
        _say("the demonstration …")
        document["demo_first_patient_s"] = round(_first_patient(Path(name)), 1)
    with atomic_write(out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    print(out)


def _first_patient(folder: Path) -> float:
    """Seconds from `scanside tui --demo` to the first synthetic patient in the list."""
    with Terminal(folder / "none.toml", arguments=("--demo",)) as terminal:
        return terminal.wait(b"receiving", 180) - terminal.began


def _traffic(config: Path, size: tuple[int, int], graphics: str, seconds: float) -> dict[str, Any]:
    """Bytes a second that go to the terminal when nobody types: what ssh has to carry, and what flickers."""
    _say(f"bytes at {size[0]}×{size[1]}, {graphics} …")
    with Terminal(config, size, graphics) as terminal:
        terminal.wait(b"all ")
        terminal.settle(3.0)
        found: dict[str, Any] = {"size": list(size), "graphics": graphics, "worklist": {}, "case": {}}
        found["worklist"] = _at_rest_and_beside(terminal, config, seconds)
        os.write(terminal.keyboard, b"\r")
        terminal.wait(b"T2WI ")
        terminal.settle(5.0)
        found["case"] = _at_rest_and_beside(terminal, config, seconds)
        found["case"]["key_to_paint_s"] = _summary(_presses(terminal, 40, [_UP, _DOWN]))
    return found


def _at_rest_and_beside(terminal: "Terminal", config: Path, seconds: float) -> dict[str, Any]:
    at_rest = terminal.bytes_a_second(seconds)
    with _events(config, _STEADY_EVENTS):
        return {"at_rest": at_rest, "while_another_computes": terminal.bytes_a_second(seconds)}


def _measure(config: Path, keys: int, seconds: float) -> dict[str, Any]:
    """Everything that one opened terminal can tell."""
    found: dict[str, Any] = {}
    with Terminal(config) as terminal:
        terminal.wait(b"all ")
        terminal.settle(3.0)
        _say(f"{keys} keys …")
        found["key_to_paint_s"] = _summary(_presses(terminal, keys))
        terminal.settle(2.0)
        _say(f"{seconds:g} s idle …")
        found["idle_cpu_part"] = round(terminal.cpu(seconds), 4)
        _say(f"{seconds:g} s of {_EVENTS_A_SECOND} events a second …")
        with _events(config) as sent:
            begin, before = time.monotonic(), terminal.cpu_seconds()
            times: list[float] = []
            while time.monotonic() - begin < seconds:
                times += _presses(terminal, 5)
            spent = terminal.cpu_seconds() - before
            elapsed = time.monotonic() - begin
        found["events"] = {
            "asked_per_second": _EVENTS_A_SECOND,
            "sent_per_second": round(sent() / elapsed, 1),
            "key_to_paint_s": _summary(times),
            "cpu_part": round(spent / elapsed, 4),
        }
        found["memory_mib"] = round(terminal.memory_mib(), 1)
    return found


class Terminal:
    """The command in a pseudo-terminal."""

    def __init__(
        self,
        config: Path,
        size: tuple[int, int] = SIZE,
        graphics: str = "half blocks",
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Start it.

        Args:
            arguments: Of the command; None for `-c` and the configuration. Settings stand beside that one in any case.
        """
        self._master, slave = pty.openpty()
        self._answer = _ANSWERS[graphics]
        columns, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scanside.runtime.cli.main", "tui", *(arguments or ("-c", str(config)))],
            stdin=slave,
            stdout=slave,
            stderr=slave,  # where Textual draws
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "XDG_CONFIG_HOME": str(config.parent),
            },
            start_new_session=True,
        )
        os.close(slave)
        self._text = b""

    def read(self, seconds: float) -> bytes:
        """What comes within a time; empty when nothing does."""
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            raise CaseError(
                "The terminal has ended while it was measured; run `scanside tui` by hand."
            ) from None
        if _WHO in data:
            os.write(self._master, self._answer)
        self._text = (self._text + data)[-(1 << 20) :]
        return data

    def wait(self, words: bytes, seconds: float = 60.0) -> float:
        """Until words have been sent; returns when, on the monotonic clock."""
        deadline = time.monotonic() + seconds
        while words not in self._text:
            if time.monotonic() > deadline:
                raise CaseError(f"The terminal did not show {words!r} within {seconds:g} s.")
            self.read(0.05)
        return time.monotonic()

    @property
    def keyboard(self) -> int:
        """Where keys are written."""
        return self._master

    def bytes_a_second(self, seconds: float) -> float:
        """What is sent while nobody types, within a minute of the clock: its change is what may be drawn at rest."""
        left = 60 - time.time() % 60
        if left < seconds + 2:
            self.settle(left + 2)
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            count += len(self.read(0.05))
        return round(count / (time.monotonic() - begin), 1)

    def settle(self, seconds: float) -> None:
        """Take what comes for a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.05)

    def press(self, key: bytes) -> float | None:
        """Press a key; returns the seconds to the last byte that came of it, None when none came within a second."""
        while self.read(0.0):
            pass
        begin = time.monotonic()
        os.write(self._master, key)
        last = None
        while self.read(1.0 if last is None else _QUIET):
            last = time.monotonic()
        return None if last is None else last - begin

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu(self, seconds: float) -> float:
        """Part of one core that it takes when nobody does anything."""
        before, begin = self.cpu_seconds(), time.monotonic()
        self.settle(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - begin)

    def memory_mib(self) -> float:
        """Largest resident set so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)  # a demonstration ends its service first
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


def _opening(config: Path) -> tuple[float, float]:
    """Seconds from starting the command to the first screen with cases on it; and the processor time till then."""
    with Terminal(config) as terminal:
        terminal.wait(b"RESEARCH USE ONLY")
        wall = terminal.wait("✓ done".encode()) - terminal.began
        return wall, terminal.cpu_seconds()


def _presses(terminal: Terminal, count: int, plan: Sequence[bytes] = _THROUGH_THE_LIST) -> list[float]:
    """Press keys, one after the other and again."""
    times = [terminal.press(plan[number % len(plan)]) for number in range(count)]
    lost = times.count(None)
    if lost > max(1, count // 10):
        raise CaseError(
            f"{lost} of {count} keys did not change the screen; the terminal cannot be measured so."
        )
    return [seconds for seconds in times if seconds is not None]


@contextmanager
def _events(config: Path, often: float = _EVENTS_A_SECOND) -> Iterator[Any]:
    """Progress of a running case, so often a second, from another process's connection; yields how many so far."""
    loaded = load_config(config)
    stop, count = threading.Event(), [0]

    def send() -> None:
        with Database(loaded.database, durable=False) as database:
            job = jobs.running(database)[0].job
            begin = time.monotonic()
            while not stop.wait(max(0.0, begin + (count[0] + 1) / often - time.monotonic())):
                count[0] += 1
                jobs.progress(database, job, "t2w: network", count[0] % 1000, 1000, time.time() + 3600)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield lambda: count[0]
    finally:
        stop.set()
        thread.join()


@contextmanager
def _heartbeats(config: Path) -> Iterator[None]:
    """Signs of life, as a service that runs gives them."""
    loaded = load_config(config)
    stop = threading.Event()

    def live() -> None:
        while True:
            for name in NAMES:
                beat(loaded, name)
            if stop.wait(1.0):
                return

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _prepare(folder: Path, studies: int) -> Path:
    """A configuration, and a store that months of work have filled."""
    config = folder / "scanside.toml"
    data = folder / "data"
    config.write_text(
        f"[service]\ndata = {json.dumps(str(data))}\nbundle = {json.dumps(str(folder / 'none.bundle'))}\n"
        "research_use_only = true\n[receive]\nreserve_gb = 0\n"
        '[[destinations]]\nkind = "dicom"\nname = "PACS"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    )
    _say(f"a store of {studies} studies …")
    with (
        Database(data / "scanside.db", create=True, durable=False) as database,
        database.transaction() as write,
    ):
        now = time.time()
        for number in range(studies):
            _study(write, number, now - 300.0 * number)
        _opened(write, folder, data, now + 60)
        write.execute("UPDATE meta SET value = ? WHERE key = 'tick'", (str(studies),))
    return config


def _opened(write: Any, folder: Path, data: Path, at: float) -> None:
    """A study with images, whose result is gone: it is opened, and its series are chosen by the rules."""
    import pydicom

    (study,) = phantom_studies(folder / "phantom", ("typical",), 8)
    uid = "1.2.826.0.999999"
    _insert(
        write, "studies", study_uid=uid, case_id=OPENED, calling="MR0", patient_id="", patient_name="", arrived=at,
        last_received=at, last_active=at,
    )  # fmt: skip
    for number, file in enumerate(sorted(study.path.rglob("*.dcm"))):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        place = Path(OPENED) / f"{number}.dcm"
        (data / "spool" / place).parent.mkdir(parents=True, exist_ok=True)
        file.rename(data / "spool" / place)
        _insert(
            write, "instances", sop_uid=str(header.SOPInstanceUID), study_uid=uid, path=str(place),
            series_uid=str(header.SeriesInstanceUID), sha256="0" * 64, size=0, received=at,
        )  # fmt: skip
    _insert(
        write, "jobs", study_uid=uid, state=State.CANCELLED, created=at, changed=at, tick=0, attempts=1,
    )  # fmt: skip


def _study(write: Any, number: int, at: float) -> None:
    """One study: the second one is running, a few are in trouble, most are done and delivered."""
    uid, case_id = f"1.2.826.0.{number}", f"{number:05}-BENCH"
    state = State.RUNNING if number == 1 else State.QUARANTINED if number % 97 == 5 else State.DONE
    done = state is State.DONE
    _insert(
        write, "studies", study_uid=uid, case_id=case_id, calling=f"MR{number % 3}", patient_id="", patient_name="",
        arrived=at, last_received=at, last_active=at,
    )  # fmt: skip
    for image in range(_IMAGES):
        _insert(
            write, "instances", sop_uid=f"{uid}.{image}", study_uid=uid, series_uid=f"{uid}.9{image % 3}", path="x",
            sha256="0" * 64, size=100_000, received=at,
        )  # fmt: skip
    status = ("ok", "ok", "ok", "indeterminate", "no lesion segmented")[number % 5] if done else None
    chance = (number * 37 % 100) / 100 if status == "ok" else None
    job = number + 1
    _insert(
        write, "jobs", job=job, study_uid=uid, state=state, created=at, changed=at, tick=number, attempts=1, started=at,
        stage="t2w: network" if number == 1 else None, done=1, total=1000, finished=at + 60 if done else None,
        status=status, probability=chance, low=chance, high=chance, result="x" if done else None,
        reason=None if done else "The network ran out of memory; free some.",
    )  # fmt: skip
    if done:
        for stage, ms in (("read", 2000), ("t2w: network", 30_000), ("radiomics", 8000), ("total", 41_000)):
            _insert(write, "timings", job=job, stage=stage, ms=ms, at=at + 60)
        for kind in ("seg", "sr", "sc"):
            _insert(
                write, "outbox", job=job, destination="PACS", kind=kind, sop_class="1.2", sop_uid=f"{uid}.{kind}",
                path="x", state="committed", changed=at,
            )  # fmt: skip


def _insert(write: Any, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    write.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def _summary(samples: Sequence[float]) -> dict[str, Any]:
    """Nearest-rank quantiles of some seconds."""
    ordered = sorted(samples)
    ranks = {name: ordered[max(0, math.ceil(part * len(ordered)) - 1)] for name, part in
             (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}  # fmt: skip
    return {
        "samples": len(ordered),
        **{name: round(value, 4) for name, value in ranks.items()},
        "max": round(ordered[-1], 4),
    }


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
