"""Committed results files, and how their figures are written in documents."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"


class NotToBeQuotedError(Exception):
    """A document asks for a figure of a run that called itself unfit to be quoted."""


def read(path: str) -> dict[str, Any]:
    """A results file below `results/`.

    Raises:
        NotToBeQuotedError: If the run noted that it was disturbed (`"headline": false`).
    """
    found: dict[str, Any] = json.loads((RESULTS / path).read_text())
    if found.get("headline") is False:
        raise NotToBeQuotedError(f"results/{path} is not to be quoted: {' '.join(found['remarks'])}")
    return found


def seconds(value: float) -> str:
    """Three significant digits: `0.90 s`, `44.2 s`, `184 s`."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}\N{NO-BREAK SPACE}s"


def mebibytes(value: float) -> str:
    """`1347 MiB`."""
    return f"{value:.0f}\N{NO-BREAK SPACE}MiB"


def times(ratio: float) -> str:
    """`7.2 ×`, `14 ×`."""
    return f"{ratio:.1f}\N{NO-BREAK SPACE}×" if ratio < 10 else f"{ratio:.0f}\N{NO-BREAK SPACE}×"


def spread(samples: Sequence[float], shown: Callable[[float], str]) -> str:
    """Lowest and highest of the rounds where they differ in what is shown: `171–198 s`, else `66.1 s`."""
    low, high = shown(min(samples)), shown(max(samples))
    return high if low == high else f"{low.partition(chr(0xA0))[0]}–{high}"


def interval(found: dict[str, Any], key: str = "interval", of: str = "value") -> str:
    """`0.44 (0.38–0.50)`."""
    low, high = found[key]
    return f"{found[of]:.2f} ({low:.2f}–{high:.2f})"
