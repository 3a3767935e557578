"""Results as tables: Markdown that is also readable on a terminal."""

from collections.abc import Sequence

from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import Agreement, Margins, Metric, ParityReport, PeersReport, Record

_ROWS = {
    ("cold", "wall"): "cold command",
    ("cold", "cpu"): "cold command, CPU time",
    ("cold", "peak_memory"): "cold, peak memory",
    ("warm", "wall"): "warm, array to labels",
    ("warm", "network"): "warm, in the network",
    ("warm", "outside"): "warm, outside the network",
    ("warm", "cpu"): "warm, CPU time",
    ("warm", "peak_memory"): "warm, peak memory",
}
"""What the table shows; the results file has more."""


def peers_table(report: PeersReport) -> str:
    """The table of `scanside bench peers`, with its conditions above and the labels below."""
    rows = [("case", "quantity", "nnunetv2", "scanside", "ratio (min … max)")]
    for case in report.cases:
        for metric in case.metrics:
            title = _ROWS.get((metric.mode, metric.name))
            if title:
                rows.append((case.name, title, *_values(metric)))
    mirroring = "on" if report.mirroring else "off"
    how = (
        f"{report.repeats} alternating pair(s), medians; mirroring {mirroring}; folds {', '.join(report.folds)}; "
        f"scanside on {report.device.obtained} {report.device.precision}."
    )
    lines = [how, *_conditions(report), "", *aligned(rows), ""]
    for case in report.cases:
        size = " × ".join(map(str, case.shape))
        lines.append(f"- {case.name}: {size} voxels, {case.tiles} tile(s).")
        lines += [f"  - Labels, {mode}: {_agreement(found)}" for mode, found in case.labels.items()]
        lines += [
            f"  - {name} gave different masks in different runs."
            for name, same in case.repeatable.items()
            if not same
        ]
    return "\n".join(lines)


def parity_table(report: ParityReport) -> str:
    """The table of `scanside bench parity`."""
    if not report.totals:
        return "No case is done."
    first = next(iter(report.totals.values()))
    names = list(first.dice)
    rows = [("program", "cases", "differing voxels", "largest margin", *(f"Dice {name}" for name in names))]
    rows.append(
        ("nnunetv2", str(first.cases), "reference", "", *(_score(first.reference_dice[n]) for n in names))
    )
    for device, total in report.totals.items():
        margin = "" if total.largest_margin is None else f"{total.largest_margin:.2g}"
        counts = (str(total.cases), f"{total.differing} of {total.voxels}", margin)
        rows.append((f"scanside, {device}", *counts, *(_score(total.dice[n]) for n in names)))
    mirroring = "on" if report.mirroring else "off"
    lines = [f"Mirroring {mirroring}; folds {', '.join(report.folds)}; Dice against the manual labels, mean."]
    lines += [*_conditions(report), "", *aligned(rows), ""]
    for device, total in report.totals.items():
        if total.differing:
            lines.append(
                f"- {device}: {total.explained} of {total.differing} differing voxel(s), in "
                f"{total.cases_differing} case(s), had a margin of at most {total.bound:g} logits (ties by rounding)."
            )
    if not report.complete:
        lines.append(f"- Stopped after {len(report.cases)} of {report.images} cases; go on with --resume.")
    seconds = sum(case.reference_seconds for case in report.cases)
    lines.append(f"- nnunetv2 took {duration(seconds)} for {len(report.cases)} case(s).")
    return "\n".join(lines)


def _conditions(report: Record) -> list[str]:
    machine = report.machine
    libraries = ("scanside", "nnunetv2", "torch", "openvino", "onnxruntime")
    versions = ", ".join(f"{name} {report.versions[name]}" for name in libraries if name in report.versions)
    where = f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB; {versions}."
    return [where, *report.remarks]


def _values(metric: Metric) -> tuple[str, str, str]:
    ratio = "–"
    if metric.ratio is not None:
        ratio = f"{metric.ratio.median:.2f} × ({metric.ratio.min:.2f} … {metric.ratio.max:.2f})"
    unit = metric.unit
    return _number(metric.median["nnunetv2"], unit), _number(metric.median["scanside"], unit), ratio


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _agreement(found: Agreement) -> str:
    scores = ", ".join(f"{name} {_score(value)}" for name, value in found.dice.items())
    words = f"{found.differing} of {found.voxels} voxels differ; Dice {scores}"
    return f"{words}; {_margins(found.margins)}." if found.margins else f"{words}."


def _margins(found: Margins) -> str:
    return (
        f"{found.explained} of them explained by a margin ≤ {found.bound:g}, the largest {found.largest:.2g}"
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table, the first one its head, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
