"""The steps that throw features away. Each is fitted on the patients of one fold and sees no others."""

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.training.signature.cases import Cases, keep
from scanside.training.signature.icc import Form, icc
from scanside.training.signature.mrmr import Indices, lasso, mrmr, relevance, standard_ranks

Labels = npt.NDArray[np.int_]


class Filter(BaseEstimator):  # type: ignore[misc] # sklearn is not typed
    """Base of the filters; a subclass says which features stay.

    Attributes:
        support_: Indices of the features that stay, after fitting.
    """

    support_: Indices

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """Indices of the features to keep."""
        raise NotImplementedError

    def fit(self, cases: Cases, y: Labels) -> Self:
        """Choose features of these patients.

        Raises:
            InputError: If none is left.
        """
        self.support_ = self.choose(cases, y)
        if not len(self.support_):
            raise InputError(
                f"Of {cases['values'].shape[1]} features none is left after the filter '{type(self).__name__}' in a "
                f"fold of {len(cases)} patients; enlarge the cohort or improve the segmentation."
            )
        return self

    def transform(self, cases: Cases) -> Cases:
        """Any patients with the chosen features."""
        return keep(cases, self.support_)

    def fit_transform(self, cases: Cases, y: Labels) -> Cases:
        """Both."""
        return self.fit(cases, y).transform(cases)


class Present(Filter):
    """Features that at least a part of the patients have."""

    def __init__(self, least: float = 0.95) -> None:
        self.least = least

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        return np.flatnonzero(np.isfinite(cases["values"]).mean(axis=0) >= self.least)


class Varying(Filter):
    """Features that are not the same in (nearly) all patients."""

    def __init__(self, most_common: float = 0.9) -> None:
        self.most_common = most_common

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        ordered = np.sort(cases["values"], axis=0)  # absent values last
        scale = np.nanmax(np.abs(ordered), axis=0, initial=0.0)
        count = np.isfinite(ordered).sum(axis=0)
        window = max(2, int(np.ceil(self.most_common * len(ordered))))
        if window > len(ordered):
            return np.arange(0)
        spans = ordered[window - 1 :] - ordered[: len(ordered) - window + 1]
        narrowest = np.nanmin(np.where(np.isfinite(spans), spans, np.inf), axis=0, initial=np.inf)
        return np.flatnonzero((narrowest > 1e-10 * scale) & (count > 1))


class Stable(Filter):
    """Features that survive perturbation: lower end of the ICC's 95 % interval at least `least`.

    Should fewer than `fewest` do so, as in a small cohort with wide intervals, the `fewest` most stable ones stay and
    `relaxed_` says so. Without repeated measurements every feature stays.
    """

    def __init__(self, least: float = 0.75, form: Form = "1", fewest: int = 9) -> None:
        self.least = least
        self.form = form
        self.fewest = fewest

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        self.relaxed_ = False
        measured = cases["measured"]
        if measured.shape[1] < 2:
            return np.arange(measured.shape[2])
        low = np.nan_to_num(icc(measured, self.form).low, nan=-np.inf)
        stable = np.flatnonzero(low >= self.least)
        if len(stable) >= min(self.fewest, len(low)):
            return stable
        self.relaxed_ = True
        return np.sort(np.argsort(-low, kind="stable")[: self.fewest])


class Distinct(Filter):
    """Of features with |Spearman's ρ| ≥ `limit`, the one that separates the fold's classes better."""

    def __init__(self, limit: float = 0.9) -> None:
        self.limit = limit

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        values: Float64 = cases["values"]
        ranks = standard_ranks(values)
        alike = np.abs(ranks.T @ ranks) >= self.limit
        free, kept = np.ones(len(alike), dtype=bool), []
        for feature in np.argsort(-relevance(values, y), kind="stable"):
            if free[feature]:
                kept.append(int(feature))
                free &= ~alike[feature]
                free[feature] = False
        return np.sort(np.array(kept, dtype=np.intp))


class Best(Filter):
    """The N features of mRMR or the LASSO, best first."""

    def __init__(self, number: int = 9, selector: Literal["mrmr", "lasso"] = "mrmr") -> None:
        self.number = number
        self.selector = selector

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        select = {"mrmr": mrmr, "lasso": lasso}[self.selector]
        return select(cases["values"], y, self.number)


class Given(Filter):
    """Features that were decided before: those of a finished signature."""

    def __init__(self, indices: tuple[int, ...] = ()) -> None:
        self.indices = indices

    def choose(self, cases: Cases, y: Labels) -> Indices:
        """See `Filter`."""
        return np.array(self.indices, dtype=np.intp)


class Columns(BaseEstimator):  # type: ignore[misc] # sklearn is not typed
    """From patients to a plain matrix: the features, what is known beside them, or both.

    Attributes:
        radiomics: Whether the features come in.
        beside: Columns of `cases["beside"]`.
    """

    def __init__(self, radiomics: bool = True, beside: tuple[int, ...] = ()) -> None:
        self.radiomics = radiomics
        self.beside = beside

    def fit(self, cases: Cases, y: Any = None) -> Self:
        """Nothing to learn."""
        self.width_ = len(self.beside) + (cases["values"].shape[1] if self.radiomics else 0)
        return self

    def transform(self, cases: Cases) -> Float64:
        """(n, columns), NaN where absent."""
        parts = [cases["values"]] if self.radiomics else []
        return np.concatenate([*parts, cases["beside"][:, list(self.beside)]], axis=1)

    def fit_transform(self, cases: Cases, y: Any = None) -> Float64:
        """Both."""
        return self.fit(cases, y).transform(cases)


class WholeRows(BaseEstimator):  # type: ignore[misc] # sklearn is not typed
    """A linear classifier that is fitted on patients without absent values, and says NaN of the others.

    Attributes:
        dropped_: How many patients were left out of the fit.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, x: Float64, y: Labels) -> Self:
        """Fit on the whole rows of x (n, p).

        Raises:
            InputError: If they do not hold both classes.
        """
        whole = np.isfinite(x).all(axis=1)
        if len(set(y[whole])) < 2:
            raise InputError(
                f"Only {int(whole.sum())} patients of a fold have every feature that was chosen, all of one class; "
                "enlarge the cohort or improve the segmentation."
            )
        self.dropped_ = int((~whole).sum())
        self.fitted_ = clone(self.estimator).fit(x[whole], y[whole])
        self.classes_ = self.fitted_.classes_
        return self

    def decision_function(self, x: Float64) -> Float64:
        """Scores (n,), NaN for rows with an absent value."""
        whole = np.isfinite(x).all(axis=1)
        scores = np.full(len(x), np.nan)
        if whole.any():
            scores[whole] = self.fitted_.decision_function(x[whole])
        return scores
