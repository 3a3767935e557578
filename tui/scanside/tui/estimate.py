"""How long a running case still takes: from today's times of the same stages and how far it is. Pure functions."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.store.worklist import Timing

WAITED, TOTAL = "queued", "total"
"""Rows of the timings that are no stages: how long a study waited for the worker, and how long all of it took."""


@dataclass(frozen=True)
class Typical:
    """What stages take.

    Attributes:
        seconds: Stage → median of today, in the order in which the last case ran them.
        cases: Number of cases that this rests on.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    cases: int = 0


def typical(timings: Sequence[Timing]) -> Typical:
    """Medians of stages, from `worklist.timings`."""
    timings = [timing for timing in timings if timing.stage not in (WAITED, TOTAL)]
    by_stage: dict[str, list[float]] = {}
    for timing in timings:
        by_stage.setdefault(timing.stage, []).append(timing.ms / 1000)
    if not timings:
        return Typical()
    last = timings[-1].job
    order = [timing.stage for timing in timings if timing.job == last]
    order += [stage for stage in by_stage if stage not in order]
    return Typical(
        {stage: statistics.median(by_stage[stage]) for stage in order},
        len({timing.job for timing in timings}),
    )


def fraction(case: Case) -> float | None:
    """How much of its stage a running case has done; None when the stage does not tell."""
    if case.state is not State.RUNNING or case.total <= 0:
        return None
    return min(1.0, case.done / case.total)


def seconds_left(case: Case, known: Typical, now: float, stage_seen: float | None = None) -> float | None:
    """How long a running case still takes, or None where nothing tells.

    Args:
        known: Of today.
        stage_seen: When this stage was first seen; with how far it is, that tells about a stage without history.
    """
    if case.state is not State.RUNNING or case.stage is None:
        return None
    done = fraction(case)
    stages = list(known.seconds)
    if case.stage in known.seconds:
        here = stages.index(case.stage)
        of_this = known.seconds[case.stage]
        spent = 0.0 if stage_seen is None else max(0.0, now - stage_seen)
        left = of_this * (1 - done) if done is not None else max(0.0, of_this - spent)
        return left + sum(known.seconds[stage] for stage in stages[here + 1 :])
    if done and stage_seen is not None and now > stage_seen:
        return (now - stage_seen) * (1 - done) / done
    return None


def whole_fraction(case: Case, known: Typical) -> float | None:
    """How much of the whole computation is done, by time; of the stage alone where today tells nothing."""
    done = fraction(case)
    if case.state is not State.RUNNING or case.stage is None:
        return None
    if case.stage not in known.seconds:
        return done
    stages = list(known.seconds)
    here = stages.index(case.stage)
    total = sum(known.seconds.values())
    before = sum(known.seconds[stage] for stage in stages[:here])
    return (before + known.seconds[case.stage] * (done or 0.0)) / total if total > 0 else done
