"""`scanside bench compare`: two runs, and whether the second is slower beyond the noise."""

import math
from collections.abc import Iterator
from typing import Any

from scanside.benchmarks.distribution import Distribution, ratio_interval
from scanside.benchmarks.results import Measurements
from scanside.benchmarks.tables import aligned, told
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.record import Part

_SHORT_MS = 1.0
"""Stages shorter than this are not compared: a timer's noise."""
_RESULT = ("status", "probability", "objects")


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


def compare_runs(before: Measurements, after: Measurements, limit: float | None) -> Comparison:
    """Compare what both have; whole studies count for the limit, their parts and stages are told.

    Args:
        limit: Allowed slowing, such as 0.1 for 10 %.

    Raises:
        InputError: If they have nothing in common.
    """
    newer = {one[:2]: one[2] for one in _times(after)}
    ratios, slower = [], []
    for study, name, found, gate in _times(before):
        other = newer.get((study, name))
        if other is None or found.median < _SHORT_MS:
            continue
        ratio, low, high = ratio_interval(found.samples, other.samples)
        ratios.append(
            Ratio(
                study=study, quantity=name, before_ms=found.median, after_ms=other.median, ratio=round(ratio, 4),
                low=round(low, 4), high=round(high, 4),
            )
        )  # fmt: skip
        if gate and limit is not None and low > 1 + limit:
            slower.append(f"{study}, {name}")
    if not ratios:
        raise InputError("The two runs have no study in common; measure the same ones by the same command.")
    return Comparison(remarks=list(_remarks(before, after)), ratios=ratios, limit=limit, slower=slower)


def _times(report: Measurements) -> Iterator[tuple[str, str, Distribution, bool]]:
    """Subject, name, samples, and whether it counts for the limit."""
    for one in report.measured:
        yield from (
            (one.name, found.name, found, found.gate)
            for found in one.quantities
            if found.unit == "ms" and len(found.samples) > 1
        )
        yield from ((one.name, stage, ms, False) for stage, ms in one.stages_ms.items())


def _remarks(a: Measurements, b: Measurements) -> Iterator[str]:
    def differs(what: str, x: Any, y: Any) -> Iterator[str]:
        if x != y:
            yield f"{what}: {told(x) or 'none'} before, {told(y) or 'none'} after."

    yield from differs("Machine", a.machine.processor, b.machine.processor)
    yield from differs("Cores", a.machine.cores, b.machine.cores)
    yield from differs("GPUs", a.gpus, b.gpus)
    yield from differs("Bundle", *(one.bundle.sha256[:12] if one.bundle else "" for one in (a, b)))
    devices = (one.device for one in (a, b))
    yield from differs("Device", *(f"{one.obtained} {one.precision}" if one else "" for one in devices))
    for name in dict.fromkeys([*a.conditions, *b.conditions]):
        yield from differs(name, a.conditions.get(name), b.conditions.get(name))
    for name in sorted(set(a.versions) | set(b.versions)):
        yield from differs(name, a.versions.get(name, "none"), b.versions.get(name, "none"))
    others = {one.name: one.facts for one in b.measured}
    for one in (one for one in a.measured if one.name in others):
        for name, fact in one.facts.items():
            title = f"{one.name}: {'THE RESULT DIFFERS: ' if name in _RESULT else ''}{name}"
            yield from differs(title, fact, others[one.name].get(name))
    for word, report in (("before", a), ("after", b)):
        yield from (f"Not to be quoted, the run {word}: {remark}" for remark in report.remarks)


def comparison_table(found: Comparison) -> str:
    """A comparison for a person."""
    rows: list[tuple[str, ...]] = [("study", "quantity", "before", "after", "after / before (95 %)", "")]
    for one in found.ratios:
        ratio = f"{one.ratio:.3f} ({one.low:.3f} … {one.high:.3f})"
        before, after = f"{one.before_ms:.1f} ms", f"{one.after_ms:.1f} ms"
        rows.append((one.study, one.quantity, before, after, ratio, one.verdict))
    lines = [*found.remarks, *([""] if found.remarks else []), *aligned(rows)]
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
