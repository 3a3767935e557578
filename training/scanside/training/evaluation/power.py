"""What a leakage canary would have seen: a test that cannot fail proves nothing, so its power is told."""

from collections.abc import Sequence

import numpy as np

LEAKS = (0.05, 0.1)
"""Rises of the AUC by a leak whose detection is told."""
WANTED = 0.8
_SMALLEST, _LARGEST = 0.001, 0.5
_POINTS = 2000


def detection_power(error: float, runs: int, level: float, leak: float) -> float:
    """Probability that a canary dies of a leak: its mean's interval, by Student's t over the runs, excludes one half.

    Args:
        error: Standard error of the mean over the runs.
        runs: At least two.
        level: Of the interval.
        leak: By how much the expected AUC lies above one half.
    """
    from scipy import stats

    critical = float(stats.t.ppf((1 + level) / 2, runs - 1))
    # Over the spread of the runs' own standard deviation: scipy's noncentral t is NaN far from zero.
    spreads = np.sqrt(stats.chi2.ppf((np.arange(_POINTS) + 0.5) / _POINTS, runs - 1) / (runs - 1))
    ends, away = critical * spreads, leak / error
    return float((stats.norm.sf(ends - away) + stats.norm.cdf(-ends - away)).mean())


def standard_error(interval: tuple[float, float], runs: int, level: float) -> float:
    """The standard error behind an interval by Student's t."""
    from scipy import stats

    return (interval[1] - interval[0]) / 2 / float(stats.t.ppf((1 + level) / 2, runs - 1))


def smallest_leak(error: float, runs: int, level: float) -> float | None:
    """The leak that is found with probability `WANTED`, to a thousandth; None where even 0.5 is not."""
    from scipy.optimize import brentq

    def short(leak: float) -> float:
        return detection_power(error, runs, level, leak) - WANTED

    if short(_LARGEST) < 0:
        return None
    if short(_SMALLEST) > 0:
        return _SMALLEST
    return round(float(brentq(short, _SMALLEST, _LARGEST)), 3)


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation; None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
