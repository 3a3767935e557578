"""Today's times of whole cases: quantiles and a sparkline. Pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scanside.runtime.appliance.store.worklist import Timing
from scanside.tui.estimate import TOTAL, WAITED

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Quantiles:
    """Of some durations, s."""

    count: int
    p50: float
    p90: float
    p99: float


def computed(timings: Sequence[Timing]) -> list[float]:
    """Seconds of computing of every whole case, in the order in which they were finished."""
    sums: dict[int, float] = {}
    for timing in timings:
        if timing.stage not in (TOTAL, WAITED):
            sums[timing.job] = sums.get(timing.job, 0.0) + timing.ms / 1000
    return list(sums.values())


def whole(timings: Sequence[Timing]) -> list[float]:
    """Seconds from the last image to the result, of every case that tells."""
    return [timing.ms / 1000 for timing in timings if timing.stage == TOTAL]


def quantiles(seconds: Sequence[float]) -> Quantiles | None:
    """Nearest-rank quantiles, as MLPerf reports them: values that did occur. None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)

    def rank(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    return Quantiles(len(ordered), rank(0.5), rank(0.9), rank(0.99))


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as blocks, from 0 to the largest."""
    last = list(values)[-width:]
    if not last:
        return ""
    most = max(last) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * value / most))] for value in last)
