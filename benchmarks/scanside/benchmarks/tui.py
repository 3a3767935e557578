"""`scanside bench tui`: how quick the operator's terminal is, over a store of thousands of studies.

A key counts as painted when the terminal has sent the last byte that it caused.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from scanside.benchmarks.choices import TuiOptions
from scanside.benchmarks.processes import meanwhile
from scanside.benchmarks.results import Run
from scanside.benchmarks.tui_store import IMAGES, beat_every_second, events, prepare
from scanside.benchmarks.tui_terminal import GRAPHICS, SIZE, Terminal
from scanside.runtime import machine
from scanside.runtime.errors import CaseError
from scanside.runtime.record import Part

SIZES = ((80, 24), (120, 40), (200, 60))
"""Columns and rows of the terminals of which bytes are counted."""
_DOWN, _UP, _PAGE_DOWN = b"\x1b[B", b"\x1b[A", b"\x1b[6~"
_THROUGH_THE_LIST = (_DOWN, _DOWN, _DOWN, _UP, _PAGE_DOWN)
_THROUGH_THE_CASE = (*[_UP] * 7, b"c", *[_DOWN] * 7, b"c")
"""Slices and windows: pictures that were drawn a moment ago are kept, so that none may come twice."""
_EVENTS_PER_SECOND = 50
_STEADY_EVENTS = 5
"""So many per second a worker tells of how far a case is."""
_CASE_KEYS = 40


class Times(Part):
    """Seconds of something that was done several times, by nearest rank."""

    samples: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Of at least one sample."""
        ordered = sorted(seconds)

        def rank(part: float) -> float:
            return round(ordered[max(0, math.ceil(part * len(ordered)) - 1)], 4)

        return cls(samples=len(ordered), p50=rank(0.5), p95=rank(0.95), p99=rank(0.99), max=rank(1.0))


class Events(Part):
    """What many changes of the store cost."""

    asked_per_second: int
    sent_per_second: float
    key_to_paint_s: Times
    cpu_part: float
    """Part of one core."""


class Bytes(Part):
    """Bytes per second that go to the terminal when nobody types: what ssh has to carry, and what flickers."""

    at_rest: float
    while_another_computes: float


class CaseBytes(Bytes):
    """The same with a case open."""

    key_to_paint_s: Times


class Traffic(Part):
    """One kind of terminal."""

    size: tuple[int, int]
    """Columns, rows."""
    graphics: str
    worklist: Bytes
    case: CaseBytes


class TuiReport(Run):
    """`scanside bench tui`."""

    schema_: Literal["scanside.bench-tui/2"] = Field("scanside.bench-tui/2", alias="schema")
    studies: int
    images: int
    size: tuple[int, int]
    """Columns, rows of the terminal of all figures but `traffic`."""
    opening_s: Times
    """From the start of the command to the first page of cases."""
    opening_cpu_s: Times
    key_to_paint_s: Times
    """In the worklist."""
    idle_cpu_part: float
    """Part of one core."""
    events: Events
    memory_mib: float
    traffic: list[Traffic]
    demo_first_patient_s: float
    """From `scanside tui --demo` to the first synthetic patient in the list."""


def run_tui(options: TuiOptions, facts: Mapping[str, Any]) -> TuiReport:
    """Measure the terminal over a store made for it.

    Args:
        facts: Of `environment`.
    """
    versions = {**facts["versions"], **machine.versions(("textual",))}
    with tempfile.TemporaryDirectory(prefix="scanside-bench-tui-") as name:
        _say(f"a store of {options.studies} studies …")
        config = prepare(Path(name), options.studies)
        with meanwhile(partial(beat_every_second, config)):
            _say(f"opening it {options.openings} times …")
            opened = [_opening(config) for _ in range(options.openings)]
            found = _measure(config, options.keys, options.seconds)
            traffic = [
                _traffic(config, size, graphics, options.seconds) for size in SIZES for graphics in GRAPHICS
            ]
        _say("the demonstration …")
        first = _first_patient(Path(name))
    return TuiReport(
        **{**facts, "versions": versions},
        studies=options.studies,
        images=options.studies * IMAGES,
        size=SIZE,
        opening_s=Times.of([wall for wall, _ in opened]),
        opening_cpu_s=Times.of([cpu for _, cpu in opened]),
        **found,
        traffic=traffic,
        demo_first_patient_s=round(first, 1),
    )


def _opening(config: Path) -> tuple[float, float]:
    """Seconds from starting the command to the first screen with cases on it; and the processor time till then."""
    with Terminal(config) as terminal:
        terminal.wait(b"RESEARCH USE ONLY")
        wall = terminal.wait("✓ done".encode()) - terminal.began
        return wall, terminal.cpu_seconds()


def _measure(config: Path, keys: int, seconds: float) -> dict[str, Any]:
    """The fields of the report that one opened terminal can tell."""
    with Terminal(config) as terminal:
        terminal.wait(b"all ")
        terminal.settle(3.0)
        _say(f"{keys} keys …")
        pressed = _presses(terminal, keys)
        terminal.settle(2.0)
        _say(f"{seconds:g} s idle …")
        idle = terminal.cpu(seconds)
        _say(f"{seconds:g} s of {_EVENTS_PER_SECOND} events a second …")
        return {
            "key_to_paint_s": Times.of(pressed),
            "idle_cpu_part": round(idle, 4),
            "events": _under_events(terminal, config, seconds),
            "memory_mib": round(terminal.memory_mib(), 1),
        }


def _under_events(terminal: Terminal, config: Path, seconds: float) -> Events:
    with events(config, _EVENTS_PER_SECOND) as sent:
        begin, before = time.monotonic(), terminal.cpu_seconds()
        times: list[float] = []
        while time.monotonic() - begin < seconds:
            times += _presses(terminal, 5)
        spent, elapsed = terminal.cpu_seconds() - before, time.monotonic() - begin
    return Events(
        asked_per_second=_EVENTS_PER_SECOND,
        sent_per_second=round(sent() / elapsed, 1),
        key_to_paint_s=Times.of(times),
        cpu_part=round(spent / elapsed, 4),
    )


def _traffic(config: Path, size: tuple[int, int], graphics: str, seconds: float) -> Traffic:
    _say(f"bytes at {size[0]}×{size[1]}, {graphics} …")
    with Terminal(config, size, graphics) as terminal:
        terminal.wait(b"all ")
        terminal.settle(3.0)
        worklist = Bytes(**_at_rest_and_beside(terminal, config, seconds))
        os.write(terminal.keyboard, b"\r")
        terminal.wait(b"T2WI ")
        terminal.settle(5.0)
        beside = _at_rest_and_beside(terminal, config, seconds)
        pressed = Times.of(_presses(terminal, _CASE_KEYS, _THROUGH_THE_CASE))
        case = CaseBytes(**beside, key_to_paint_s=pressed)
    return Traffic(size=size, graphics=graphics, worklist=worklist, case=case)


def _at_rest_and_beside(terminal: Terminal, config: Path, seconds: float) -> dict[str, Any]:
    at_rest = terminal.bytes_per_second(seconds)
    with events(config, _STEADY_EVENTS):
        return {"at_rest": at_rest, "while_another_computes": terminal.bytes_per_second(seconds)}


def _first_patient(folder: Path) -> float:
    with Terminal(folder / "none.toml", SIZE, "half blocks", "--demo") as terminal:
        return terminal.wait(b"receiving", 180) - terminal.began


def _presses(terminal: Terminal, count: int, plan: Sequence[bytes] = _THROUGH_THE_LIST) -> list[float]:
    """Press keys, one after the other and again."""
    times = [terminal.press(plan[number % len(plan)]) for number in range(count)]
    lost = times.count(None)
    if lost > max(1, count // 10):
        raise CaseError(
            f"{lost} of {count} keys did not change the screen; the terminal cannot be measured so."
        )
    return [seconds for seconds in times if seconds is not None]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
