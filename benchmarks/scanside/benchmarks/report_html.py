"""`scanside bench report`: plots and one HTML page of one or more runs. The same results give the same files."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport, StudyWay
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.latency_results import LATENCY, LatencyReport, StudyLatency
from scanside.benchmarks.report_tables import render
from scanside.benchmarks.results import read_back
from scanside.benchmarks.scale_results import SCALE, ScaleReport
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.report import RESEARCH
from scanside.runtime.study.names import spoken

_MOST_STAGES = 14
_INDENT = re.compile(r"\| ( +)(?=[^\s|])")
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

Report = LatencyReport | ApplianceReport | ScaleReport


def read_any(path: Path) -> Report:
    """Read the results of `bench run`, `bench appliance` or `bench scale`.

    Raises:
        InputError: If it is missing or no such file.
    """
    kinds: dict[str, type[Report]] = {
        LATENCY: LatencyReport, APPLIANCE: ApplianceReport, SCALE: ScaleReport,
    }  # fmt: skip
    kind: type[Report] = LatencyReport
    with suppress(OSError, ValueError, AttributeError):  # reading it again says what is wrong
        kind = kinds.get(json.loads(path.read_bytes()).get("schema"), LatencyReport)
    return read_back(kind, path, "scanside bench run`, `appliance` or `scale")


def write_report(reports: Sequence[Report], out: Path) -> list[Path]:
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


def _section(report: Report) -> str:
    quoted = f"Not to be quoted: {escape(' '.join(report.remarks))}"
    warn = "" if report.headline else f'<p class="warn">{quoted}</p>'
    what = "What size costs"
    if not isinstance(report, ScaleReport):
        way = (
            "Whole studies, files to results"
            if isinstance(report, LatencyReport)
            else "The appliance, sender to PACS"
        )
        what = f"{way}: {report.bundle.name} {report.bundle.version} on {report.device.obtained}"
    when = f"{report.created}; commit {report.git.commit[:12] if report.git else 'unknown'}"
    # A table of ours is Markdown; names may hold a tag, or emphasis. What is part of the row above stays indented.
    escaped = _MARKS.sub(lambda found: f"\\{found[0]}", spoken(render(report)))
    indented = _INDENT.sub(lambda found: f"| {'&emsp;' * (len(found[1]) // 2)}", escaped)
    table = MarkdownIt("commonmark", {"html": False}).enable("table").render(indented)
    return (
        f'<h2>{escape(what)}</h2><p class="about">{escape(report.machine.processor)}; {escape(when)}; '
        f"<code>{escape(' '.join(report.command))}</code></p>{warn}{table}"
    )


def _figures(report: Report) -> list[tuple[str, Any]]:
    if isinstance(report, ScaleReport):
        axes = dict.fromkeys(point.axis for point in report.points)
        return [(f"scale-{axis}", _growth(report, axis)) for axis in axes]
    if isinstance(report, ApplianceReport):
        parts = [(f"parts-{one.name}", _parts(one, report.quiet_seconds)) for one in report.studies]
        ways = {one.name: one.way.whole_ms for one in report.studies}
        return [*parts, *([("way", _latencies(ways))] if ways else [])]
    figures = [(f"stages-{one.name}", _stages(one)) for one in report.studies]
    figures.append(("latency", _latencies({one.name: one.single.wall_ms for one in report.studies})))
    return [*figures, *([("size", _cost(report.studies))] if len(report.studies) > 1 else [])]


def _new(height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _lines(axes: Any, x: Sequence[float], lines: Mapping[str, tuple[str, Sequence[float]]]) -> None:
    """Costs over sizes, both from zero."""
    for label, (color, values) in lines.items():
        axes.plot(x, values, marker="o", label=label, color=color)


def _from_zero(axes: Any, xlabel: str, ylabel: str) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend()


def _growth(report: ScaleReport, axis: str) -> Any:
    """Time and memory along an axis. The largest image has more classes: it is no point of the line."""
    along = sorted((p for p in report.points if p.axis == axis), key=lambda p: p.value)
    points = [p for p in along if axis == "classes" or p.classes == along[0].classes]
    unit = 1e6 if axis == "voxels" else 1
    figure, (time, memory) = _new(3.6, 2)
    values = [p.value / unit for p in points]
    whole, network = ([getattr(p, name).median / 1000 for p in points] for name in ("wall_ms", "network_ms"))
    _lines(time, values, {"whole": (_BLACK, whole), "network": (_RED, network)})
    peak, before = [p.peak_mib for p in points], [p.baseline_mib for p in points]
    _lines(memory, values, {"peak": (_BLACK, peak), "before": (_BLUE, before)})
    for p in (p for p in along if p not in points):
        x, classes = p.value / unit, f"{p.classes} classes"
        time.plot(x, p.wall_ms.median / 1000, "*", color=_BLACK, label=f"whole, {classes}")
        memory.plot(x, p.peak_mib, "*", color=_BLACK, label=f"peak, {classes}")
    memory.axhline(report.ceiling_mib, color=_RED, linestyle="--", label="ceiling")
    for axes, word in ((time, "s"), (memory, "MiB")):
        _from_zero(axes, "million voxels" if axis == "voxels" else axis, word)
    return figure


def _cost(studies: Sequence[StudyLatency]) -> Any:
    ordered = sorted(studies, key=lambda study: study.voxels)
    figure, axes = _new(4)
    shown = (
        ("whole", _BLACK, "wall_ms"),
        ("network", _RED, "network_ms"),
        ("everything else", _BLUE, "rest_ms"),
    )
    lines = {
        title: (color, [getattr(study.single, name).median for study in ordered])
        for title, color, name in shown
    }
    _lines(axes, [study.voxels / 1e6 for study in ordered], lines)
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


def _parts(study: StudyWay, quiet: float) -> Any:
    """The parts of the way from the last instance to the report."""
    way = study.way
    compute, inference = way.compute_ms.median, way.inference_ms.median
    parts = (
        ("quiet time, as configured", 1000 * quiet, "#cccccc"),
        ("until complete, beyond it", way.completeness_ms.median - 1000 * quiet, "#888888"),
        ("queue", way.queue_ms.median, _BLUE),
        ("inference", inference, _RED),
        ("computing, the rest: files", compute - inference, "#d89a3a"),
        ("deliver", way.deliver_ms.median, "#3a8a5a"),
    )
    count = len(way.whole_ms.samples)
    return _cascade(
        parts, "ms from the last instance acknowledged", f"{study.name}: medians of {count} studies"
    )


def _stages(study: StudyLatency) -> Any:
    """Stages in order, the longest shown."""
    stages = {name: found.median for name, found in study.single.stages_ms.items()}
    longest = set(sorted(stages, key=lambda name: -stages[name])[:_MOST_STAGES])
    parts = [
        (spoken(name), ms, (_RED if "slide" in name else _BLUE) if name in longest else None)
        for name, ms in stages.items()
    ]
    count = len(study.single.wall_ms.samples)
    return _cascade(
        parts, "ms from the start; red: tiles and network", f"{study.name}: medians of {count} repetitions"
    )


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
