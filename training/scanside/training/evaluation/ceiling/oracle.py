"""The diagnosis from what the phantom drew for a lesion: no image, no mask, no feature stands in the way."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.evaluation.delong import Area, area
from scanside.training.phantom.cohort import PhantomPatient

PARAMETERS = (
    "size_mm", "t2_ms", "d", "f", "irregularity", "edge_mm", "texture", "grain_mm", "cystic", "capsule", "clot",
    "duct_mm",
)  # fmt: skip
POSITIVE = "PDAC"


def parameter_table(patients: Sequence[PhantomPatient]) -> Float64:
    """(N, 12) what an oracle knows of the lesions; the size as its logarithm."""
    table = np.array([[getattr(patient.lesion, name) for name in PARAMETERS] for patient in patients])
    table[:, 0] = np.log(table[:, 0])
    return table


def oracle_model() -> Any:
    """Quadratic logistic regression; scikit-learn's, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    regression = LogisticRegression(C=0.1, max_iter=500)
    return make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), regression)


def oracle_area(train: Sequence[PhantomPatient], test: Sequence[PhantomPatient]) -> Area:
    """Area under the ROC curve on `test` of the oracle fitted on `train`."""
    positive = [np.array([p.lesion.diagnosis == POSITIVE for p in patients]) for patients in (train, test)]
    model = oracle_model().fit(parameter_table(train), positive[0])
    return area(positive[1], model.predict_proba(parameter_table(test))[:, 1])
