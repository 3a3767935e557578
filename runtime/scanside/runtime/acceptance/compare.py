"""Constancy: what changed since another run, beyond noise. Pure functions on the records of runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from scipy.stats import mannwhitneyu

from scanside.runtime.acceptance.record import Check, Figure, Report, failed, not_done, passed

FEWEST_RUNS = 5
"""Earlier runs from which limits of a control chart are taken."""
FEWEST_VALUES = 4
"""Repetitions in each of two runs that are compared by ranks."""
_ALPHA, _SLOWER = 0.01, 1.2
_EXACT = 1e-6
"""Relative: text keeps that many digits."""
_SHOWN = 5


@dataclass(frozen=True)
class Limits:
    """Of a control chart for single values (Shewhart; ISO 7870-2): the mean and 2.66 mean moving ranges about it."""

    low: float
    middle: float
    high: float


def limits(values: Sequence[float]) -> Limits | None:
    """Limits from earlier runs, the oldest first; None for fewer than `FEWEST_RUNS`."""
    if len(values) < FEWEST_RUNS:
        return None
    middle = fmean(values)
    reach = 2.66 * fmean(abs(b - a) for a, b in pairwise(values))
    return Limits(middle - reach, middle, middle + reach)


@dataclass(frozen=True)
class Series:
    """One figure over runs.

    Attributes:
        points: Start of the run, and the median of its values; the oldest first.
    """

    name: str
    unit: str
    points: tuple[tuple[str, float], ...]


def figures(report: Report) -> dict[str, Figure]:
    """Every figure of a run by `family: check: figure`."""
    return {f"{check.key}: {figure.name}": figure for check in report.checks for figure in check.figures}


def times_over(reports: Sequence[Report]) -> tuple[Series, ...]:
    """Every duration of the newest run, over all runs; the newest is the last."""
    tables = [(report.started, figures(report)) for report in reports]
    found = []
    for name, figure in tables[-1][1].items() if tables else ():
        if figure.kind == "time":
            points = tuple(
                (started, median(table[name].values)) for started, table in tables if name in table
            )
            found.append(Series(name, figure.unit, points))
    return tuple(found)


def differences_over(reports: Sequence[Report]) -> Series:
    """How many exact figures of each run are not those of the first."""
    first = figures(reports[0])
    points = tuple(
        (report.started, float(len(list(_differences(first, figures(report)))))) for report in reports
    )
    return Series("exact figures that are not those of the first run", "1", points)


def constancy(last: Report, now: Report, earlier: Sequence[Report] = ()) -> tuple[Check, ...]:
    """Compare a run with another one.

    Args:
        last: What it is compared with.
        now: The run, without these checks.
        earlier: Every earlier run that is kept, the oldest first; limits of durations come from those of one setup.
    """
    return (
        _setup(last, now),
        _outcomes(last, now),
        _exact(last, now),
        _times(last, now, [one for one in earlier if one.started < now.started and _alike(one, now)]),
    )


def setup_changes(last: Report, now: Report) -> tuple[str, ...]:
    """What is another machine, program, bundle or setting, in words."""
    tables: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
        "": (last.versions, now.versions),
        "bundle ": (last.bundle, now.bundle),
        "machine ": (last.machine, now.machine),
        "setting ": (last.settings, now.settings),
    }
    return tuple(
        f"{kind}{name}: {before.get(name, 'absent')} before, {after.get(name, 'absent')} now"
        for kind, (before, after) in tables.items()
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _setup(last: Report, now: Report) -> Check:
    found = setup_changes(last, now)
    since = f"since {last.started[:10]}"
    if not found:
        return passed("constancy", "setup", f"Machine, versions, bundle and settings are the same {since}.")
    return passed("constancy", "setup", f"Changed {since}: {'; '.join(found)}.")


def _alike(one: Report, other: Report) -> bool:
    """Whether durations of two runs may be compared."""
    places = ("host", "processor", "cores")
    same_machine = all(one.machine.get(name) == other.machine.get(name) for name in places)
    return same_machine and one.bundle == other.bundle and one.settings == other.settings


def _outcomes(last: Report, now: Report) -> Check:
    """Checks that passed before and do not any more, and those that are gone."""
    name = "outcomes"
    after = {check.key: check.result.outcome for check in now.checks}
    worse = [
        f"{check.key} ({after.get(check.key, 'not there')})"
        for check in last.checks
        if check.result.outcome == "passed"
        and after.get(check.key) != "passed"
        and check.family != "constancy"
    ]
    if worse:
        what = f"{len(worse)} checks passed before and do not now: {_some(worse)}."
        return failed("constancy", name, what, "Look at each of them above.")
    return passed("constancy", name, "Every check that passed before passes now.")


def _differences(first: Mapping[str, Figure], then: Mapping[str, Figure]) -> Iterator[str]:
    for name, figure in first.items():
        other = then.get(name)
        if figure.kind != "exact" or other is None:
            continue
        if len(figure.values) != len(other.values) or any(
            abs(a - b) > _EXACT * max(abs(a), abs(b))
            for a, b in zip(figure.values, other.values, strict=True)
        ):
            yield f"{name} {figure.values[0]:.6g} → {other.values[0]:.6g}"


def _exact(last: Report, now: Report) -> Check:
    name = "voxels, volumes and features"
    found = list(_differences(figures(last), figures(now)))
    if not found:
        compared = sum(figure.kind == "exact" for figure in figures(now).values())
        return passed("constancy", name, f"{compared} figures are exactly those of {last.started[:10]}.")
    why = setup_changes(last, now)
    to_do = (
        "See whether what changed in the setup explains it; if it does, commission the installation anew."
        if why
        else "Nothing changed in the setup: stop using the installation until it is explained."
    )
    return failed("constancy", name, f"{len(found)} figures changed: {_some(found)}.", to_do)


def _times(last: Report, now: Report, earlier: Sequence[Report]) -> Check:
    """By the control chart where there are enough runs; else by ranks against one run; else by nothing."""
    name = "times"
    before = figures(last)
    slower, judged = [], 0
    for series in times_over([*earlier, now]):
        value = series.points[-1][1]
        bounds = limits([past for _, past in series.points[:-1]])
        if bounds is not None:
            judged += 1
            if value > bounds.high:
                slower.append(
                    f"{series.name} {value:.3g} {series.unit}, limit {bounds.high:.3g} {series.unit}"
                )
        elif (old := before.get(series.name)) is not None and _alike(last, now):
            values = figures(now)[series.name].values
            if min(len(old.values), len(values)) >= FEWEST_VALUES:
                judged += 1
                if _slower(old.values, values):
                    slower.append(f"{series.name} {median(old.values):.3g} → {value:.3g} {series.unit}")
    if slower:
        what = f"{len(slower)} of {judged} durations are longer beyond noise: {_some(slower)}."
        return failed(
            "constancy", name, what, "Look at load, temperature and disk of the machine, and run again."
        )
    if not judged:
        return not_done("constancy", name, f"Limits need {FEWEST_RUNS} earlier runs of this setup.")
    return passed("constancy", name, f"{judged} durations are within noise.")


def _slower(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether durations are longer by more than a fifth and more than chance (Mann and Whitney, one-sided)."""
    chance = float(mannwhitneyu(after, before, alternative="greater").pvalue)
    return median(after) > _SLOWER * median(before) and chance < _ALPHA


def _some(found: Sequence[str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
