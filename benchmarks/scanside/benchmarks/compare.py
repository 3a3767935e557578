"""`scanside bench compare`: two runs, and whether the second is slower beyond the noise."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport
from scanside.benchmarks.distribution import Distribution, ratio_interval
from scanside.benchmarks.latency_results import LATENCY, LatencyReport, RunRecord
from scanside.benchmarks.results import read_back
from scanside.benchmarks.tables import aligned
from scanside.runtime.errors import InputError, UsageError

_SHORT_MS = 1.0
"""Stages shorter than this are not compared: a timer's noise."""
_COMMAND = "scanside bench run` or `scanside bench appliance"


@dataclass(frozen=True)
class Quantity:
    """Something measured in ms, smaller is better.

    Attributes:
        gate: It counts for the limit; others are told.
    """

    subject: str
    name: str
    found: Distribution
    gate: bool = False


class Ratio(BaseModel):
    """One quantity of both runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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


class Comparison(BaseModel):
    """What changed between two runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    newer = {(one.subject, one.name): one for one in quantities(after)}
    pairs = [
        (one, newer[one.subject, one.name])
        for one in quantities(before)
        if (one.subject, one.name) in newer and one.found.median >= _SHORT_MS
    ]
    if not pairs:
        raise InputError("The two runs have no study in common; measure the same ones by the same command.")
    ratios = [_ratio(a, b) for a, b in pairs]
    gates = [ratio for ratio, (a, _) in zip(ratios, pairs, strict=True) if a.gate]
    slower = [f"{r.study}, {r.quantity}" for r in gates if limit is not None and r.low > 1 + limit]
    return Comparison(remarks=_remarks(before, after), ratios=ratios, limit=limit, slower=slower)


def quantities(report: RunRecord) -> list[Quantity]:
    """Everything that a run measured and that can be compared."""
    if isinstance(report, LatencyReport):
        return _of_studies(report)
    return _of_appliance(report) if isinstance(report, ApplianceReport) else []


def _of_studies(report: LatencyReport) -> list[Quantity]:
    found = []
    for study in report.studies:
        found.append(Quantity(study.name, "warm", study.single.wall_ms, gate=True))
        found += [Quantity(study.name, stage, ms) for stage, ms in study.single.stages_ms.items()]
        if study.cold:
            found.append(Quantity(study.name, "cold", study.cold.wall_ms, gate=True))
    return found


def _of_appliance(report: ApplianceReport) -> list[Quantity]:
    found = [
        Quantity(f"{rate.senders} sender(s)", f"{rate.instances} instances each", rate.wall_ms, gate=True)
        for rate in report.rates
    ]
    for study in report.studies:
        way = study.way
        found += [
            Quantity(study.name, "last instance to report", way.whole_ms, gate=True),
            Quantity(study.name, "added", way.added_ms, gate=True),
            Quantity(study.name, "until complete", way.completeness_ms),
            Quantity(study.name, "queue", way.queue_ms),
            Quantity(study.name, "compute", way.compute_ms),
            Quantity(study.name, "deliver", way.deliver_ms),
            *(Quantity(study.name, stage, ms) for stage, ms in way.stages_ms.items()),
        ]
    return found


def _ratio(a: Quantity, b: Quantity) -> Ratio:
    ratio, low, high = ratio_interval(a.found.samples, b.found.samples)
    return Ratio(
        study=a.subject, quantity=a.name, before_ms=a.found.median, after_ms=b.found.median,
        ratio=round(ratio, 4), low=round(low, 4), high=round(high, 4),
    )  # fmt: skip


def _remarks(a: RunRecord, b: RunRecord) -> list[str]:
    remarks = []
    for what, x, y in (
        ("Machine", a.machine.processor, b.machine.processor),
        ("Cores", str(a.machine.cores), str(b.machine.cores)),
        ("GPUs", ", ".join(a.gpus) or "none", ", ".join(b.gpus) or "none"),
        ("Bundle", a.bundle.sha256[:12], b.bundle.sha256[:12]),
        ("Device", f"{a.device.obtained} {a.device.precision}", f"{b.device.obtained} {b.device.precision}"),
        ("Approximations", ", ".join(a.approximations) or "none", ", ".join(b.approximations) or "none"),
        ("Threads", str(a.threads), str(b.threads)),
    ):
        if x != y:
            remarks.append(f"{what}: {x} before, {y} after.")
    for name in sorted(set(a.versions) | set(b.versions)):
        x, y = a.versions.get(name, "none"), b.versions.get(name, "none")
        if x != y:
            remarks.append(f"{name}: {x} before, {y} after.")
    remarks += _inputs(a, b)
    for word, report in (("before", a), ("after", b)):
        remarks += [f"Not to be quoted, the run {word}: {remark}" for remark in report.remarks]
    return remarks


def _inputs(a: RunRecord, b: RunRecord) -> list[str]:
    """What differs in the studies and in what they came to."""
    remarks = []
    if isinstance(a, ApplianceReport) and isinstance(b, ApplianceReport):
        if a.quiet_seconds != b.quiet_seconds:
            remarks.append(f"Quiet seconds: {a.quiet_seconds:g} before, {b.quiet_seconds:g} after.")
        sizes = {one.senders: one.megabytes for one in a.rates}
        remarks += [
            f"{one.senders} sender(s): {sizes[one.senders]} MB before, {one.megabytes} MB after."
            for one in b.rates
            if one.megabytes != sizes.get(one.senders, one.megabytes)
        ]
    if not (
        isinstance(a, LatencyReport | ApplianceReport) and isinstance(b, LatencyReport | ApplianceReport)
    ):
        return remarks
    for one in a.studies:
        for other in b.studies:
            if one.name != other.name:
                continue
            if getattr(one, "images", None) != getattr(other, "images", None):
                remarks.append(f"{one.name}: the images differ in size.")
            if (one.status, one.probability) != (other.status, other.probability):
                remarks.append(
                    f"{one.name}: THE RESULT DIFFERS: {one.status} {one.probability} before, "
                    f"{other.status} {other.probability} after."
                )
    return remarks


def comparison_table(found: Comparison) -> str:
    """A comparison for a person."""
    rows = [("study", "quantity", "before", "after", "after / before (95 %)", "")]
    rows += [
        (
            ratio.study, ratio.quantity, f"{ratio.before_ms:.1f} ms", f"{ratio.after_ms:.1f} ms",
            f"{ratio.ratio:.3f} ({ratio.low:.3f} … {ratio.high:.3f})", ratio.verdict,
        )
        for ratio in found.ratios
    ]  # fmt: skip
    lines = [*found.remarks, *([""] if found.remarks else []), *aligned(rows)]
    if found.limit is not None:
        words = f"Slower by more than {found.limit:.0%}, beyond the noise: {'; '.join(found.slower)}."
        lines += ["", words if found.slower else f"Nothing is slower by more than {found.limit:.0%}."]
    return "\n".join(lines)


def parse_percent(words: str) -> float:
    """`10%` → 0.1.

    Raises:
        UsageError: If it is no such thing.
    """
    try:
        value = float(words.strip().removesuffix("%")) / 100
    except ValueError:
        raise UsageError(f"'{words}' is no percentage, such as 10%.") from None
    if not 0 <= value < math.inf:
        raise UsageError(f"'{words}' is no slowing; give the slowing that is allowed, such as 10%.")
    return value
