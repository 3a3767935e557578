"""Area under the ROC curve, its variance, and the difference of two areas on the same patients.

Source: DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44:837), by mid-ranks as in Sun & Xu 2014
(doi 10.1109/LSP.2014.2337313).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64
from scanside.training.evaluation.bootstrap import LEVEL

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Area:
    """An area under the ROC curve.

    Attributes:
        value: P(a positive scores higher than a negative) + half of the ties.
        variance: DeLong's; NaN with fewer than two patients of a class.
    """

    value: float
    variance: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the normal approximation, cut at 0 and 1; None where the variance is undefined."""
        if not math.isfinite(self.variance):
            return None
        half = _quantile() * math.sqrt(self.variance)
        return max(self.value - half, 0.0), min(self.value + half, 1.0)


@dataclass(frozen=True)
class Difference:
    """Area of the first score minus area of the second.

    Attributes:
        interval: 95 %.
        p: Two-sided; 1 where both scores rank alike, NaN where the variance is undefined.
    """

    value: float
    interval: tuple[float, float] | None
    z: float
    p: float


def area(truth: Bools, score: Float64) -> Area:
    """Area under the ROC curve with DeLong's variance.

    Args:
        truth: (n,) bool, True for the positive class.
        score: (n,) float64, higher for the positive class.

    Raises:
        ValueError: If a class is absent.
    """
    positive, negative = _components(truth, score)
    return Area(float(positive.mean()), _covariance([positive], [negative])[0, 0])


def difference(truth: Bools, first: Float64, second: Float64) -> Difference:
    """Compare the areas of two scores of the same patients (paired).

    Args:
        truth: (n,) bool.
        first, second: (n,) float64.
    """
    (positive_a, negative_a), (positive_b, negative_b) = (
        _components(truth, first),
        _components(truth, second),
    )
    covariance = _covariance([positive_a, positive_b], [negative_a, negative_b])
    value = float(positive_a.mean() - positive_b.mean())
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if not math.isfinite(variance):
        return Difference(value, None, math.nan, math.nan)
    if variance <= 1e-15:  # the same ranking, up to rounding
        same = abs(value) < 1e-12
        return Difference(value, (value, value), 0.0 if same else math.copysign(math.inf, value), float(same))
    deviation = math.sqrt(variance)
    z = value / deviation
    half = _quantile() * deviation
    return Difference(value, (value - half, value + half), z, math.erfc(abs(z) / math.sqrt(2)))


def _components(truth: Bools, score: Float64) -> tuple[Float64, Float64]:
    """How each positive ranks among the negatives, and the reverse: V10 (m,) and V01 (n,) of DeLong."""
    from scipy.stats import rankdata

    positive, negative = score[truth], score[~truth]
    m, n = len(positive), len(negative)
    if not m or not n:
        raise ValueError("an area under the ROC curve needs patients of both classes")
    ranks = rankdata(np.concatenate([positive, negative]))
    return (
        (ranks[:m] - rankdata(positive)) / n,
        1.0 - (ranks[m:] - rankdata(negative)) / m,
    )


def _covariance(positive: list[Float64], negative: list[Float64]) -> Float64:
    m, n = len(positive[0]), len(negative[0])
    if m < 2 or n < 2:
        return np.full((len(positive), len(positive)), np.nan)
    return np.atleast_2d(np.cov(np.stack(positive))) / m + np.atleast_2d(np.cov(np.stack(negative))) / n


def _quantile() -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + LEVEL) / 2))
