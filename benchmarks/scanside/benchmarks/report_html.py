"""`scanside bench report`: plots and one HTML page of one or more runs."""

import base64
import io
import json
import re
from collections.abc import Sequence
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
    """Write `report.html`, and each plot as PNG and SVG. The same results give the same files.

    Args:
        reports: At least one.

    Returns:
        The files.

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
                for ending in ("png", "svg"):
                    path = out / f"{prefix}{_file_name(name)}.{ending}"
                    with atomic_write(path) as temporary:
                        figure.savefig(temporary, format=ending, dpi=120, metadata=_NO_DATE[ending])
                    files.append(path)
                source = f"data:image/png;base64,{_inline(figure)}"
                body.append(f'<figure><img alt="{escape(name)}" src="{source}"></figure>')
    page = out / "report.html"
    with atomic_write(page) as temporary:
        temporary.write_text(_PAGE.format(research=escape(RESEARCH), body="\n".join(body)), encoding="utf-8")
    return [page, *files]


_NO_DATE: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}}


def _file_name(name: str) -> str:
    """A study's name is its folder's, which may hold anything."""
    return re.sub(r"[^\w.-]+", "_", name)


def _section(report: Report) -> str:
    warn = (
        "" if report.headline else f'<p class="warn">Not to be quoted: {escape(" ".join(report.remarks))}</p>'
    )
    what = "What size costs"
    if not isinstance(report, ScaleReport):
        way = (
            "Whole studies, files to results"
            if isinstance(report, LatencyReport)
            else "The appliance, sender to PACS"
        )
        what = f"{way}: {report.bundle.name} {report.bundle.version} on {report.device.obtained}"
    when = f"{report.created}; commit {report.git.commit[:12] if report.git else 'unknown'}"
    return (
        f'<h2>{escape(what)}</h2><p class="about">{escape(report.machine.processor)}; {escape(when)}; '
        f"<code>{escape(' '.join(report.command))}</code></p>{warn}{_readable(render(report))}"
    )


def _readable(words: str) -> str:
    """A table of ours, which is Markdown, as HTML. What is part of the row above stays indented."""
    escaped = _MARKS.sub(lambda found: f"\\{found[0]}", spoken(words))  # names may hold a tag, or emphasis
    indented = _INDENT.sub(lambda found: f"| {'&emsp;' * (len(found[1]) // 2)}", escaped)
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(indented))


def _figures(report: Report) -> list[tuple[str, Any]]:
    if isinstance(report, ScaleReport):
        return [
            (f"scale-{axis}", _growth(report, axis)) for axis in dict.fromkeys(p.axis for p in report.points)
        ]
    if isinstance(report, ApplianceReport):
        ways = [(study.name, study.way.whole_ms) for study in report.studies]
        parts = [(f"parts-{study.name}", _parts(study, report.quiet_seconds)) for study in report.studies]
        return [*parts, *([("way", _latencies(ways))] if ways else [])]
    figures = [(f"stages-{study.name}", _waterfall(study)) for study in report.studies]
    figures.append(("latency", _latencies([(study.name, study.single.wall_ms) for study in report.studies])))
    if len(report.studies) > 1:
        figures.append(("size", _cost(report.studies)))
    return figures


def _growth(report: ScaleReport, axis: str) -> Any:
    """Time and memory along an axis, both from zero."""
    from matplotlib.figure import Figure

    along = sorted((p for p in report.points if p.axis == axis), key=lambda p: p.value)
    # The largest image has more classes: it is no point of the line.
    points = [p for p in along if axis == "classes" or p.classes == along[0].classes]
    apart = [p for p in along if p not in points]
    unit = 1e6 if axis == "voxels" else 1
    values = [point.value / unit for point in points]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for title, color, costs in (
        ("whole", "#222222", [p.wall_ms.median / 1000 for p in points]),
        ("network", "#b5432a", [p.network_ms.median / 1000 for p in points]),
    ):
        time.plot(values, costs, marker="o", label=title, color=color)
    memory.plot(values, [p.peak_mib for p in points], marker="o", label="peak", color="#222222")
    memory.plot(values, [p.baseline_mib for p in points], marker="o", label="before", color="#2a6ab5")
    for p in apart:
        time.plot(
            p.value / unit, p.wall_ms.median / 1000, "*", color="#222222", label=f"whole, {p.classes} classes"
        )
        memory.plot(p.value / unit, p.peak_mib, "*", color="#222222", label=f"peak, {p.classes} classes")
    memory.axhline(report.ceiling_mib, color="#b5432a", linestyle="--", label="ceiling")
    for axes, word in ((time, "s"), (memory, "MiB")):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("million voxels" if axis == "voxels" else axis)
        axes.set_ylabel(word)
        axes.legend()
    return figure


def _parts(study: StudyWay, quiet: float) -> Any:
    """The parts of the way from the last instance to the report, end to end."""
    from matplotlib.figure import Figure

    way = study.way
    compute, inference = way.compute_ms.median, way.inference_ms.median
    parts = [
        ("quiet time, as configured", 1000 * quiet, "#cccccc"),
        ("until complete, beyond it", way.completeness_ms.median - 1000 * quiet, "#888888"),
        ("queue", way.queue_ms.median, "#2a6ab5"),
        ("inference", inference, "#b5432a"),
        ("computing, the rest: files", compute - inference, "#d89a3a"),
        ("deliver", way.deliver_ms.median, "#3a8a5a"),
    ]
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots()
    start = 0.0
    for number, (_, ms, color) in enumerate(parts):
        axes.barh(number, ms, left=start, color=color)
        axes.text(start + max(ms, 0), number, f" {ms:.0f} ms", va="center", fontsize=8)
        start += ms
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts])
    axes.invert_yaxis()
    axes.set_xlim(0, start * 1.12)
    axes.set_xlabel("ms from the last instance acknowledged")
    axes.set_title(f"{study.name}: medians of {len(way.whole_ms.samples)} studies")
    return figure


def _waterfall(study: StudyLatency) -> Any:
    """Stages in order, each beginning where the one before ended."""
    from matplotlib.figure import Figure

    stages = [(name, found.median) for name, found in study.single.stages_ms.items()]
    shown = {name for name, _ in sorted(stages, key=lambda item: -item[1])[:_MOST_STAGES]}
    figure = Figure(figsize=(9, 0.32 * len(shown) + 1.4), layout="constrained")
    axes = figure.subplots()
    start = 0.0
    names: list[str] = []
    for name, ms in stages:
        if name in shown:
            axes.barh(len(names), ms, left=start, color="#b5432a" if "slide" in name else "#2a6ab5")
            axes.text(start + ms, len(names), f" {ms:.0f} ms", va="center", fontsize=8)
            names.append(spoken(name))
        start += ms
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, start * 1.12)
    axes.set_xlabel("ms from the start; red: tiles and network")
    axes.set_title(f"{study.name}: medians of {len(study.single.wall_ms.samples)} repetitions")
    return figure


def _latencies(found: Sequence[tuple[str, Distribution]]) -> Any:
    """Every sample, the median and its interval, by study."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for number, (_, wall) in enumerate(found):
        axes.scatter([number] * len(wall.samples), wall.samples, s=14, alpha=0.5, color="#2a6ab5")
        axes.hlines(wall.median, number - 0.25, number + 0.25, color="#b5432a")
        if wall.low is not None and wall.high is not None:
            axes.fill_between(
                [number - 0.25, number + 0.25], wall.low, wall.high, color="#b5432a", alpha=0.15
            )
    axes.set_xticks(range(len(found)), [name for name, _ in found])
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(0, 1.08 * max(wall.max for _, wall in found))
    axes.set_ylabel("ms")
    axes.set_title("Every repetition; median with its 95 % interval")
    return figure


def _cost(studies: Sequence[StudyLatency]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(studies, key=lambda study: study.voxels)
    voxels = [study.voxels / 1e6 for study in ordered]
    for title, color, values in (
        ("whole", "#222222", [study.single.wall_ms.median for study in ordered]),
        ("network", "#b5432a", [study.single.network_ms.median for study in ordered]),
        ("everything else", "#2a6ab5", [study.single.rest_ms.median for study in ordered]),
    ):
        axes.plot(voxels, values, marker="o", label=title, color=color)
    axes.set_xlim(0, 1.05 * voxels[-1])
    axes.set_ylim(0, 1.08 * max(study.single.wall_ms.median for study in ordered))
    axes.set_title("Cost of size: medians")
    axes.set_xlabel("million voxels in a study's images")
    axes.set_ylabel("ms")
    axes.legend()
    return figure


def _inline(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata=_NO_DATE["png"])
    return base64.b64encode(buffer.getvalue()).decode()
