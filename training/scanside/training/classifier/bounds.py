"""What stands around a probability: threshold, indeterminate band, interval of the calibration, and typical patients.

All of it is estimated on out-of-fold scores: those that the model gave patients it had not seen.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import logit
from sklearn.covariance import LedoitWolf

from scanside.runtime.arrays import Float64
from scanside.runtime.classify import on_scale, relative_distances
from scanside.runtime.study_model import Band, Knots, Typical
from scanside.training.classifier.sigmoid import Sigmoid, fit_sigmoid

Labels = npt.NDArray[np.int_]
GRID = np.linspace(0.0, 1.0, 41)
BAND_LEVEL, BAND_DRAWS = 0.9, 300
TYPICAL_LEVEL, LEAST_TYPICAL = 0.99, 0.97
LEVELS = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])


@dataclass(frozen=True)
class Conformal:
    """Class-conditional conformal prediction on probabilities.

    Attributes:
        positive_from: The positive class belongs to a prediction set from this probability on.
        negative_to: The negative class belongs to it up to this one.
    """

    positive_from: float
    negative_to: float

    @property
    def band(self) -> tuple[float, float]:
        """Probabilities between which the set holds two classes or none."""
        low, high = sorted((self.positive_from, self.negative_to))
        return low, high


@dataclass(frozen=True)
class Coverage:
    """How a conformal band does on patients that did not set it.

    Attributes:
        positive, negative: Part of the class whose set holds it.
        undecided: Part of the patients with two classes or none.
    """

    target: float
    positive: float
    negative: float
    undecided: float


def youden(y: Labels, probability: Float64) -> float:
    """The threshold with the largest sensitivity + specificity, halfway between two probabilities that occur.

    Args:
        probability: (n,), out of fold. A draw goes to the threshold nearest to ½.
    """
    values = np.unique(probability)
    cuts = (values[1:] + values[:-1]) / 2 if len(values) > 1 else values
    positive, negative = np.sort(probability[y == 1]), np.sort(probability[y == 0])
    sensitivity = 1 - np.searchsorted(positive, cuts) / len(positive)
    specificity = np.searchsorted(negative, cuts) / len(negative)
    merit = np.round(sensitivity + specificity, 12)
    best = cuts[merit == merit.max()]
    return float(np.clip(best[np.argmin(np.abs(best - 0.5))], 0.01, 0.99))


def conformal(y: Labels, probability: Float64, coverage: float) -> Conformal:
    """Split conformal prediction within each class (Vovk's Mondrian form), nonconformity 1 - p of the class.

    Args:
        y: (n,).
        probability: (repeats, n), out of fold. The finite-sample correction counts patients, not repeats.
    """
    positive, negative = np.sort(probability[:, y == 1].ravel()), np.sort(probability[:, y == 0].ravel())
    repeats = len(probability)

    def order(count: int) -> int:
        return repeats * int((count + 1) * (1 - coverage) + 1e-9)

    low, high = order(int(y.sum())), order(int((1 - y).sum()))
    return Conformal(
        positive_from=float(positive[low - 1]) if low else 0.0,
        negative_to=float(negative[len(negative) - high]) if high else 1.0,
    )


def measured_coverage(
    y: Labels, probability: Float64, folds: npt.NDArray[np.int_], target: float
) -> Coverage:
    """Coverage of each fold's patients by the bands of the other folds.

    Args:
        probability, folds: (repeats, n): out-of-fold probabilities, and the fold they come from.
    """
    covered, undecided = np.zeros(probability.shape), np.zeros(probability.shape)
    for repeat, row in enumerate(probability):
        for fold in np.unique(folds[repeat]):
            here = folds[repeat] == fold
            sets = conformal(y[~here], row[None, ~here], target)
            positive, negative = row[here] >= sets.positive_from, row[here] <= sets.negative_to
            covered[repeat, here] = np.where(y[here] == 1, positive, negative)
            undecided[repeat, here] = positive == negative
    return Coverage(
        target,
        float(covered[:, y == 1].mean()),
        float(covered[:, y == 0].mean()),
        float(undecided.mean()),
    )


def calibration_band(y: Labels, scores: Float64, sigmoid: Sigmoid, seed: int) -> Band:
    """90 % interval of the calibration: the sigmoid refitted on bootstrap samples of patients.

    Args:
        y: (n,).
        scores: (repeats, n), out of fold; a drawn patient brings all of them.
        sigmoid: The calibration itself, which the band contains.
    """
    random = np.random.default_rng([seed, 0xBA])
    repeats, count = scores.shape
    inner = np.clip(GRID, 1e-6, 1 - 1e-6)
    at = (logit(inner) - sigmoid.intercept) / sigmoid.slope
    labels, drawn = np.tile(y, repeats), np.empty((BAND_DRAWS, len(GRID)))
    for draw in range(BAND_DRAWS):
        chosen = random.integers(count, size=count)  # how many are positive is uncertain, too
        weights = np.tile(np.bincount(chosen, minlength=count) / repeats, repeats)
        drawn[draw] = fit_sigmoid(scores.ravel(), labels, weights)(at)
    tail = (1 - BAND_LEVEL) / 2
    low = np.maximum.accumulate(np.minimum(np.quantile(drawn, tail, axis=0), inner))
    high = np.maximum.accumulate(np.maximum(np.quantile(drawn, 1 - tail, axis=0), inner))
    low[0], high[-1] = 0.0, 1.0
    low, high = np.minimum(low, GRID), np.maximum(high, GRID)
    return Band(
        value=tuple(map(float, GRID)),
        low=tuple(map(float, np.clip(low, 0, 1))),
        high=tuple(map(float, np.clip(high, 0, 1))),
        method=f"{BAND_LEVEL:.0%} interval of {BAND_DRAWS} bootstrap refits of the sigmoid on out-of-fold scores",
    )


def typical(rows: Float64) -> Typical:
    """What the training cohort looks like.

    Each input is brought to the scale of a normal distribution first: on its own scale a few extreme patients would set
    covariance and limit, and no other scanner would ever be unlike. The covariance is shrunk (Ledoit & Wolf 2004). The
    limit is the 99th percentile that Hotelling's T² has for a new patient of a normal cohort of this size, held between
    the 97th and the 99th percentile of the distances of training patients from the others.

    Args:
        rows: (n, p) raw inputs of the training patients, without absent values.
    """
    n, p = rows.shape
    apart = [_distance(np.delete(rows, i, axis=0), rows[i]) for i in range(n)]
    least, most = np.quantile(apart, [LEAST_TYPICAL, TYPICAL_LEVEL])
    hotelling = p * (n**2 - 1) / (n * (n - p)) * stats.f.ppf(TYPICAL_LEVEL, p, n - p) if n > p + 1 else np.inf
    return _shape(rows, float(np.clip(np.sqrt(hotelling), least, most)))


def _shape(rows: Float64, limit: float) -> Typical:
    knots = tuple(_knots(column) for column in rows.T)
    scaled = on_scale(knots, rows)
    centre = scaled.mean(axis=0)
    precision = LedoitWolf(assume_centered=True).fit(scaled - centre).precision_
    precision = (precision + precision.T) / 2
    return Typical(
        centre=tuple(map(float, centre)),
        precision=tuple(tuple(map(float, row)) for row in precision),
        limit=limit,
        knots=knots,
    )


def _knots(column: Float64) -> Knots:
    """Quantiles and normal scores; equal quantiles share the mean of their scores, as the two values of a sex do."""
    values, where = np.unique(np.quantile(column, LEVELS), return_inverse=True)
    if len(values) == 1:  # a constant input: a unit away is a unit of distance
        return Knots(values=(float(values[0]), float(values[0]) + 1), scores=(0.0, 1.0))
    scores = np.bincount(where, stats.norm.ppf(LEVELS)) / np.bincount(where)
    return Knots(values=tuple(map(float, values)), scores=tuple(map(float, scores)))


def _distance(rows: Float64, other: Float64) -> float:
    return float(relative_distances(_shape(rows, 1.0), other[None])[0])
