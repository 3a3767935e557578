"""Control charts over all runs, as pictures within the page."""

from collections.abc import Sequence
from html import escape

from scanside.runtime.acceptance.compare import Series, differences_over, limits, times_over
from scanside.runtime.acceptance.record import Report

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360.0, 130.0, 46.0, 10.0, 10.0, 22.0


def charts(reports: Sequence[Report]) -> str:
    """A section of HTML with a chart a figure; empty for a single run.

    Args:
        reports: Every run, the oldest first; the last one is the newest.
    """
    if len(reports) < 2:
        return ""
    drawn = "".join(_figure(series) for series in (differences_over(reports), *times_over(reports)))
    return (
        f"<section><h2>Over all {len(reports)} runs</h2><p>Each point is the median of a run. Grey lines are "
        f"mean and limits of the earlier runs, where there are enough.</p><div class=charts>{drawn}</div></section>"
    )


def _figure(series: Series) -> str:
    unit = "" if series.unit == "1" else f", {series.unit}"
    return f"<figure><figcaption>{escape(series.name)}{unit}</figcaption>{chart(series)}</figure>"


def chart(series: Series) -> str:
    """One chart as SVG: runs from left to right, the newest filled; red where it is above its limit."""
    values = [value for _, value in series.points]
    bounds = limits(values[:-1])
    lines = [] if bounds is None else [bounds.low, bounds.middle, bounds.high]
    low, high = min([*values, *lines, 0.0]), max([*values, *lines])
    high = high if high > low else low + 1.0

    def at(number: int, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (number / max(len(values) - 1, 1))
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [_axis(low, high, at(0, low)[1], at(0, high)[1])]
    for value in lines:
        y = at(0, value)[1]
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#9aa3ad" '
            f'stroke-dasharray="{"4 3" if value != lines[1] else "none"}"/>'
        )
    places = [at(number, value) for number, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#1a1f24" stroke-width="1.2"/>')
    outside = bounds is not None and values[-1] > bounds.high
    for number, (x, y) in enumerate(places):
        last = number == len(places) - 1
        fill = ("#b3261e" if outside else "#1a1f24") if last else "#fff"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="#1a1f24"/>')
    for place, anchor, text in (
        (_LEFT, "start", series.points[0][0][:10]),
        (_WIDTH - _RIGHT, "end", series.points[-1][0][:10]),
    ):
        parts.append(_text(place, _HEIGHT - 6, anchor, text))
    head = f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(series.name)}">'
    return f"{head}{''.join(parts)}</svg>"


def _axis(low: float, high: float, bottom: float, top: float) -> str:
    line = f'<line x1="{_LEFT}" x2="{_LEFT}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="#1a1f24"/>'
    return (
        line
        + _text(_LEFT - 5, bottom + 3, "end", f"{low:.3g}")
        + _text(_LEFT - 5, top + 3, "end", f"{high:.3g}")
    )


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="9" text-anchor="{anchor}" fill="#5b6570">{escape(words)}</text>'
