"""Committed results files, and how their figures are written in documents."""

import json
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


def times(ratio: dict[str, float]) -> str:
    """`2.6–3.0 ×` where rounds differ in what is shown, else `7.2 ×`."""
    low, high = (f"{ratio[end]:.1f}" if ratio[end] < 10 else f"{ratio[end]:.0f}" for end in ("min", "max"))
    return f"{low}\N{NO-BREAK SPACE}×" if low == high else f"{low}–{high}\N{NO-BREAK SPACE}×"


def interval(found: dict[str, Any], key: str = "interval", of: str = "value") -> str:
    """`0.44 (0.38–0.50)`."""
    low, high = found[key]
    return f"{found[of]:.2f} ({low:.2f}–{high:.2f})"
