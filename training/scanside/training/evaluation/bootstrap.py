"""Percentile bootstrap over patients, seeded.

Every interval draws from its own stream, made of the seed and the interval's name: adding a row to the report changes
no other row.
"""

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64

Interval = tuple[float, float]

LEVEL = 0.95
_FEW = 0.05
"""Largest part of resamples whose statistic may be undefined; with more there is no honest interval."""


def stream(seed: int, *name: str) -> np.random.Generator:
    """The random numbers of one interval."""
    return np.random.default_rng([seed, zlib.crc32("\x1f".join(name).encode())])


def counts(
    size: int, repeats: int, generator: np.random.Generator, strata: npt.NDArray[np.bool_] | None = None
) -> Float64:
    """How often each patient is drawn.

    Args:
        size: Number of patients.
        repeats: Number of resamples.
        strata: (size,) classes to be drawn from separately, each keeping its number.

    Returns:
        (repeats, size) float64, whole numbers; each row sums to `size`.
    """
    drawn = np.zeros((repeats, size))
    groups = [np.arange(size)] if strata is None else [np.flatnonzero(strata == s) for s in (False, True)]
    for group in groups:
        if len(group):
            drawn[:, group] = generator.multinomial(len(group), np.full(len(group), 1 / len(group)), repeats)
    return drawn


def percentiles(samples: Float64, level: float = LEVEL) -> Interval | None:
    """The percentile interval of a statistic's resamples; None where too many of them are undefined."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < (1 - _FEW) * len(samples) or len(finite) == 0:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(values: Float64, repeats: int, generator: np.random.Generator) -> Interval | None:
    """Interval of a mean over patients; None for fewer than two."""
    if len(values) < 2:
        return None
    return percentiles(counts(len(values), repeats, generator) @ values / len(values))


def ratio_interval(
    numerator: Float64, denominator: Float64, repeats: int, generator: np.random.Generator
) -> Interval | None:
    """Interval of a ratio of sums over patients, such as lesions found / lesions; None for fewer than two."""
    if len(numerator) < 2:
        return None
    drawn = counts(len(numerator), repeats, generator)
    with np.errstate(divide="ignore", invalid="ignore"):
        return percentiles((drawn @ numerator) / (drawn @ denominator))


def statistic_interval(
    statistic: Callable[[Float64], Float64],
    size: int,
    repeats: int,
    generator: np.random.Generator,
    strata: npt.NDArray[np.bool_] | None = None,
) -> Interval | None:
    """Interval of any statistic that can be computed from how often each patient is drawn.

    Args:
        statistic: (repeats, size) counts → (repeats,) values, NaN where undefined.
        strata: As in `counts`.
    """
    if size < 2:
        return None
    return percentiles(statistic(counts(size, repeats, generator, strata)))
