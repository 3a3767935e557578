"""Decision curves: whether acting on the probability does more good than harm (Vickers & Elkin 2006)."""

from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.evaluation.bootstrap import LEVEL, counts
from scanside.training.evaluation.delong import Bools

THRESHOLDS = np.round(np.arange(0.01, 0.991, 0.01), 2)
"""Threshold probabilities: at 0.2 a false positive weighs a quarter of a true one."""


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit, in true positives a patient, at each threshold probability.

    Attributes:
        threshold: (k,).
        model: (k,) when those at or above the threshold are treated.
        low, high: (k,) 95 % band of the model.
        treat_all: (k,) when everyone is; treating no-one is 0 everywhere.
    """

    threshold: Float64
    model: Float64
    low: Float64
    high: Float64
    treat_all: Float64


def decision_curve(
    truth: Bools,
    probability: Float64,
    repeats: int,
    generator: np.random.Generator,
    thresholds: Float64 = THRESHOLDS,
) -> DecisionCurve:
    """Net benefit of a model: TP/n − FP/n · t/(1−t).

    Args:
        truth: (n,) bool.
        probability: (n,) float64.
        repeats: Bootstrap resamples for the band.
    """
    odds = thresholds / (1 - thresholds)
    treated = probability[None, :] >= thresholds[:, None]
    benefit = np.where(truth, 1.0, 0.0)[None, :] - np.where(truth, 0.0, 1.0)[None, :] * odds[:, None]
    gain = treated * benefit
    resampled = counts(len(truth), repeats, generator) @ gain.T / len(truth)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return DecisionCurve(thresholds, gain.mean(axis=1), low, high, benefit.mean(axis=1))
