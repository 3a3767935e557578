"""From out-of-fold scores to the classifier that is deployed: scaler → linear → sigmoid, one logistic regression.

A linear score f(x) and Platt's sigmoid are σ(slope · f(x) + intercept): a logistic regression with other weights. So
the deployed pipeline is a StandardScaler and a LogisticRegression whichever family won, and converts exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from scanside.training.classifier.sigmoid import Floats, Sigmoid, fit_sigmoid
from scanside.training.signature.cases import BESIDE, Cases
from scanside.training.signature.nested import CHOSEN, Labels, Outcome, Scheme, tune
from scanside.training.signature.pipeline import Candidate, Model, build


@dataclass(frozen=True, eq=False)
class Deployed:
    """A fitted classifier.

    Attributes:
        pipeline: StandardScaler and LogisticRegression on raw features.
        model: What goes in.
        indices: Features, among the measured ones; empty for a baseline.
        candidate: The family and the regularisation that were fitted.
        sigmoid: The calibration, which is already a part of the pipeline.
        rows: (n, p) raw training rows without absent values.
        dropped: Training patients left out because a feature is absent.
    """

    pipeline: Pipeline
    model: Model
    indices: tuple[int, ...]
    candidate: Candidate
    sigmoid: Sigmoid
    rows: Floats
    dropped: int

    def matrix(self, cases: Cases) -> Floats:
        """(n, p) raw inputs of patients, NaN where absent."""
        beside = [BESIDE.index(name) for name in self.model.beside]
        features = cases["values"][:, list(self.indices)]
        return np.concatenate([features, cases["beside"][:, beside]], axis=1)

    def probability(self, cases: Cases) -> Floats:
        """(n,) calibrated probabilities of the positive class; NaN where an input is absent."""
        rows = self.matrix(cases)
        whole = np.isfinite(rows).all(axis=1)
        found = np.full(len(rows), np.nan)
        if whole.any():
            found[whole] = self.pipeline.predict_proba(rows[whole])[:, 1]
        return found


def out_of_fold(outcome: Outcome, family: str) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which patients have a score in every repeat, and those scores (repeats, known)."""
    scores = outcome.scores[family]
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(scores).all(axis=0))
    return known, scores[:, known]


def calibrate(outcome: Outcome, family: str, y: Labels) -> Sigmoid:
    """Platt's sigmoid on the out-of-fold scores of all repeats; every patient weighs one."""
    known, scores = out_of_fold(outcome, family)
    repeats = len(scores)
    return fit_sigmoid(scores.ravel(), np.tile(y[known], repeats), np.full(scores.size, 1 / repeats))


def deploy(
    cases: Cases,
    y: Labels,
    model: Model,
    features: tuple[int, ...],
    candidates: Sequence[Candidate],
    sigmoid: Sigmoid,
    scheme: Scheme,
) -> Deployed:
    """Fit on all training patients: strength by cross-validation of the whole procedure, features as decided.

    With ComBat the fit sees harmonised values; a new patient's scanner is not known, so the deployed classifier takes
    values as they are.

    Args:
        cases, y: The patients who may enter a fit, and their classes.
        features: Indices of the signature; ignored by a model without radiomics.
        candidates: Of the family that was decided.
        sigmoid: From `calibrate`.
    """
    best, _ = tune(cases, y, model, candidates, scheme.folds, scheme.seed)
    fixed = replace(model, given=features) if model.radiomics else model
    fitted = build(fixed, best[CHOSEN]).fit(cases, y)
    scaler, classifier = fitted[-2], fitted[-1]
    pipeline = Pipeline([("scale", scaler), ("classify", _calibrated(classifier.fitted_, sigmoid))])
    deployed = Deployed(
        pipeline,
        model,
        features if model.radiomics else (),
        best[CHOSEN],
        sigmoid,
        np.zeros((0, 0)),
        classifier.dropped_,
    )
    rows = deployed.matrix(cases)
    return replace(deployed, rows=rows[np.isfinite(rows).all(axis=1)])


def _calibrated(linear: Any, sigmoid: Sigmoid) -> LogisticRegression:
    """The logistic regression that is a linear classifier followed by a sigmoid."""
    classifier = LogisticRegression()
    classifier.classes_ = np.array([0, 1])
    classifier.coef_ = np.asarray(sigmoid.slope * linear.coef_, dtype=np.float64).reshape(1, -1)
    classifier.intercept_ = np.asarray(sigmoid.slope * linear.intercept_ + sigmoid.intercept).reshape(1)
    classifier.n_features_in_ = classifier.coef_.shape[1]
    classifier.n_iter_ = np.array([0])
    return classifier
