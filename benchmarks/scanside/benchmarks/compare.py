"""`scanside bench compare`: two runs, and whether the second is slower beyond the noise."""

from pydantic import BaseModel, ConfigDict

from scanside.benchmarks.distribution import Distribution, ratio_interval
from scanside.benchmarks.latency_results import LatencyReport, StudyLatency
from scanside.benchmarks.tables import aligned
from scanside.runtime.errors import InputError, UsageError

_SHORT_MS = 1.0
"""Stages shorter than this are not compared: a timer's noise."""


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


def compare_runs(before: LatencyReport, after: LatencyReport, limit: float | None) -> Comparison:
    """Compare the studies that both have; whole studies count for the limit, stages are told.

    Args:
        limit: Allowed slowing, such as 0.1 for 10 %.

    Raises:
        InputError: If they have no study in common.
    """
    pairs = [(a, b) for a in before.studies for b in after.studies if a.name == b.name]
    if not pairs:
        raise InputError("The two runs have no study in common; measure the same ones.")
    ratios = [ratio for a, b in pairs for ratio in _ratios(a, b)]
    whole = [ratio for ratio in ratios if ratio.quantity in ("warm", "cold")]
    slower = [f"{r.study}, {r.quantity}" for r in whole if limit is not None and r.low > 1 + limit]
    return Comparison(remarks=_remarks(before, after, pairs), ratios=ratios, limit=limit, slower=slower)


def _ratios(a: StudyLatency, b: StudyLatency) -> list[Ratio]:
    found: list[tuple[str, Distribution, Distribution]] = []
    if a.single and b.single:
        found.append(("warm", a.single.wall_ms, b.single.wall_ms))
        found += [
            (stage, a.single.stages_ms[stage], b.single.stages_ms[stage])
            for stage in a.single.stages_ms
            if stage in b.single.stages_ms and a.single.stages_ms[stage].median >= _SHORT_MS
        ]
    if a.cold and b.cold:
        found.append(("cold", a.cold.wall_ms, b.cold.wall_ms))
    ratios = []
    for quantity, x, y in found:
        ratio, low, high = ratio_interval(x.samples, y.samples)
        ratios.append(
            Ratio(
                study=a.name, quantity=quantity, before_ms=x.median, after_ms=y.median,
                ratio=round(ratio, 4), low=round(low, 4), high=round(high, 4),
            )
        )  # fmt: skip
    return ratios


def _remarks(a: LatencyReport, b: LatencyReport, pairs: list[tuple[StudyLatency, StudyLatency]]) -> list[str]:
    remarks = []
    for what, x, y in (
        ("Machine", a.machine.processor, b.machine.processor),
        ("Cores", str(a.machine.cores), str(b.machine.cores)),
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
    for one, other in pairs:
        if one.images != other.images:
            remarks.append(f"{one.name}: the images differ in size.")
        if (one.status, one.probability) != (other.status, other.probability):
            remarks.append(
                f"{one.name}: THE RESULT DIFFERS: {one.status} {one.probability} before, "
                f"{other.status} {other.probability} after."
            )
    for word, report in (("before", a), ("after", b)):
        remarks += [f"The run {word} is noisy: {remark}" for remark in report.remarks]
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
        words = f"Slower by more than {found.limit:.0%}, beyond the noise: {', '.join(found.slower)}."
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
    if value < 0:
        raise UsageError(f"'{words}' is below zero; give the slowing that is allowed, such as 10%.")
    return value
