"""From out-of-fold scores to the classifier that is deployed: scaler → linear → sigmoid, one logistic regression.

A linear score f(x) and Platt's sigmoid are σ(slope · f(x) + intercept): a logistic regression with other weights. So
the deployed pipeline is a StandardScaler and a LogisticRegression whichever family won, and converts exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from scanside.runtime.arrays import Float64
from scanside.training.classifier.sigmoid import Sigmoid, fit_sigmoid
from scanside.training.signature.cases import Cases
from scanside.training.signature.nested import CHOSEN, Labels, Outcome, tune
from scanside.training.signature.pipeline import Candidate, Model, build
from scanside.training.signature.settings import Scheme

SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logit is taken."""


@dataclass(frozen=True, eq=False)
class Deployed:
    """A fitted classifier.

    Attributes:
        pipeline: StandardScaler and LogisticRegression on raw features.
        model: What goes in.
        indices: Features, among the measured ones; empty for a baseline.
        candidate: The family and the regularisation that were fitted.
        sigmoid: The calibration, which is already a part of the pipeline.
        recalibration: Its last part, which the outer folds told: for their own probabilities.
        rows: (n, p) raw training rows without absent values.
        dropped: Training patients left out because a feature is absent.
    """

    pipeline: Pipeline
    model: Model
    indices: tuple[int, ...]
    candidate: Candidate
    sigmoid: Sigmoid
    recalibration: Sigmoid
    rows: Float64
    dropped: int

    def matrix(self, cases: Cases) -> Float64:
        """(n, p) raw inputs of patients, NaN where absent."""
        features = cases["values"][:, list(self.indices)]
        return np.concatenate([features, cases["beside"][:, list(self.model.columns)]], axis=1)

    def probability(self, cases: Cases) -> Float64:
        """(n,) calibrated probabilities of the positive class; NaN where an input is absent."""
        rows = self.matrix(cases)
        whole = np.isfinite(rows).all(axis=1)
        found = np.full(len(rows), np.nan)
        if whole.any():
            found[whole] = self.pipeline.predict_proba(rows[whole])[:, 1]
        return found


def out_of_fold(outcome: Outcome, family: str) -> tuple[npt.NDArray[np.bool_], Float64]:
    """Which patients have a probability in every repeat, and its logits (repeats, known).

    Each fold's probability is calibrated inside that fold, so that they are comparable between folds, as scores of
    classifiers of different strengths are not.
    """
    probabilities = outcome.probabilities[family]
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(probabilities).all(axis=0))
    return known, logits(probabilities[:, known])


def logits(probabilities: Float64) -> Float64:
    """log(p / (1 - p)), finite; NaN stays NaN."""
    return np.asarray(logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST)))


def calibrate(outcome: Outcome, family: str, y: Labels) -> Sigmoid:
    """What the folds' own calibration lacks: a sigmoid on their logits, of all repeats; every patient weighs one.

    A slope of 1 and an intercept of 0 where they lack nothing.
    """
    known, scores = out_of_fold(outcome, family)
    repeats = len(scores)
    return fit_sigmoid(scores.ravel(), np.tile(y[known], repeats), np.full(scores.size, 1 / repeats))


def deploy(
    cases: Cases,
    y: Labels,
    model: Model,
    features: tuple[int, ...],
    candidates: Sequence[Candidate],
    recalibration: Sigmoid,
    scheme: Scheme,
) -> Deployed:
    """Fit on all training patients: strength by cross-validation of the whole procedure, features as decided.

    The probability is made as in each outer fold: calibrated on inner folds, of all training patients this time; and
    then recalibrated by what the outer folds told.

    With ComBat the fit sees harmonised values; a new patient's scanner is not known, so the deployed classifier takes
    values as they are.

    Args:
        cases, y: The patients who may enter a fit, and their classes.
        features: Indices of the signature; ignored by a model without radiomics.
        candidates: Of the family that was decided.
        recalibration: From `calibrate`.
    """
    best, inner = tune(cases, y, model, candidates, scheme.folds, scheme.seed)
    fixed = replace(model, given=features) if model.radiomics else model
    fitted = build(fixed, best[CHOSEN]).fit(cases, y)
    scaler, classifier = fitted[-2], fitted[-1]
    sigmoid = recalibration.after(inner[CHOSEN])
    pipeline = Pipeline([("scale", scaler), ("classify", _calibrated(classifier.fitted_, sigmoid))])
    deployed = Deployed(
        pipeline,
        model,
        features if model.radiomics else (),
        best[CHOSEN],
        sigmoid,
        recalibration,
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
