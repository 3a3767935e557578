"""Pieces that panels are put together from: coloured words, bars, names. Pure functions."""

import re
from collections.abc import Iterable

from textual.content import Content

from scanside.runtime.radiomics.names import FeatureName
from scanside.tui.format import TITLES
from scanside.tui.tones import quiet

Line = Content

_LOG = re.compile(r"log-sigma-(\d+)-(\d+)-mm-3D")


def line(*parts: str | Content) -> Line:
    """A line of several pieces."""
    return Content.assemble(*parts)


def lines(parts: Iterable[Content | str]) -> Content:
    """Lines below each other."""
    return Content("\n").join([Content(part) if isinstance(part, str) else part for part in parts])


def entry(label: str, *parts: str | Content, width: int = 11) -> Line:
    """A label and what it says."""
    return Content.assemble(quiet(f"{label:<{width}} "), *parts)


def feature_name(name: str) -> str:
    """`adc_log-sigma-4-0-mm-3D_firstorder_TotalEnergy` as `ADC LoG 4.0 mm firstorder TotalEnergy`; else unchanged."""
    try:
        found = FeatureName.read(name)
    except ValueError:
        return name
    image = "" if found.image == "original" else _LOG.sub(r"LoG \1.\2 mm", found.image)
    parts = TITLES.get(found.sequence, found.sequence), image, found.kind, found.feature.replace("_", " ")
    return " ".join(part for part in parts if part)


def range_bar(value: float, low: float, median: float, high: float, width: int) -> tuple[str, str]:
    """Where a value lies in the middle 90 % of the training cohort, drawn and said.

    The bar reaches a quarter of the range beyond it; `┄` is outside, `─` inside, `┼` the median, `●` the value, and
    `◀`, `▶` a value that lies beyond the bar.

    Returns:
        The bar, and `in range`, `below` or `above`.
    """
    span = max(high - low, 1e-12)
    first, last = low - span / 4, high + span / 4

    def cell(x: float) -> int:
        return round((x - first) / (last - first) * (width - 1))

    bar = ["─" if cell(low) <= n <= cell(high) else "┄" for n in range(width)]
    bar[min(max(cell(median), 0), width - 1)] = "┼"
    if value < first:
        bar[0] = "◀"
    elif value > last:
        bar[-1] = "▶"
    else:
        bar[cell(value)] = "●"
    return "".join(bar), "below" if value < low else "above" if value > high else "in range"


def chance_bar(value: float, low: float, high: float, width: int) -> str:
    """A probability from 0 to 1: `━` its calibration interval, `●` itself."""
    bar = ["━" if round(low * (width - 1)) <= n <= round(high * (width - 1)) else "┄" for n in range(width)]
    bar[round(value * (width - 1))] = "●"
    return "".join(bar)


def number(value: float) -> str:
    """Four digits, as short as they go."""
    return f"{value:.4g}"
