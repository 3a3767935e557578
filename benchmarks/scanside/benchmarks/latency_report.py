"""`scanside bench report`: plots and one HTML page of one or more runs."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from scanside.benchmarks.latency_results import LatencyReport, StudyLatency
from scanside.benchmarks.latency_table import latency_table
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.report import RESEARCH

_MOST_STAGES = 14
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Latency</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
pre {{ overflow-x: auto; background: #f6f6f4; padding: 1rem; font-size: 13px }}
img {{ max-width: 100%; height: auto }} .warn {{ background: #fff3cd; padding: .6rem 1rem }}
</style></head><body><h1>Latency of whole studies</h1>
<p>From the study's files to SEG, SR, secondary capture and report on disk. {research}</p>
{body}
</body></html>
"""


def write_report(reports: Sequence[LatencyReport], out: Path) -> list[Path]:
    """Write `report.html`, and each plot as PNG and SVG.

    Args:
        reports: At least one.

    Returns:
        The files.

    Raises:
        OutputError: If they cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "scanside"  # the same results give the same file
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another -o.") from error
    files, body = [], []
    for number, report in enumerate(reports):
        body.append(_section(report))
        prefix = f"{number + 1}-" if len(reports) > 1 else ""
        for name, figure in _figures(report):
            for ending in ("png", "svg"):
                path = out / f"{prefix}{name}.{ending}"
                with atomic_write(path) as temporary:
                    figure.savefig(temporary, format=ending, dpi=120, metadata=_NO_DATE[ending])
                files.append(path)
            body.append(f'<img alt="{escape(name)}" src="data:image/png;base64,{_inline(figure)}">')
    page = out / "report.html"
    with atomic_write(page) as temporary:
        temporary.write_text(_PAGE.format(research=escape(RESEARCH), body="\n".join(body)), encoding="utf-8")
    return [page, *files]


_NO_DATE: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}}


def _section(report: LatencyReport) -> str:
    warn = (
        "" if report.headline else f'<p class="warn">Not to be quoted: {escape(" ".join(report.remarks))}</p>'
    )
    title = f"{report.bundle.name} {report.bundle.version} on {report.device.obtained}, {report.machine.processor}"
    when = f"{report.created}; commit {report.git.commit[:12] if report.git else 'unknown'}"
    command = escape(" ".join(report.command))
    return (
        f"<h2>{escape(title)}</h2><p>{escape(when)}; <code>{command}</code></p>{warn}"
        f"<pre>{escape(latency_table(report))}</pre>"
    )


def _figures(report: LatencyReport) -> list[tuple[str, Any]]:
    measured = [study for study in report.studies if study.single]
    figures = [(f"stages-{study.name}", _waterfall(study)) for study in measured]
    if measured:
        figures.append(("latency", _latencies(measured)))
    if len(measured) > 1:
        figures.append(("size", _cost(measured)))
    return figures


def _waterfall(study: StudyLatency) -> Any:
    """Stages in order, each beginning where the one before ended."""
    from matplotlib.figure import Figure

    assert study.single is not None
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
            names.append(name)
        start += ms
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, start * 1.12)
    axes.set_xlabel("ms from the begin; red: tiles and network")
    axes.set_title(f"{study.name}: medians of {len(study.single.wall_ms.samples)} repetitions")
    return figure


def _latencies(studies: Sequence[StudyLatency]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for number, study in enumerate(studies):
        assert study.single is not None
        wall = study.single.wall_ms
        axes.scatter([number] * len(wall.samples), wall.samples, s=14, alpha=0.5, color="#2a6ab5")
        axes.hlines(wall.median, number - 0.25, number + 0.25, color="#b5432a")
        if wall.low is not None and wall.high is not None:
            axes.fill_between(
                [number - 0.25, number + 0.25], wall.low, wall.high, color="#b5432a", alpha=0.15
            )
    axes.set_xticks(range(len(studies)), [study.name for study in studies])
    axes.set_ylim(bottom=0)
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
        ("whole", "#222222", [study.single.wall_ms.median for study in ordered if study.single]),
        ("network", "#b5432a", [study.single.network_ms.median for study in ordered if study.single]),
        ("everything else", "#2a6ab5", [study.single.rest_ms.median for study in ordered if study.single]),
    ):
        axes.plot(voxels, values, marker="o", label=title, color=color)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("million voxels in a study's images")
    axes.set_ylabel("ms")
    axes.legend()
    return figure


def _inline(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
