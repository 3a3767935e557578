"""`scanside bench report`: plots and one HTML page of one or more runs. The same results give the same files."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Measured, Measurements
from scanside.benchmarks.tables import render
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.report import RESEARCH
from scanside.runtime.study.names import spoken

_MOST_STAGES = 14
_MARKS = re.compile(r"[<>&_*`\[\]\\]")
_BLACK, _RED, _BLUE = "#222222", "#b5432a", "#2a6ab5"
_NO_DATE: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Measured</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h2 {{ border-top: 1px solid #ddd; padding-top: 1rem; margin-top: 2.5rem }} .about {{ color: #555; font-size: .9rem }}
table {{ display: block; width: max-content; max-width: 100%; overflow-x: auto; border-collapse: collapse;
  font-size: .9rem; font-variant-numeric: tabular-nums; margin: 1rem 0 }}
th, td {{ padding: .25rem .7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid #ddd }}
th {{ color: #555; font-weight: 600; border-bottom: 2px solid #999 }} code {{ overflow-wrap: anywhere }}
img {{ max-width: 100%; height: auto }} .warn {{ background: #fff3cd; padding: .6rem 1rem }}
figure {{ overflow-x: auto; margin: 1rem 0 }}
@media (max-width: 50rem) {{ figure img {{ max-width: none; width: 44rem }} }}
</style></head><body><h1>Measured on this machine</h1>
<p>{research}</p>
{body}
</body></html>
"""

_TITLES = {
    "run": "Whole studies, files to results", "appliance": "The appliance, sender to PACS",
    "scale": "What size costs", "peers": "nnunetv2 and its peers", "gpu": "Whole cases on a GPU",
}  # fmt: skip
_OVERALL = {"run": "warm", "appliance": "last instance to report", "peers": "cold", "gpu": "whole case"}
"""The quantity of which every sample is drawn."""


def write_report(reports: Sequence[Measurements], out: Path) -> list[Path]:
    """Write `report.html`, and each plot as PNG and SVG; returns the files.

    Raises:
        OutputError: If they cannot be written.
    """
    import matplotlib

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another -o.") from error
    files, body = [], []
    with matplotlib.rc_context({"svg.hashsalt": "scanside"}):
        for number, report in enumerate(reports):
            body.append(_section(report))
            prefix = f"{number + 1}-" if len(reports) > 1 else ""
            for name, figure in _figures(report):
                stem = re.sub(
                    r"[^\w.-]+", "_", name
                )  # a study's name is its folder's, which may hold anything
                for ending in ("png", "svg"):
                    files.append(out / f"{prefix}{stem}.{ending}")
                    with atomic_write(files[-1]) as temporary:
                        figure.savefig(temporary, format=ending, dpi=120, metadata=_NO_DATE[ending])
                inline = io.BytesIO()
                figure.savefig(inline, format="png", dpi=110, metadata=_NO_DATE["png"])
                source = f"data:image/png;base64,{base64.b64encode(inline.getvalue()).decode()}"
                body.append(f'<figure><img alt="{escape(name)}" src="{source}"></figure>')
    page = out / "report.html"
    with atomic_write(page) as temporary:
        temporary.write_text(_PAGE.format(research=escape(RESEARCH), body="\n".join(body)), encoding="utf-8")
    return [page, *files]


def _section(report: Measurements) -> str:
    quoted = f"Not to be quoted: {escape(' '.join(report.remarks))}"
    warn = "" if report.headline else f'<p class="warn">{quoted}</p>'
    bundle = f": {report.bundle.name} {report.bundle.version}" if report.bundle else ""
    what = f"{_TITLES.get(report.kind, report.kind)}{bundle}{f' on {report.device.obtained}' if report.device else ''}"
    when = f"{report.created}; commit {report.git.commit[:12] if report.git else 'unknown'}"
    # A table of ours is Markdown; names may hold a tag, or emphasis.
    escaped = _MARKS.sub(lambda found: f"\\{found[0]}", spoken(render(report)))
    table = MarkdownIt("commonmark", {"html": False}).enable("table").render(escaped)
    return (
        f'<h2>{escape(what)}</h2><p class="about">{escape(report.machine.processor)}; {escape(when)}; '
        f"<code>{escape(' '.join(report.command))}</code></p>{warn}{table}"
    )


def _figures(report: Measurements) -> list[tuple[str, Any]]:
    found = report.measured
    if report.kind == "scale":
        axes = dict.fromkeys(point.facts["axis"] for point in found if point.facts)
        return [(f"scale-{axis}", _growth(report, axis)) for axis in axes]
    overall = _OVERALL.get(report.kind, "")
    whole = {one.name: samples for one in found if (samples := one.find(overall))}
    studies = [one for one in found if one.name in whole]
    quiet = report.conditions.get("quiet_seconds")
    figures = [
        (f"stages-{one.name}", _stages(one)) if quiet is None else (f"parts-{one.name}", _parts(one, quiet))
        for one in studies
        if one.stages_ms
    ]
    sized = report.kind == "run" and len(studies) > 1
    drawn = [(overall, _latencies(whole))] if whole else []
    return [*figures, *drawn, *([("size", _cost(studies))] if sized else [])]


def _new(height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _from_zero(axes: Any, xlabel: str, ylabel: str) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend()


def _growth(report: Measurements, axis: str) -> Any:
    """Time and memory along an axis. The largest image has more classes: it is no point of the line."""
    along = sorted(
        (one for one in report.measured if one.facts.get("axis") == axis), key=lambda one: one.facts["value"]
    )
    line = [one for one in along if axis == "classes" or one.facts["classes"] == along[0].facts["classes"]]
    unit = 1e6 if axis == "voxels" else 1
    figure, (time, memory) = _new(3.6, 2)
    for axes, word, scale, shown in (
        (time, "s", 1000, {"whole": _BLACK, "in the network": _RED}),
        (memory, "MiB", 1, {"peak memory": _BLACK, "memory before": _BLUE}),
    ):
        for name, color in shown.items():
            values = [one.median(name) / scale for one in line]
            axes.plot(
                [one.facts["value"] / unit for one in line], values, marker="o", label=name, color=color
            )
        for one in (one for one in along if one not in line):
            name, classes = next(iter(shown)), one.facts["classes"]
            axes.plot(
                one.facts["value"] / unit,
                one.median(name) / scale,
                "*",
                color=_BLACK,
                label=f"{classes} classes",
            )
        if axes is memory:
            axes.axhline(report.conditions["ceiling_mib"], color=_RED, linestyle="--", label="ceiling")
        _from_zero(axes, "million voxels" if axis == "voxels" else axis, word)
    return figure


def _cost(studies: Sequence[Measured]) -> Any:
    ordered = sorted(studies, key=lambda study: study.facts["voxels"])
    figure, axes = _new(4)
    for name, color in (("warm", _BLACK), ("in the network", _RED), ("everything else", _BLUE)):
        voxels = [study.facts["voxels"] / 1e6 for study in ordered]
        axes.plot(voxels, [study.median(name) for study in ordered], marker="o", label=name, color=color)
    _from_zero(axes, "million voxels in a study's images", "ms")
    axes.set_title("Cost of size: medians")
    return figure


def _cascade(parts: Sequence[tuple[str, float, str | None]], xlabel: str, title: str) -> Any:
    """Parts with their ms end to end; one without a colour passes unseen."""
    shown = [part for part in parts if part[2]]
    figure, axes = _new(0.32 * len(shown) + 1.2)
    start, row = 0.0, 0
    for _, ms, color in parts:
        if color:
            axes.barh(row, ms, left=start, color=color)
            axes.text(start + max(ms, 0), row, f" {ms:.0f} ms", va="center", fontsize=8)
            row += 1
        start += ms
    axes.set_yticks(range(row), [name for name, _, _ in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, start * 1.12)
    axes.set_xlabel(xlabel)
    axes.set_title(title)
    return figure


def _parts(study: Measured, quiet: float) -> Any:
    """The parts of the way from the last instance to the report."""
    compute, inference = study.median("computing"), study.median("inference")
    parts = (
        ("quiet time, as configured", 1000 * quiet, "#cccccc"),
        ("until complete, beyond it", study.median("until complete") - 1000 * quiet, "#888888"),
        ("queue", study.median("in the queue"), _BLUE),
        ("inference", inference, _RED),
        ("computing, the rest: files", compute - inference, "#d89a3a"),
        ("deliver", study.median("delivering"), "#3a8a5a"),
    )
    return _cascade(parts, "ms from the last instance acknowledged", f"{study.name}: medians")


def _stages(study: Measured) -> Any:
    """Stages in order, the longest shown."""
    stages = {name: found.median for name, found in study.stages_ms.items()}
    longest = set(sorted(stages, key=lambda name: -stages[name])[:_MOST_STAGES])
    parts = [
        (spoken(name), ms, (_RED if "slide" in name else _BLUE) if name in longest else None)
        for name, ms in stages.items()
    ]
    return _cascade(parts, "ms from the start; red: tiles and network", f"{study.name}: medians")


def _latencies(found: Mapping[str, Distribution]) -> Any:
    """Every sample, the median and its interval, by study."""
    figure, axes = _new(4)
    for number, wall in enumerate(found.values()):
        around = [number - 0.25, number + 0.25]
        axes.scatter([number] * len(wall.samples), wall.samples, s=14, alpha=0.5, color=_BLUE)
        axes.hlines(wall.median, *around, color=_RED)
        if wall.low is not None and wall.high is not None:
            axes.fill_between(around, wall.low, wall.high, color=_RED, alpha=0.15)
    axes.set_xticks(range(len(found)), list(found))
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("ms")
    axes.set_title("Every repetition; median with its 95 % interval")
    return figure
