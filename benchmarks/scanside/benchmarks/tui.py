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
from typing import Any

from scanside.benchmarks.choices import TuiOptions
from scanside.benchmarks.conditions import measurements
from scanside.benchmarks.processes import meanwhile
from scanside.benchmarks.results import Measured, Measurements, measured
from scanside.benchmarks.tui_store import IMAGES, beat_every_second, events, prepare
from scanside.benchmarks.tui_terminal import GRAPHICS, SIZE, Terminal
from scanside.runtime import machine
from scanside.runtime.errors import CaseError

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
_PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def run_tui(options: TuiOptions, facts: Mapping[str, Any]) -> Measurements:
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
    terminal = {
        "size": list(SIZE), "opening_s": times([wall for wall, _ in opened]),
        "opening_cpu_s": times([cpu for _, cpu in opened]), **found, "demo_first_patient_s": round(first, 1),
    }  # fmt: skip
    return measurements(
        "tui", {**facts, "versions": versions}, [measured("terminal", terminal, []), *traffic], facts["remarks"],
        headline=True, conditions={"studies": options.studies, "images": options.studies * IMAGES},
    )  # fmt: skip


def times(seconds: Sequence[float]) -> dict[str, float]:
    """How many `samples` there are, and their percentiles `p50`, `p95`, `p99` and `max` by nearest rank, s."""
    ordered = sorted(seconds)
    ranks = {name: max(0, math.ceil(part * len(ordered)) - 1) for name, part in _PARTS.items()}
    return {"samples": len(ordered), **{name: round(ordered[rank], 4) for name, rank in ranks.items()}}


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
            "key_to_paint_s": times(pressed),
            "idle_cpu_part": round(idle, 4),
            "events": _under_events(terminal, config, seconds),
            "memory_mib": round(terminal.memory_mib(), 1),
        }


def _under_events(terminal: Terminal, config: Path, seconds: float) -> dict[str, Any]:
    with events(config, _EVENTS_PER_SECOND) as sent:
        begin, before = time.monotonic(), terminal.cpu_seconds()
        pressed: list[float] = []
        while time.monotonic() - begin < seconds:
            pressed += _presses(terminal, 5)
        spent, elapsed = terminal.cpu_seconds() - before, time.monotonic() - begin
    return {
        "asked_per_second": _EVENTS_PER_SECOND, "sent_per_second": round(sent() / elapsed, 1),
        "key_to_paint_s": times(pressed), "cpu_part": round(spent / elapsed, 4),
    }  # fmt: skip


def _traffic(config: Path, size: tuple[int, int], graphics: str, seconds: float) -> Measured:
    """Bytes per second to one kind of terminal when nobody types: what ssh has to carry, and what flickers."""
    _say(f"bytes at {size[0]}×{size[1]}, {graphics} …")
    with Terminal(config, size, graphics) as terminal:
        terminal.wait(b"all ")
        terminal.settle(3.0)
        worklist = _at_rest_and_beside(terminal, config, seconds)
        os.write(terminal.keyboard, b"\r")
        terminal.wait(b"T2WI ")
        terminal.settle(5.0)
        case = _at_rest_and_beside(terminal, config, seconds)
        pressed = _presses(terminal, _CASE_KEYS, _THROUGH_THE_CASE)
    case["key_to_paint_s"] = times(pressed)
    facts = {"size": list(size), "graphics": graphics, "worklist": worklist, "case": case}
    return measured(f"{size[0]} × {size[1]}, {graphics}", facts, [])


def _at_rest_and_beside(terminal: Terminal, config: Path, seconds: float) -> dict[str, Any]:
    at_rest = terminal.bytes_per_second(seconds)
    with events(config, _STEADY_EVENTS):
        return {"at_rest": at_rest, "while_another_computes": terminal.bytes_per_second(seconds)}


def _first_patient(folder: Path) -> float:
    with Terminal(folder / "none.toml", SIZE, "half blocks", "--demo") as terminal:
        return terminal.wait(b"receiving", 180) - terminal.began


def _presses(terminal: Terminal, count: int, plan: Sequence[bytes] = _THROUGH_THE_LIST) -> list[float]:
    """Press keys, one after the other and again."""
    pressed = [terminal.press(plan[number % len(plan)]) for number in range(count)]
    lost = pressed.count(None)
    if lost > max(1, count // 10):
        raise CaseError(
            f"{lost} of {count} keys did not change the screen; the terminal cannot be measured so."
        )
    return [seconds for seconds in pressed if seconds is not None]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
