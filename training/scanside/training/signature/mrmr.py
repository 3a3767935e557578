"""Choosing N features: minimum redundancy – maximum relevance, or the LASSO path.

mRMR in its F-statistic / correlation quotient form (FCQ; Ding & Peng 2005, Zhao et al. 2019), on ranks, so that a few
outliers decide nothing. The LASSO is that of Tibshirani on the 0/1 label, its whole path by LARS.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

from scanside.runtime.arrays import Float64

Indices = npt.NDArray[np.intp]


def standard_ranks(values: Float64) -> Float64:
    """Ranks of each column (n, p), mean 0 and length 1, so that rᵀr is Spearman's ρ; 0 for absent values.

    An absent value thus weighs nothing in a correlation; no value is put in its place.
    """
    absent = np.isnan(values)
    ranks: Float64 = np.array(
        stats.rankdata(values, axis=0, nan_policy="omit") if absent.any() else stats.rankdata(values, axis=0),
        dtype=np.float64,
    )
    ranks = np.where(absent, 0.0, ranks - np.nanmean(np.where(absent, np.nan, ranks), axis=0))
    length = np.linalg.norm(ranks, axis=0)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


def relevance(values: Float64, y: npt.NDArray[np.int_]) -> Float64:
    """F statistic of each feature's ranks between the two classes, (p,)."""
    ranks = standard_ranks(values)
    present = np.isfinite(values)
    count = present.sum(axis=0)
    labels = np.where(present, y[:, None], 0.0)
    labels = np.where(present, labels - labels.sum(axis=0) / np.maximum(count, 1), 0.0)
    length = np.linalg.norm(labels, axis=0)
    r = np.divide((ranks * labels).sum(axis=0), length, out=np.zeros(values.shape[1]), where=length > 0)
    explained = np.minimum(r**2, 1 - 1e-12)
    statistic: Float64 = explained / (1 - explained) * np.maximum(count - 2, 0)
    return statistic


def mrmr(values: Float64, y: npt.NDArray[np.int_], number: int) -> Indices:
    """The `number` best features in the order they were chosen.

    A mean correlation counts as at least what independent features show by chance, √(2 / π(n - 1)); else a feature of
    noise that happens to correlate with nothing would win the quotient.

    Args:
        values: (n, p), NaN where absent.
        y: (n,), 0 or 1.
    """
    score, ranks = relevance(values, y), standard_ranks(values)
    chance = float(np.sqrt(2 / (np.pi * max(len(y) - 1, 1))))
    chosen = [int(np.argmax(score))]
    redundancy = np.zeros(len(score))
    while len(chosen) < min(number, len(score)):
        redundancy += np.abs(ranks.T @ ranks[:, chosen[-1]])
        quotient = score / np.maximum(redundancy / len(chosen), chance)
        quotient[chosen] = -np.inf
        chosen.append(int(np.argmax(quotient)))
    return np.array(chosen, dtype=np.intp)


def lasso(values: Float64, y: npt.NDArray[np.int_], number: int) -> Indices:
    """The first `number` features on the LASSO path, strongest first; patients with an absent value are left out."""
    from sklearn.linear_model import lars_path

    whole = np.isfinite(values).all(axis=1)
    data, target = values[whole], y[whole] - y[whole].mean()
    spread = data.std(axis=0)
    data = (data - data.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    _, _, path = lars_path(data, target, method="lasso", max_iter=20 * number)
    active = (path != 0).sum(axis=0)
    enough = np.flatnonzero(active >= number)
    weights = np.abs(path[:, enough[0] if enough.size else int(np.argmax(active))])
    order = np.argsort(-weights, kind="stable")[:number]
    return order[weights[order] > 0].astype(np.intp)
