"""Calibration: whether, of patients given a probability of 0.7, about 70 % have the disease."""

import math
from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.evaluation.bootstrap import Interval, counts, percentiles
from scanside.training.evaluation.delong import Bools
from scanside.training.evaluation.roc import wilson

GROUPS = 5
"""Groups of equal size in the reliability plot and the ECE: about 18 patients each in a test set of 89."""
_CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logit is taken."""
_STEPS = 30
_LARGEST = 50.0
"""A slope or intercept beyond this means that the classes are separated: there is no finite estimate."""


@dataclass(frozen=True)
class Group:
    """A group of patients with similar probabilities.

    Attributes:
        predicted: Mean probability.
        observed: Part of the group with the disease.
        interval: Wilson's 95 % of it.
    """

    patients: int
    predicted: float
    observed: float
    interval: Interval | None


@dataclass(frozen=True)
class Calibration:
    """Calibration of probabilities. Each value with its bootstrap interval.

    Attributes:
        brier: Mean squared error of the probability; 0 is perfect.
        brier_of_prevalence: What the prevalence, said of everyone, would score.
        slope: Of the logistic regression of truth on logit(p); 1 is ideal, below 1 is overconfident.
        intercept: Of the same regression; 0 is ideal.
        in_the_large: Intercept with the slope held at 1: whether probabilities are too low (> 0) on the whole.
        ece: Expected calibration error over groups of equal size.
    """

    brier: float
    brier_of_prevalence: float
    slope: float
    intercept: float
    in_the_large: float
    ece: float
    intervals: dict[str, Interval | None]
    groups: tuple[Group, ...]


def calibrate(
    truth: Bools, probability: Float64, repeats: int, generator: np.random.Generator
) -> Calibration:
    """Measure calibration.

    Args:
        truth: (n,) bool, both classes present.
        probability: (n,) float64 in 0…1.
        repeats: Bootstrap resamples, patients drawn irrespective of class.

    Returns:
        Slope, intercept and in_the_large are NaN where the classes are separated.
    """
    one = np.ones((1, len(truth)))
    measured = _measure(truth, probability, one)
    resampled = _measure(truth, probability, counts(len(truth), repeats, generator))
    prevalence = float(truth.mean())
    return Calibration(
        brier=float(measured["brier"][0]),
        brier_of_prevalence=prevalence * (1 - prevalence),
        slope=float(measured["slope"][0]),
        intercept=float(measured["intercept"][0]),
        in_the_large=float(measured["in_the_large"][0]),
        ece=float(measured["ece"][0]),
        intervals={name: percentiles(values) for name, values in resampled.items()},
        groups=tuple(_groups(truth, probability)),
    )


def _measure(truth: Bools, probability: Float64, weights: Float64) -> dict[str, Float64]:
    """Every measure for each row of weights (b, n)."""
    x = np.log(np.clip(probability, _CLIP, 1 - _CLIP) / np.clip(1 - probability, _CLIP, 1 - _CLIP))
    intercept, slope = _regress(truth, x, weights, free_slope=True)
    in_the_large, _ = _regress(truth, x, weights, free_slope=False)
    return {
        "brier": weights @ (probability - truth) ** 2 / weights.sum(axis=1),
        "slope": slope,
        "intercept": intercept,
        "in_the_large": in_the_large,
        "ece": _ece(truth, probability, weights),
    }


def _regress(truth: Bools, x: Float64, weights: Float64, *, free_slope: bool) -> tuple[Float64, Float64]:
    """Weighted logistic regression of truth on x by Newton's method, all rows of weights at once.

    Returns:
        Intercepts and slopes (b,), NaN where Newton's method runs away or stands on a singular matrix.
    """
    a, b = np.zeros(len(weights)), np.ones(len(weights))
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            p = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * x, -500, 500)))
            wrong, spread = weights * (truth - p), weights * p * (1 - p)
            ga, gb = wrong.sum(axis=1), wrong @ x
            haa, hab, hbb = spread.sum(axis=1), spread @ x, spread @ x**2
            if free_slope:
                determinant = haa * hbb - hab**2
                step_a, step_b = (
                    (hbb * ga - hab * gb) / determinant,
                    (haa * gb - hab * ga) / determinant,
                )
            else:
                step_a, step_b = ga / haa, np.zeros_like(b)
            a, b = a + np.clip(step_a, -5, 5), b + np.clip(step_b, -5, 5)
    settled = (np.abs(step_a) < 1e-6) & (np.abs(step_b) < 1e-6)
    bad = ~settled | (np.abs(a) > _LARGEST) | (np.abs(b) > _LARGEST)
    return np.where(bad, math.nan, a), np.where(bad, math.nan, b)


def _ece(truth: Bools, probability: Float64, weights: Float64) -> Float64:
    """Expected calibration error; groups are those of the whole sample, so that resamples differ by patients alone."""
    total = np.zeros(len(weights))
    for group in _members(probability):
        gap = weights[:, group] @ (probability[group] - truth[group])
        total += np.abs(gap)
    return total / weights.sum(axis=1)


def _groups(truth: Bools, probability: Float64) -> list[Group]:
    return [
        Group(
            patients=len(members),
            predicted=float(probability[members].mean()),
            observed=float(truth[members].mean()),
            interval=wilson(int(truth[members].sum()), len(members)),
        )
        for members in _members(probability)
    ]


def _members(probability: Float64) -> list[np.ndarray]:
    """Indices of each group: patients by rising probability, in groups of (nearly) equal size."""
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, min(GROUPS, len(order))) if len(part)]
