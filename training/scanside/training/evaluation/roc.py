"""ROC and precision-recall curves, and the confusion at a threshold."""

import math
from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.evaluation.bootstrap import LEVEL, Interval, counts, percentiles
from scanside.training.evaluation.delong import Bools


@dataclass(frozen=True)
class Curve:
    """Points of a curve, one a threshold, from the highest threshold to the lowest.

    Attributes:
        x: False-positive rate (ROC) or recall (precision-recall).
        y: Sensitivity (ROC) or precision (precision-recall).
        threshold: Scores from this on count as positive; the first of a ROC is inf.
    """

    x: Float64
    y: Float64
    threshold: Float64


@dataclass(frozen=True)
class Confusion:
    """Patients by class and by what was said of them."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def roc_curve(truth: Bools, score: Float64) -> Curve:
    """The empirical ROC curve, ties in one step.

    Args:
        truth: (n,) bool, both classes present.
        score: (n,) float64.
    """
    threshold, positive, negative = _cumulated(truth, score)
    return Curve(
        np.concatenate([[0.0], negative / negative[-1]]),
        np.concatenate([[0.0], positive / positive[-1]]),
        np.concatenate([[np.inf], threshold]),
    )


def precision_recall_curve(truth: Bools, score: Float64) -> Curve:
    """The empirical precision-recall curve; not interpolated, because that would be optimistic."""
    threshold, positive, negative = _cumulated(truth, score)
    return Curve(positive / positive[-1], positive / (positive + negative), threshold)


def average_precision(truth: Bools, score: Float64) -> float:
    """Mean precision, weighted by the gain in recall at each threshold (scikit-learn's definition)."""
    curve = precision_recall_curve(truth, score)
    return float(np.sum(np.diff(curve.x, prepend=0.0) * curve.y))


def bootstrap_auc(
    truth: Bools, score: Float64, repeats: int, generator: np.random.Generator
) -> Interval | None:
    """Percentile interval of the area, patients drawn within each class; None with fewer than two of a class."""
    positive, negative = score[truth], score[~truth]
    if len(positive) < 2 or len(negative) < 2:
        return None
    wins = np.sign(positive[:, None] - negative[None, :]) / 2 + 0.5
    drawn = counts(len(score), repeats, generator, truth)
    areas = np.einsum("bi,ij,bj->b", drawn[:, truth], wins, drawn[:, ~truth], optimize=True) / wins.size
    return percentiles(areas)


def bootstrap_average_precision(
    truth: Bools, score: Float64, repeats: int, generator: np.random.Generator
) -> Interval | None:
    """Percentile interval of the average precision, patients drawn within each class."""
    if truth.sum() < 2 or (~truth).sum() < 2:
        return None
    order = np.argsort(-score, kind="stable")
    drawn = counts(len(score), repeats, generator, truth)[:, order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # the last patient of each tie
    positive = np.cumsum(drawn * truth[order], axis=1)[:, ends]
    every = np.cumsum(drawn, axis=1)[:, ends]
    gain = np.diff(positive, prepend=0.0, axis=1) / positive[:, -1:]
    return percentiles(np.sum(gain * positive / np.maximum(every, 1.0), axis=1))


def roc_band(
    truth: Bools, score: Float64, rates: Float64, repeats: int, generator: np.random.Generator
) -> tuple[Float64, Float64] | None:
    """95 % band of sensitivity at given false-positive rates, by resampling within each class.

    Args:
        rates: (k,) false-positive rates.

    Returns:
        Lower and upper sensitivity, each (k,); None with fewer than two patients of a class.
    """
    if truth.sum() < 2 or (~truth).sum() < 2:
        return None
    drawn = counts(len(score), repeats, generator, truth)
    values = np.unique(score)[::-1]
    reached = (score[None, :] >= values[:, None]).astype(np.float64)
    sensitivity = _rates(drawn, reached, truth)
    fallout = _rates(drawn, reached, ~truth)
    at = np.stack([np.interp(rates, x, y) for x, y in zip(fallout, sensitivity, strict=True)])
    low, high = np.quantile(at, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def confusion(truth: Bools, named_positive: Bools) -> Confusion:
    """Count the four outcomes.

    Args:
        truth: (n,) bool.
        named_positive: (n,) bool.
    """
    return Confusion(
        true_positive=int(np.sum(truth & named_positive)),
        false_positive=int(np.sum(~truth & named_positive)),
        false_negative=int(np.sum(truth & ~named_positive)),
        true_negative=int(np.sum(~truth & ~named_positive)),
    )


def wilson(successes: int, trials: int) -> Interval | None:
    """Wilson's 95 % interval of a proportion; None without trials."""
    if not trials:
        return None
    from scipy.stats import norm

    z2 = float(norm.ppf((1 + LEVEL) / 2)) ** 2
    p = successes / trials
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _cumulated(truth: Bools, score: Float64) -> tuple[Float64, Float64, Float64]:
    """Distinct scores, falling, with the positives and negatives at or above each."""
    if not truth.any() or truth.all():
        raise ValueError("a curve needs patients of both classes")
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    positive = np.cumsum(truth[order])[ends].astype(np.float64)
    return score[order][ends], positive, ends + 1.0 - positive


def _rates(drawn: Float64, reached: Float64, group: Bools) -> Float64:
    """Part of a class that reaches each threshold, (repeats, thresholds + 1), beginning with 0."""
    part = drawn[:, group] @ reached[:, group].T / group.sum()
    return np.concatenate([np.zeros((len(part), 1)), part], axis=1)
