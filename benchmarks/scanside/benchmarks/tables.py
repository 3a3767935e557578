"""Records as tables: Markdown that is also readable on a terminal. A column is a title and a template of a record.

Templates are Python's own format strings over a record's fields, `{wall_ms.median!t}`, with conversions for what
results are made of: `!t` a time of ms in words, `!x` a shape, `!l` a list, `!i` the interval of a distribution.
What is absent is –.
"""

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scanside.benchmarks.distribution import Distribution

DISTRIBUTION = {
    "median": "{median!t}", "95 % interval": "{!i}", "p90": "{p90!t}", "p99": "{p99!t}", "max": "{max!t}",
}  # fmt: skip
"""Columns of a distribution of ms."""


class _Cells(string.Formatter):
    """Fields of a record, and the conversions above; `{}` is the record itself."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return args[0] if isinstance(key, int) else getattr(args[0], key)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "t":
            return ms(value)
        if conversion == "x":
            return " × ".join(map(str, value))
        if conversion == "l":
            return ", ".join(value) or "none"
        if conversion == "i":
            return interval(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        return "–" if value is None else str(super().format_field(value, format_spec))


def words(template: str, record: object) -> str:
    """A template filled from a record."""
    return _Cells().format(template, record)


def cells(columns: Mapping[str, str], record: object) -> tuple[str, ...]:
    """A record as one row."""
    return tuple(words(template, record) for template in columns.values())


def table(columns: Mapping[str, str], records: Iterable[object]) -> list[str]:
    """Records as a table, a row each."""
    return aligned([tuple(columns), *(cells(columns, record) for record in records)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table, the first one its head, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def ms(value: float | None) -> str:
    """A time in words."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def interval(found: Distribution) -> str:
    """The 95 % interval of a median of ms."""
    return "–" if found.low is None else f"{ms(found.low)} … {ms(found.high)}"


def number(value: float, unit: str) -> str:
    """A value with three digits or so, and its unit."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def score(value: float | None) -> str:
    """A Dice."""
    return "–" if value is None else f"{value:.4f}"
