"""Tables as Markdown that is also readable on a terminal, and figures and facts in words. What is absent is –."""

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table, the first one its head, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def told(value: Any) -> str:
    """Facts in words: `origin phantom, shape 25 × 200 × 252`; what is absent is left out."""
    if isinstance(value, Mapping):
        inside = {name: told(one) for name, one in value.items() if one not in (None, [], {})}
        return ", ".join(
            f"{name} ({words})" if isinstance(value[name], Mapping) else f"{name} {words}"
            for name, words in inside.items()
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = all(isinstance(one, int | float) for one in value)
        return (" × " if numbers else ", ").join(map(told, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def amount(value: float | None, unit: str) -> str:
    """A value with three digits or so, and its unit; ms from 1000 on as s."""
    if value is None:
        return "–"
    if unit.endswith("ms") and value >= 1000:
        return f"{value / 1000:.2f} {unit.removesuffix('ms')}s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {'' if unit == '1' else unit}".rstrip()


def ms(value: float | None) -> str:
    """A time in words."""
    return amount(value, "ms")


def score(value: float | None) -> str:
    """A Dice."""
    return "–" if value is None else f"{value:.4f}"
