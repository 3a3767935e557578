"""Results as tables: Markdown that is also readable on a terminal."""

from collections.abc import Sequence

from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import ParityReport, Record


def parity_table(report: ParityReport) -> str:
    """The table of `scanside bench parity`."""
    if not report.totals:
        return "No case is done."
    first = next(iter(report.totals.values()))
    names = list(first.dice)
    rows = [("program", "cases", "differing voxels", "largest margin", *(f"Dice {name}" for name in names))]
    rows.append(
        ("nnunetv2", str(first.cases), "reference", "", *(score(first.reference_dice[n]) for n in names))
    )
    for device, total in report.totals.items():
        margin = "" if total.largest_margin is None else f"{total.largest_margin:.2g}"
        counts = (str(total.cases), f"{total.differing} of {total.voxels}", margin)
        rows.append((f"scanside, {device}", *counts, *(score(total.dice[n]) for n in names)))
    mirroring = "on" if report.mirroring else "off"
    lines = [f"Mirroring {mirroring}; folds {', '.join(report.folds)}; Dice against the manual labels, mean."]
    lines += [*conditions(report), "", *aligned(rows), ""]
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


def conditions(report: Record) -> list[str]:
    """Where it ran, with which versions, and what must be known."""
    machine = report.machine
    libraries = ("scanside", "nnunetv2", "torch", "openvino", "onnxruntime")
    versions = ", ".join(f"{name} {report.versions[name]}" for name in libraries if name in report.versions)
    where = f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB; {versions}."
    return [where, *report.remarks]


def number(value: float, unit: str) -> str:
    """A value with three digits or so, and its unit."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def score(value: float | None) -> str:
    """A Dice."""
    return "–" if value is None else f"{value:.4f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table, the first one its head, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
