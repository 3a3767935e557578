"""`scanside bench compare`: two runs, and whether the second is slower beyond the noise."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport
from scanside.benchmarks.distribution import Distribution, ratio_interval
from scanside.benchmarks.latency_results import LATENCY, LatencyReport, RunRecord
from scanside.benchmarks.results import read_back
from scanside.benchmarks.tables import table, words
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.record import Part

_SHORT_MS = 1.0
"""Stages shorter than this are not compared: a timer's noise."""
_COMMAND = "scanside bench run` or `scanside bench appliance"
_CONDITIONS = {
    "Machine": "{machine.processor}", "Cores": "{machine.cores}", "GPUs": "{gpus!l}", "Bundle": "{bundle.sha256:.12}",
    "Device": "{device.obtained} {device.precision}", "Approximations": "{approximations!l}",
    "Threads": "{threads!s}",
}  # fmt: skip
_COLUMNS = {
    "study": "{study}", "quantity": "{quantity}", "before": "{before_ms:.1f} ms", "after": "{after_ms:.1f} ms",
    "after / before (95 %)": "{ratio:.3f} ({low:.3f} … {high:.3f})", "": "{verdict}",
}  # fmt: skip


class Quantity(NamedTuple):
    """Something measured in ms, smaller is better. With `gate` it counts for the limit; others are told."""

    subject: str
    name: str
    found: Distribution
    gate: bool = False


class Ratio(Part):
    """One quantity of both runs."""

    study: str
    quantity: str
    before_ms: float
    after_ms: float
    ratio: float
    """after / before: above 1 it is slower."""
    low: float
    """Of the ratio's 95 % interval (bootstrap of the medians)."""
    high: float

    @property
    def verdict(self) -> str:
        """In a word."""
        return "slower" if self.low > 1 else "faster" if self.high < 1 else "the same within the noise"


class Comparison(Part):
    """What changed between two runs."""

    remarks: list[str]
    """What makes the runs hard to compare: other machine, bundle, device, versions; a noisy run."""
    ratios: list[Ratio]
    limit: float | None
    """What was allowed, as a part of the time before."""
    slower: list[str]
    """Quantities whose whole interval lies above the limit."""


def read_run(path: Path) -> RunRecord:
    """Read the results of `bench run` or `bench appliance`.

    Raises:
        InputError: If it is missing or no such file.
    """
    kinds: dict[object, type[RunRecord]] = {LATENCY: LatencyReport, APPLIANCE: ApplianceReport}
    try:
        document = json.loads(path.read_bytes())
        kind = kinds.get(document.get("schema") if isinstance(document, dict) else None, RunRecord)
    except (OSError, ValueError):
        kind = RunRecord  # which says what is wrong with the file
    return read_back(kind, path, _COMMAND)


def compare_runs(before: RunRecord, after: RunRecord, limit: float | None) -> Comparison:
    """Compare what both have; whole studies count for the limit, stages are told.

    Args:
        limit: Allowed slowing, such as 0.1 for 10 %.

    Raises:
        InputError: If they have nothing in common.
    """
    newer = {one[:2]: one for one in quantities(after)}
    ratios, slower = [], []
    for one in quantities(before):
        if one[:2] not in newer or one.found.median < _SHORT_MS:
            continue
        other = newer[one[:2]].found
        ratio, low, high = ratio_interval(one.found.samples, other.samples)
        ratios.append(
            Ratio(
                study=one.subject, quantity=one.name, before_ms=one.found.median, after_ms=other.median,
                ratio=round(ratio, 4), low=round(low, 4), high=round(high, 4),
            )
        )  # fmt: skip
        if one.gate and limit is not None and low > 1 + limit:
            slower.append(f"{one.subject}, {one.name}")
    if not ratios:
        raise InputError("The two runs have no study in common; measure the same ones by the same command.")
    return Comparison(remarks=list(_remarks(before, after)), ratios=ratios, limit=limit, slower=slower)


def quantities(report: RunRecord) -> Iterator[Quantity]:
    """Everything that a run measured and that can be compared."""
    if isinstance(report, LatencyReport):
        for study in report.studies:
            yield Quantity(study.name, "warm", study.single.wall_ms, gate=True)
            yield from (Quantity(study.name, stage, ms) for stage, ms in study.single.stages_ms.items())
            if study.cold:
                yield Quantity(study.name, "cold", study.cold.wall_ms, gate=True)
    if isinstance(report, ApplianceReport):
        for rate in report.rates:
            name = f"{rate.instances} instances each"
            yield Quantity(f"{rate.senders} sender(s)", name, rate.wall_ms, gate=True)
        for sent in report.studies:
            yield Quantity(sent.name, "last instance to report", sent.way.whole_ms, gate=True)
            yield Quantity(sent.name, "added", sent.way.added_ms, gate=True)
            for part in ("completeness", "queue", "compute", "deliver"):
                title = part.replace("completeness", "until complete")
                yield Quantity(sent.name, title, getattr(sent.way, f"{part}_ms"))
            yield from (Quantity(sent.name, stage, ms) for stage, ms in sent.way.stages_ms.items())


def _remarks(a: RunRecord, b: RunRecord) -> Iterator[str]:
    def differs(what: str, x: str, y: str) -> Iterator[str]:
        if x != y:
            yield f"{what}: {x} before, {y} after."

    for what, template in _CONDITIONS.items():
        yield from differs(what, words(template, a), words(template, b))
    for name in sorted(set(a.versions) | set(b.versions)):
        yield from differs(name, a.versions.get(name, "none"), b.versions.get(name, "none"))
    if isinstance(a, ApplianceReport) and isinstance(b, ApplianceReport):
        yield from differs("Quiet seconds", f"{a.quiet_seconds:g}", f"{b.quiet_seconds:g}")
        sizes = {one.senders: one.megabytes for one in a.rates}
        for rate in b.rates:
            before = sizes.get(rate.senders, rate.megabytes)
            yield from differs(f"{rate.senders} sender(s)", f"{before} MB", f"{rate.megabytes} MB")
    kinds = LatencyReport | ApplianceReport
    if isinstance(a, kinds) and isinstance(b, kinds):
        others = {study.name: study for study in b.studies}
        for one in a.studies:
            other = others.get(one.name)
            if other is None:
                continue
            if getattr(one, "images", None) != getattr(other, "images", None):
                yield f"{one.name}: the images differ in size."
            came = ("{status} {probability}", one), ("{status} {probability}", other)
            yield from differs(f"{one.name}: THE RESULT DIFFERS", *(words(*study) for study in came))
    for word, report in (("before", a), ("after", b)):
        yield from (f"Not to be quoted, the run {word}: {remark}" for remark in report.remarks)


def comparison_table(found: Comparison) -> str:
    """A comparison for a person."""
    lines = [*found.remarks, *([""] if found.remarks else []), *table(_COLUMNS, found.ratios)]
    if found.limit is not None:
        told = f"Slower by more than {found.limit:.0%}, beyond the noise: {'; '.join(found.slower)}."
        lines += ["", told if found.slower else f"Nothing is slower by more than {found.limit:.0%}."]
    return "\n".join(lines)


def parse_percent(text: str) -> float:
    """`10%` → 0.1.

    Raises:
        UsageError: If it is no such thing.
    """
    try:
        value = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        raise UsageError(f"'{text}' is no percentage, such as 10%.") from None
    if not 0 <= value < math.inf:
        raise UsageError(f"'{text}' is no slowing; give the slowing that is allowed, such as 10%.")
    return value
