"""Intraclass correlation with its confidence interval, for many features at once.

Sources: Shrout & Fleiss 1979 (their example is the test), McGraw & Wong 1996, table 4 and 7; names as in the latter.
ICC(1,1): every repetition is a random one (perturbations). ICC(A,1): the k-th repetition is the same rater for all
patients (two readers), absolute agreement.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from scanside.runtime.arrays import Float64

Form = Literal["1", "A"]


@dataclass(frozen=True, eq=False)
class Icc:
    """Correlations, (p,) each; NaN where a feature cannot be judged.

    Attributes:
        value: The estimate.
        low, high: Ends of the confidence interval.
        patients: How many patients have every repetition of the feature.
    """

    value: Float64
    low: Float64
    high: Float64
    patients: Float64


def icc(measured: Float64, form: Form = "1", level: float = 0.95) -> Icc:
    """Intraclass correlation of single measurements.

    Args:
        measured: (n patients, k repetitions, p features); a patient with an absent repetition of a feature is left
            out for that feature.
        form: `1` for ICC(1,1), `A` for ICC(A,1).
        level: Of the two-sided confidence interval.
    """
    repeats = measured.shape[1]
    whole: npt.NDArray[np.bool_] = np.asarray(np.isfinite(measured).all(axis=1))
    count = whole.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        data = np.where(whole[:, None], measured, 0.0)
        data = np.where(whole[:, None], data - data.sum(axis=(0, 1)) / (count * repeats), 0.0)
        means = data.mean(axis=1)
        between = repeats * (means**2).sum(axis=0) / (count - 1)
        within = ((data - means[:, None]) ** 2).sum(axis=(0, 1))
        if form == "1":
            value, low, high = _one_way(between, within / (count * (repeats - 1)), count, repeats, level)
        else:
            columns = (data.sum(axis=0) / count) ** 2
            raters = count * columns.sum(axis=0) / (repeats - 1)
            error = (within - count * columns.sum(axis=0)) / ((count - 1) * (repeats - 1))
            value, low, high = _two_way(between, raters, np.maximum(error, 0), count, repeats, level)
    unknown = (count < 2) | (repeats < 2)
    value, low, high = (np.where(unknown, np.nan, each) for each in (value, low, high))
    return Icc(value, low, high, count)


def _one_way(
    between: Float64, within: Float64, count: Float64, repeats: int, level: float
) -> tuple[Float64, Float64, Float64]:
    tail = (1 + level) / 2
    ratio = between / within  # inf where repetitions agree exactly
    rows, rest = count - 1, count * (repeats - 1)
    low, high = ratio / stats.f.ppf(tail, rows, rest), ratio * stats.f.ppf(tail, rest, rows)

    def correlation(f: Float64) -> Float64:
        return np.where(np.isinf(f), 1.0, (f - 1) / (f + repeats - 1))

    return correlation(ratio), correlation(low), correlation(high)


def _two_way(
    rows: Float64, raters: Float64, error: Float64, count: Float64, repeats: int, level: float
) -> tuple[Float64, Float64, Float64]:
    n, k, tail = count, repeats, (1 + level) / 2
    value = (rows - error) / (rows + (k - 1) * error + k * (raters - error) / n)
    exact = value >= 1
    safe = np.where(exact, 0.5, value)
    a = k * safe / (n * (1 - safe))
    b = 1 + k * safe * (n - 1) / (n * (1 - safe))
    freedom = (a * raters + b * error) ** 2 / (
        (a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    rest = k * raters + (k * n - k - n) * error
    below, above = stats.f.ppf(tail, n - 1, freedom), stats.f.ppf(tail, freedom, n - 1)
    low = n * (rows - below * error) / (below * rest + n * rows)
    high = n * (above * rows - error) / (rest + n * above * rows)
    return value, np.where(exact, 1.0, low), np.where(exact, 1.0, high)
