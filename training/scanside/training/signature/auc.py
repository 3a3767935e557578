"""Area under the ROC curve, and its interval over repeats of a cross-validation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from scanside.runtime.arrays import Float64


@dataclass(frozen=True)
class Auc:
    """Mean AUC of repeated predictions.

    Attributes:
        auc: Mean over the repeats.
        low, high: 95 % bootstrap interval over patients, drawn within each class.
        per_repeat: AUC of each repeat.
        patients: How many have a prediction.
    """

    auc: float
    low: float
    high: float
    per_repeat: tuple[float, ...]
    patients: int


def auc(y: npt.NDArray[np.int_], score: Float64) -> float:
    """Probability that a positive scores higher than a negative, draws counting half; NaN without both classes."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def repeated_auc(y: npt.NDArray[np.int_], scores: Float64, seed: int, draws: int = 1000) -> Auc:
    """AUC of the predictions of a repeated cross-validation.

    Args:
        y: (n,), 0 or 1.
        scores: (repeats, n), NaN where a patient got none; such patients are left out.
    """
    known = np.isfinite(scores).all(axis=0)
    y, scores = y[known], scores[:, known]
    per_repeat = tuple(auc(y, row) for row in scores)
    if not np.isfinite(per_repeat).all():
        return Auc(float("nan"), float("nan"), float("nan"), per_repeat, int(known.sum()))
    random = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    kernels = np.mean([_kernel(row[positive], row[negative]) for row in scores], axis=0)
    drawn = []
    for _ in range(draws):
        rows = random.integers(len(positive), size=len(positive))
        columns = random.integers(len(negative), size=len(negative))
        drawn.append(kernels[rows][:, columns].mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Auc(float(np.mean(per_repeat)), float(low), float(high), per_repeat, int(known.sum()))


def _kernel(positive: Float64, negative: Float64) -> Float64:
    """1 where the positive scores higher, ½ for a draw; its mean is the AUC."""
    difference: Float64 = positive[:, None] - negative[None]
    return (np.sign(difference) + 1) / 2
