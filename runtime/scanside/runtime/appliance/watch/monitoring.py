"""Monitoring over months: shares, refusals, volumes and features per scanner, against limits from commissioning.

A scanner is an AE title, a month a calendar month in local time. Limits are three standard errors wide (Shewhart): of a
share by the binomial law, of a mean by the spread at commissioning. Few results are counted and not judged.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from statistics import fmean, stdev
from typing import Literal, TypeVar

from pydantic import Field

from scanside.runtime.appliance.store.trends import Finished
from scanside.runtime.record import Document, Part

FEWEST_COMMISSIONED, FEWEST_MONTHLY = 20, 5
"""Results of a scanner without which there are no limits; results of a month that are not judged below this."""
K = TypeVar("K")
_WIDTH = 3.0
_BAD = ("indeterminate", "no lesion segmented", "unsuitable input")


class Limit(Part):
    """What a month's figure has to lie between."""

    low: float
    high: float


class Trend(Part):
    """One figure of one scanner in one month."""

    name: str
    """`share of …`, or the name of a volume or feature."""
    kind: Literal["share", "mean"]
    value: float
    results: int
    """How many results it is of."""
    limit: Limit | None
    """None without commissioning, or where there are too few results."""

    @property
    def outside(self) -> bool:
        """Whether it is an alarm."""
        return self.limit is not None and not self.limit.low <= self.value <= self.limit.high


class Month(Part):
    """One scanner in one month."""

    scanner: str
    """AE title."""
    month: str
    """2026-03."""
    statuses: Mapping[str, int]
    refusals: Mapping[str, int]
    """Of unsuitable input: reason code, or the sentence where an earlier version kept no code."""
    verdicts: Mapping[str, int]
    """What readers said; of most results nothing."""
    trends: tuple[Trend, ...]

    @property
    def results(self) -> int:
        """All of them."""
        return sum(self.statuses.values())


class Monitoring(Document):
    """Results per scanner and month, and what lies outside the limits of commissioning."""

    schema_: Literal["scanside.monitoring/1"] = Field("scanside.monitoring/1", alias="schema")
    since: date
    commissioned: tuple[date, date] | None
    """First and last day from which the limits come; None: there are none."""
    months: tuple[Month, ...]
    """By month and scanner."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """What lies outside its limits, as sentences; the oldest month first."""
        return tuple(
            f"{month.scanner}, {month.month}: {trend.name} is {trend.value:.3g}, outside {trend.limit.low:.3g} to "
            f"{trend.limit.high:.3g} of commissioning ({trend.results} results)."
            for month in self.months
            for trend in month.trends
            if trend.outside and trend.limit is not None
        )


def monitor(
    results: Sequence[Finished],
    since: date,
    commissioned: tuple[date, date] | None,
    baseline: Sequence[Finished] = (),
) -> Monitoring:
    """Count and judge.

    Args:
        results: Those since that day.
        baseline: Those of commissioning.
    """
    learnt = _by(baseline, lambda one: one.scanner)
    groups = _by(results, lambda one: (_month(one.finished), one.scanner))
    months = tuple(
        _judged(scanner, month, found, learnt.get(scanner, []))
        for (month, scanner), found in sorted(groups.items())
    )
    return Monitoring(since=since, commissioned=commissioned, months=months)


def _by(results: Iterable[Finished], key: Callable[[Finished], K]) -> dict[K, list[Finished]]:
    found: dict[K, list[Finished]] = {}
    for one in results:
        found.setdefault(key(one), []).append(one)
    return found


def _month(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m}"


def _judged(scanner: str, month: str, found: Sequence[Finished], learnt: Sequence[Finished]) -> Month:
    refused = [one for one in found if one.status == "unsuitable input"]
    shares = [
        _share(status, [one.status == status for one in found], [one.status == status for one in learnt])
        for status in _BAD
    ]
    rejected = _share(
        "results that readers rejected", [_no(one) for one in found], [_no(one) for one in learnt]
    )
    names = dict.fromkeys(name for one in found for name in one.figures)
    means = [_mean(name, _values(name, found), _values(name, learnt)) for name in names]
    return Month(
        scanner=scanner,
        month=month,
        statuses=Counter(one.status for one in found),
        refusals=Counter(one.reason_code or one.reason or "no reason kept" for one in refused),
        verdicts=Counter(one.verdict for one in found if one.verdict is not None),
        trends=(*shares, rejected, *means),
    )


def _no(one: Finished) -> bool:
    return one.verdict is not None and one.verdict != "accepted"


def _values(name: str, results: Sequence[Finished]) -> list[float]:
    return [one.figures[name] for one in results if name in one.figures]


def _share(what: str, found: Sequence[bool], learnt: Sequence[bool]) -> Trend:
    """A share; its limits are those of a p chart, from the commissioned share with one more case of each kind."""
    value, limit = fmean(found), None
    if len(learnt) >= FEWEST_COMMISSIONED and len(found) >= FEWEST_MONTHLY:
        usual = (sum(learnt) + 1) / (len(learnt) + 2)
        reach = _WIDTH * math.sqrt(usual * (1 - usual) * (1 / len(found) + 1 / len(learnt)))
        limit = Limit(low=max(0.0, usual - reach), high=min(1.0, usual + reach))
    return Trend(name=f"share of {what}", kind="share", value=value, results=len(found), limit=limit)


def _mean(name: str, found: Sequence[float], learnt: Sequence[float]) -> Trend:
    """A mean; its limits take in that the commissioned mean is of few results, too."""
    limit = None
    if len(learnt) >= FEWEST_COMMISSIONED and len(found) >= FEWEST_MONTHLY:
        reach = _WIDTH * stdev(learnt) * math.sqrt(1 / len(found) + 1 / len(learnt))
        middle = fmean(learnt)
        limit = Limit(low=middle - reach, high=middle + reach)
    return Trend(name=f"mean {name}", kind="mean", value=fmean(found), results=len(found), limit=limit)


def as_text(found: Monitoring) -> str:
    """For a terminal: a block a scanner and month, alarms first."""
    lines = [f"! {words}" for words in found.alarms]
    lines += [""] if lines else []
    if found.commissioned is None:
        lines += ["No limits: watch.commissioned of the configuration names no days of commissioning.", ""]
    for month in found.months:
        lines.append(f"{month.month}  {month.scanner}  {month.results} results")
        for title, counts in (
            ("status", month.statuses),
            ("refused", month.refusals),
            ("readers", month.verdicts),
        ):
            lines += [
                f"  {title:8} {number:5} {100 * number / month.results:5.1f} %  {name}"
                for name, number in sorted(counts.items(), key=lambda pair: -pair[1])
            ]
        for trend in month.trends:
            if trend.kind == "mean" or trend.outside:
                within = (
                    "no limits" if trend.limit is None else f"{trend.limit.low:.4g} to {trend.limit.high:.4g}"
                )
                lines.append(f"{'!' if trend.outside else ' '} {trend.value:14.4g}  {within:24} {trend.name}")
        lines.append("")
    if not found.months:
        lines.append(f"No results since {found.since}.")
    return "\n".join(lines).rstrip()
