"""Nested, patient-level, stratified, repeated cross-validation of a whole pipeline.

Everything that looks at labels or at other patients happens inside: an outer fold's features are chosen, its
regularisation is tuned by inner folds that choose features anew, and its probability is calibrated on the scores of
those inner folds. The patients of the outer fold are touched once, at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.training.classifier.sigmoid import Sigmoid, fit_sigmoid
from scanside.training.signature.auc import auc
from scanside.training.signature.cases import Cases
from scanside.training.signature.document import Step
from scanside.training.signature.pipeline import Candidate, Model, build, chosen, path
from scanside.training.signature.settings import Scheme

Labels = npt.NDArray[np.int_]
Indices = npt.NDArray[np.intp]
CHOSEN = "chosen inside"
"""The family that the inner folds chose, as if it were a family of its own: the honest estimate of the choice."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What one outer fold says.

    Attributes:
        test: Patients of the fold.
        scores, probabilities: Family → (test,), decision values and calibrated probabilities.
        best: Family → the candidate its inner folds chose; `CHOSEN` among all.
        features: Indices of the features that were chosen.
        path: Features left after each step.
        dropped: Patients left out of the fit because a chosen feature is absent.
    """

    repeat: int
    fold: int
    test: Indices
    scores: dict[str, Float64]
    probabilities: dict[str, Float64]
    best: dict[str, Candidate]
    features: tuple[int, ...]
    path: tuple[Step, ...]
    dropped: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """All outer folds of all repeats.

    Attributes:
        scores, probabilities: Family → (repeats, n); NaN where a patient has none. `CHOSEN` has probabilities only.
        fold_of: (repeats, n).
    """

    scores: dict[str, Float64]
    probabilities: dict[str, Float64]
    fold_of: npt.NDArray[np.int_]
    fits: tuple[Fit, ...] = field(repr=False)

    def among(self, answered: npt.NDArray[np.bool_]) -> "Outcome":
        """Without the scores of patients whom a deployed model would not answer, (n,)."""

        def kept(rows: dict[str, Float64]) -> dict[str, Float64]:
            return {name: np.where(answered, row, np.nan) for name, row in rows.items()}

        return replace(self, scores=kept(self.scores), probabilities=kept(self.probabilities))


def cross_validate(
    cases: Cases,
    y: Labels,
    usable: npt.NDArray[np.bool_],
    model: Model,
    candidates: Sequence[Candidate],
    scheme: Scheme,
    listener: Callable[[], None] = lambda: None,
    seen_as: Cases | None = None,
) -> Outcome:
    """Predict every patient by models that never saw the patient.

    Args:
        seen_as: (n,) The same patients as the fitted model meets them, where that is another measurement.
        usable: (n,), patients who may enter a fit; the others are only predicted, where that is possible.
        listener: Called after every outer fold.

    Raises:
        InputError: If a class has fewer than two patients.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    tasks = list(outer_folds(y, usable, scheme))
    work = Parallel(n_jobs=scheme.jobs, return_as="generator")(
        delayed(_outer)(cases, cases if seen_as is None else seen_as, y, model, candidates, scheme, *task)
        for task in tasks
    )
    fits = []
    with threadpool_limits(1):  # matrices are small: threads of BLAS would only wait for each other
        for fit in work:
            fits.append(fit)
            listener()
    repeats, families = 1 + max(fit.repeat for fit in fits), [*dict.fromkeys(c.family for c in candidates)]
    scores = {family: np.full((repeats, len(y)), np.nan) for family in families}
    probabilities = {family: np.full((repeats, len(y)), np.nan) for family in [*families, CHOSEN]}
    fold_of = np.full((repeats, len(y)), -1)
    for fit in fits:
        fold_of[fit.repeat, fit.test] = fit.fold
        for family in families:
            scores[family][fit.repeat, fit.test] = fit.scores[family]
        for family in probabilities:
            probabilities[family][fit.repeat, fit.test] = fit.probabilities[family]
    return Outcome(scores, probabilities, fold_of, tuple(fits))


def leave_out(
    cases: Cases,
    y: Labels,
    usable: npt.NDArray[np.bool_],
    groups: Sequence[str],
    model: Model,
    candidates: Sequence[Candidate],
    scheme: Scheme,
) -> dict[str, Fit]:
    """Predict each group of patients by a model of all others.

    Args:
        groups: (n,) such as the centre; '' is nobody's and is always trained on.

    Returns:
        Group → what the others' model says of its usable patients. A group without both classes has none, nor has one
        whose others have fewer than two patients of a class.
    """
    from threadpoolctl import threadpool_limits

    named, found = np.array(groups, dtype=object), {}
    with threadpool_limits(1):
        for number, group in enumerate(sorted({*groups} - {""})):
            train, test = (np.flatnonzero(usable & own) for own in (named != group, named == group))
            if len(set(y[test])) < 2 or np.bincount(y[train], minlength=2).min() < 2:
                continue
            found[group] = _outer(cases, cases, y, model, candidates, scheme, 0, number, train, test)
    return found


def outer_folds(
    y: Labels, usable: npt.NDArray[np.bool_], scheme: Scheme
) -> Sequence[tuple[int, int, Indices, Indices]]:
    """(repeat, fold, train, test) of every outer fold; train holds usable patients only.

    Raises:
        InputError: If a class has fewer than two usable patients.
    """
    smallest = int(np.bincount(y[usable], minlength=2).min())
    if smallest < 2:
        raise InputError(
            f"Cross-validation needs at least two patients of each class with measured features, but one class has "
            f"{smallest}; enlarge the cohort or improve the segmentation."
        )
    folds = min(scheme.folds, smallest)
    found = []
    for repeat in range(scheme.repeats):
        split = StratifiedKFold(folds, shuffle=True, random_state=_seed(scheme.seed, repeat))
        # Stratified by usability too: a fold must not hold all patients whose lesion was missed.
        for fold, (train, test) in enumerate(split.split(np.zeros(len(y)), _strata(y, usable, folds))):
            found.append((repeat, fold, train[usable[train]], test))
    return found


def tune(
    cases: Cases, y: Labels, model: Model, candidates: Sequence[Candidate], inner: int, seed: int
) -> tuple[dict[str, Candidate], dict[str, Sigmoid]]:
    """Choose, on inner folds, each family's candidate, the best of all (`CHOSEN`), and their calibration.

    With too few patients for inner folds the middle candidate is taken, uncalibrated.
    """
    families = [*dict.fromkeys(candidate.family for candidate in candidates)]
    folds = min(inner, int(np.bincount(y, minlength=2).min()))
    if folds < 2:
        middle = {f: [c for c in candidates if c.family == f] for f in families}
        best = {family: options[len(options) // 2] for family, options in middle.items()}
        return {**best, CHOSEN: best[families[0]]}, dict.fromkeys([*families, CHOSEN], Sigmoid(1.0, 0.0))
    scores = np.full((len(candidates), len(y)), np.nan)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, test in split.split(np.zeros(len(y)), y):
        front, fitted = _fit(cases[train], y[train], model, candidates)
        x = front.transform(cases[test])
        scores[:, test] = [classifier.decision_function(x) for classifier in fitted]
    known = np.isfinite(scores).all(axis=0)
    merit = [auc(y[known], row[known]) for row in scores]
    merit = [0.5 if np.isnan(value) else value for value in merit]

    def winner(family: str | None) -> int:
        allowed = [i for i, c in enumerate(candidates) if family in (None, c.family)]
        return max(allowed, key=lambda i: (round(merit[i], 9), -i))

    winners = {**{family: winner(family) for family in families}, CHOSEN: winner(None)}
    sigmoids = {family: fit_sigmoid(scores[i][known], y[known]) for family, i in winners.items()}
    return {family: candidates[i] for family, i in winners.items()}, sigmoids


def fold_auc(outcome: Outcome, y: Labels, family: str) -> float:
    """Mean of the AUC within each fold: exactly 0.5 on average when there is nothing to learn.

    (Pooled over folds it would be below: a fold with more positives leaves fewer to train on.)
    """
    values = [auc(y[fit.test], fit.scores[family]) for fit in outcome.fits if _comparable(fit, y, family)]
    return float(np.mean(values)) if values else 0.5


def _comparable(fit: Fit, y: Labels, family: str) -> bool:
    return len(set(y[fit.test])) == 2 and bool(np.isfinite(fit.scores[family]).all())


def _outer(
    cases: Cases,
    seen_as: Cases,
    y: Labels,
    model: Model,
    candidates: Sequence[Candidate],
    scheme: Scheme,
    repeat: int,
    fold: int,
    train: Indices,
    test: Indices,
) -> Fit:
    best, sigmoids = tune(
        cases[train], y[train], model, candidates, scheme.inner, _seed(scheme.seed, repeat, fold)
    )
    families = [family for family in best if family != CHOSEN]
    front, fitted = _fit(cases[train], y[train], model, [best[family] for family in families])
    x = front.transform(seen_as[test])
    scores = {f: c.decision_function(x) for f, c in zip(families, fitted, strict=True)}
    probabilities = {family: sigmoids[family](scores[family]) for family in families}
    probabilities[CHOSEN] = sigmoids[CHOSEN](scores[best[CHOSEN].family])
    return Fit(
        repeat,
        fold,
        test,
        scores,
        probabilities,
        best,
        chosen(front, cases),
        path(front, cases),
        fitted[0].dropped_,
    )


def _fit(cases: Cases, y: Labels, model: Model, candidates: Sequence[Candidate]) -> tuple[Any, list[Any]]:
    """The pipeline's front, fitted once, and each candidate fitted behind it."""
    pipeline = build(model, candidates[0])
    front = pipeline[:-1]
    x = front.fit_transform(cases, y)
    fitted = [clone(build(model, candidate)[-1]).fit(x, y) for candidate in candidates]
    return front, fitted


def _strata(y: Labels, usable: npt.NDArray[np.bool_], folds: int) -> Labels:
    strata = y + 2 * (~usable).astype(int)
    counts = np.bincount(strata, minlength=4)
    rare = [value for value in (2, 3) if counts[value] < folds]
    return np.where(np.isin(strata, rare), strata % 2, strata)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(list(parts)).generate_state(1)[0])
