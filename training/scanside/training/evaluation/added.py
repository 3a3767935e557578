"""What images add to what is known without them: on the same patients, by area and by likelihood."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from scanside.runtime.arrays import Float64
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation import records
from scanside.training.evaluation.delong import Bools, difference
from scanside.training.evaluation.predictions import Prediction

COMBINED, CLINICAL, RADIOMICS = "combined", "clinical", "radiomics"
_CLIP, _FEWEST = 1e-6, 10
_PERFECT = -0.01
"""A log-likelihood above this means that the classes are separated: there is nothing to compare."""


def added_value(
    predictions: Sequence[Prediction], part: str, positive: str, cohort: Cohort
) -> records.AddedValue | None:
    """The model with images and clinical data against that with clinical data alone, on patients whom all three answer.

    The likelihood ratio is that of logistic regressions on the patients of this part: truth on the logit of the
    clinical model, and on it and the logit of the radiomics model. None without the three models or both classes.
    """
    scores: dict[str, dict[str, float]] = {COMBINED: {}, CLINICAL: {}, RADIOMICS: {}}
    for row in predictions:
        if row.part == part and row.model in scores and row.probability is not None:
            scores[row.model][row.patient] = row.probability
    shared = sorted(set.intersection(*(set(found) for found in scores.values())))
    diagnoses = {patient.patient: patient.diagnosis for patient in cohort.patients}
    truth = np.array([diagnoses[name] == positive for name in shared], dtype=bool)
    if len(shared) < _FEWEST or truth.all() or not truth.any():
        return None
    said = {model: np.array([found[name] for name in shared]) for model, found in scores.items()}
    found = difference(truth, said[COMBINED], said[CLINICAL])
    ratio = likelihood_ratio(truth, said[CLINICAL], said[RADIOMICS])
    return records.AddedValue(
        part=part,
        patients=len(shared),
        difference=found.value,
        interval=found.interval,
        p=found.p if math.isfinite(found.p) else None,
        likelihood_ratio=ratio,
        likelihood_ratio_p=None if ratio is None else float(stats.chi2.sf(ratio, 1)),
    )


def likelihood_ratio(truth: Bools, known: Float64, more: Float64) -> float | None:
    """Twice the gain in log-likelihood by the logit of `more` beside that of `known`, chi-squared with one degree.

    Returns:
        None where the classes are separated.
    """
    x = np.log(np.clip([known, more], _CLIP, 1 - _CLIP) / np.clip(1 - np.array([known, more]), _CLIP, 1)).T
    both, alone = _log_likelihood(truth, x), _log_likelihood(truth, x[:, :1])
    return None if both is None or alone is None else max(0.0, 2 * (both - alone))


def _log_likelihood(truth: Bools, x: Float64) -> float | None:
    fitted = LogisticRegression(C=1e8, tol=1e-10, max_iter=10_000).fit(x, truth)
    p = np.clip(fitted.predict_proba(x)[:, 1], 1e-15, 1 - 1e-15)
    found = float(np.where(truth, np.log(p), np.log1p(-p)).sum())
    return None if found > _PERFECT else found
