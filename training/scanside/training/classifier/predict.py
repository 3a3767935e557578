"""classifier/predictions.csv: what every model says of every patient, and with which status."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from scanside.runtime.images.files import atomic_write
from scanside.runtime.manifest import Classifier, Typical
from scanside.training.classifier.sigmoid import Floats
from scanside.training.signature.store import Measured

OK, INDETERMINATE = "ok", "indeterminate"
UNSUITABLE, NO_LESION = "unsuitable input", "no lesion segmented"


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv.

    Attributes:
        part: `resubstitution` (the deployed classifier on its own training patients, measured on cross-validated
            masks), `cross-validated` (mean over repeats of models that did not see the patient), or `test`.
        model: `radiomics`, `combined`, `volume`, `adc_mean` or `age_sex`.
        probability: As the deployed system would give it; None where it would give none.
        status: `ok`, `indeterminate`, `unsuitable input` or `no lesion segmented`.
        unguarded: The probability even where the out-of-distribution guard withholds it; None without features.
    """

    patient: str
    part: str
    model: str
    probability: float | None
    status: str
    unguarded: float | None


def predictions(
    patients: Sequence[Measured],
    part: str,
    model: str,
    probability: Floats,
    classifier: Classifier | None = None,
    rows: Floats | None = None,
) -> list[Prediction]:
    """Rows of one model on one part.

    Args:
        probability: (n,), NaN where an input is absent.
        classifier: The deployed classifier, for its band; None for models that have none.
        rows: (n, p) raw features, where the out-of-distribution guard applies. It does not apply to cross-validated
            probabilities: each fold has other features.
    """
    away = (
        np.zeros(len(patients))
        if rows is None or classifier is None
        else relative_distance(classifier.typical, rows)
    )
    found = []
    for patient, value, distance in zip(patients, probability, away, strict=True):
        if np.isnan(value):
            found.append(
                Prediction(
                    patient.patient, part, model, None, NO_LESION if patient.missed else UNSUITABLE, None
                )
            )
            continue
        given = None if distance > 1 else float(value)
        found.append(
            Prediction(patient.patient, part, model, given, _status(given, classifier), float(value))
        )
    return found


def relative_distance(typical: Typical, rows: Floats) -> Floats:
    """Mahalanobis distance over the limit, (n,); as `scanside.runtime.classify` computes it. NaN where absent."""
    away = rows - np.array(typical.centre)
    squared = np.einsum("ij,jk,ik->i", away, np.array(typical.precision), away)
    return np.sqrt(np.maximum(squared, 0.0)) / typical.limit


def write_predictions(path: Path, rows: Sequence[Prediction]) -> None:
    """Write predictions.csv.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column.name for column in fields(Prediction))
        for row in rows:
            writer.writerow("" if cell is None else cell for cell in astuple(row))


def _status(probability: float | None, classifier: Classifier | None) -> str:
    if probability is None:
        return UNSUITABLE
    if classifier is None:
        return OK
    low, high = classifier.indeterminate
    return INDETERMINATE if low < probability < high else OK
