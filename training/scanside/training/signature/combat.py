"""ComBat: takes the scanner's shift and scale out of features, fitted on training patients only.

Source: Johnson, Li & Rabinovic 2007 (parametric empirical Bayes), without covariates: a label must not enter a
transformation that is applied to patients whose label is unknown.
"""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import ScansideWarning
from scanside.training.signature.cases import Cases, replace_values


class ComBat(BaseEstimator):  # type: ignore[misc] # sklearn is not typed
    """Harmonise `values` over `batch`; patients of a batch that was not (or hardly) seen stay as they are.

    Attributes:
        least: Fewest training patients of a batch for its effect to be estimated.
    """

    def __init__(self, least: int = 5) -> None:
        self.least = least

    def fit(self, cases: Cases, y: Any = None) -> Self:
        """Estimate the effect of every batch with enough patients."""
        values, batches = cases["values"], cases["batch"]
        names, counts = np.unique(batches, return_counts=True)
        known = [str(name) for name, count in zip(names, counts, strict=True) if count >= self.least]
        seen = np.isin(batches, known)
        self.effects_: dict[str, tuple[Float64, Float64]] = {}
        self.mean_, self.spread_ = _pooled(values, batches, known, seen)
        if len(known) > 1:
            for name in known:
                self.effects_[name] = _effect((values[batches == name] - self.mean_) / self.spread_)
        return self

    def transform(self, cases: Cases) -> Cases:
        """Take the batches' effects out; warns about patients of unknown batches."""
        values, batches = cases["values"].copy(), cases["batch"]
        for name, (shift, scale) in self.effects_.items():
            rows = batches == name
            standard = (values[rows] - self.mean_) / self.spread_
            values[rows] = (standard - shift) / scale * self.spread_ + self.mean_
        unknown = sorted({str(batch) for batch in batches} - set(self.effects_)) if self.effects_ else []
        if unknown:
            warnings.warn(
                f"ComBat did not see enough of scanner {', '.join(unknown)} in training; "
                "its features stay as they are.",
                ScansideWarning,
                stacklevel=2,
            )
        return replace_values(cases, values)

    def fit_transform(self, cases: Cases, y: Any = None) -> Cases:
        """Both."""
        return self.fit(cases, y).transform(cases)


def _pooled(values: Float64, batches: Any, known: list[str], seen: Any) -> tuple[Float64, Float64]:
    """Grand mean and within-batch deviation of each feature, (p,)."""
    if not known:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    weights = np.array([(batches == name).sum() for name in known], dtype=np.float64)
    means = np.array([np.nanmean(values[batches == name], axis=0) for name in known])
    residual = values[seen] - means[[known.index(str(name)) for name in batches[seen]]]
    spread = np.sqrt(np.nanmean(residual**2, axis=0))
    mean: Float64 = np.average(means, axis=0, weights=weights)
    return mean, np.where(spread > 0, spread, 1.0)


def _effect(standard: Float64, tolerance: float = 1e-6) -> tuple[Float64, Float64]:
    """Shrunk shift and scale of one batch from its standardised values (n, p): the paper's equations for γ* and δ*."""
    count = np.isfinite(standard).sum(axis=0)
    shift, variance = np.nanmean(standard, axis=0), np.nanvar(standard, axis=0, ddof=1)
    prior_shift, prior_spread = shift.mean(), max(float(shift.var(ddof=1)) if shift.size > 1 else 0.0, 1e-12)
    average, scatter = variance.mean(), max(float(variance.var(ddof=1)) if variance.size > 1 else 0.0, 1e-12)
    shape, rate = average**2 / scatter + 2, average**3 / scatter + average
    g, d = shift.copy(), variance.copy()
    for _ in range(500):
        new_g = (count * prior_spread * shift + d * prior_shift) / (count * prior_spread + d)
        residual = np.nansum((standard - new_g) ** 2, axis=0)
        new_d = (rate + residual / 2) / (count / 2 + shape - 1)
        change = max(np.abs(new_g - g).max(), np.abs(new_d - d).max())
        g, d = new_g, new_d
        if change < tolerance:
            break
    return g, np.sqrt(np.maximum(d, 1e-12))
