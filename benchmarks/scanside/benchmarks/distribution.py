"""The statistics of all benchmarks: medians with intervals that assume nothing about the distribution, and ratios."""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Self

from scanside.runtime.record import Part

CONFIDENCE = 0.95
FEWEST = 6
"""Samples below which no order statistics enclose the median with 95 % confidence."""
_RESAMPLES = 4000


class Ratio(Part):
    """The ratio of two programs, round by round."""

    min: float
    median: float
    max: float
    low: float | None
    """Of the 95 % interval of the median; null below 6 rounds."""
    high: float | None

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Summarise at least one ratio."""
        low, high = median_interval(samples) or (None, None)
        return cls(min=min(samples), median=statistics.median(samples), max=max(samples), low=low, high=high)


class Distribution(Part):
    """Some samples of one quantity, ms or another unit; null where the sample is too small to say."""

    samples: list[float]
    """In order."""
    median: float
    low: float | None
    """Of the 95 % interval of the median, from order statistics; null below 6 samples."""
    high: float | None
    p90: float | None
    """null below 10 samples."""
    p99: float | None
    """null below 100 samples: of fewer, the largest is all that is known."""
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Describe at least one sample."""
        interval = median_interval(samples)
        return cls(
            samples=[round(value, 4) for value in samples],
            median=round(statistics.median(samples), 4),
            low=None if interval is None else round(interval[0], 4),
            high=None if interval is None else round(interval[1], 4),
            p90=percentile(samples, 0.9),
            p99=percentile(samples, 0.99),
            max=round(max(samples), 4),
        )

    @property
    def half_width(self) -> float | None:
        """Of the interval, as a part of the median."""
        if self.low is None or self.high is None or self.median == 0:
            return None
        return (self.high - self.low) / 2 / self.median


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Smallest interval between order statistics that holds the true median with at least this confidence.

    The number of samples below the median is binomial (n, 1/2), whatever the distribution.

    Returns:
        None where even the whole range is not enough.
    """
    n = len(samples)
    tail = 0.0
    k = 0  # order statistics k and n + 1 - k, counted from 1
    while True:
        tail += math.comb(n, k) / 2**n
        if 2 * tail > 1 - confidence:
            break
        k += 1
    if k == 0:
        return None
    ordered = sorted(samples)
    return ordered[k - 1], ordered[n - k]


def percentile(samples: Sequence[float], part: float) -> float | None:
    """Nearest-rank percentile; None where the sample is too small to hold a sample beyond it."""
    n = len(samples)
    if n * (1 - part) < 1 - 1e-9:
        return None
    return round(sorted(samples)[math.ceil(part * n - 1e-9) - 1], 4)


def distributions(samples: Sequence[Mapping[str, float]]) -> dict[str, Distribution]:
    """Each quantity over samples; one that a sample lacks has fewer."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            found.setdefault(name, []).append(value)
    return {name: Distribution.of(values) for name, values in found.items()}


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median of each quantity over samples that all have the same ones."""
    return {name: round(statistics.median(one[name] for one in samples), 3) for name in samples[0]}


def ratio_interval(
    a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[float, float, float]:
    """Median of `b` over median of `a`, with a bootstrap interval (percentile method, reproducible).

    Returns:
        ratio, low, high.
    """
    draw = random.Random(seed)
    ratios = sorted(
        statistics.median(draw.choices(b, k=len(b))) / statistics.median(draw.choices(a, k=len(a)))
        for _ in range(_RESAMPLES)
    )
    cut = int((1 - confidence) / 2 * _RESAMPLES)
    return statistics.median(b) / statistics.median(a), ratios[cut], ratios[-1 - cut]
