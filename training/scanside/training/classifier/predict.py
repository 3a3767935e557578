"""classifier/predictions.csv: what every model says of every patient, and with which status."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64
from scanside.runtime.classify import relative_distances
from scanside.runtime.images.files import atomic_write
from scanside.runtime.study_model import Classifier
from scanside.training.signature.store import Measured

OK, INDETERMINATE = "ok", "indeterminate"
UNSUITABLE, NO_LESION = "unsuitable input", "no lesion segmented"
DEPLOYED = "deployed"
"""All models of the bundle together, each answering where it is the one to answer."""


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv.

    Attributes:
        part: `resubstitution` (the deployed classifier on its own training patients, measured on cross-validated
            masks), `cross-validated` (mean over repeats of models that did not see the patient), or `test`.
        model: `radiomics`, `combined`, `dwi alone`, a baseline, or `deployed`.
        probability: As the deployed system would give it; None where it would give none.
        status: `ok`, `indeterminate`, `unsuitable input` or `no lesion segmented`.
        unguarded: The probability even where the out-of-distribution guard withholds it; None without features.
        predicted: The class that is named; None where none is.
        answered: The model that answered; None where none did.
    """

    patient: str
    part: str
    model: str
    probability: float | None
    status: str
    unguarded: float | None
    predicted: str | None
    answered: str | None


@dataclass(frozen=True, eq=False)
class Voice:
    """What a model says of the patients of a part.

    Attributes:
        roles: Masks it is measured in; None for a baseline, which needs none.
        probability: (n,), NaN where an input is absent.
        classifier: The deployed classifier, for its band; None for models that have none.
        rows: (n, p) raw inputs, where the out-of-distribution guard applies; None for cross-validated probabilities,
            since each fold has other features.
        known: (n,), whether what the model takes beside the images is known of each patient; None where it takes none.
    """

    name: str
    roles: tuple[str, ...] | None
    probability: Float64
    classifier: Classifier | None = None
    rows: Float64 | None = None
    known: npt.NDArray[np.bool_] | None = None


def predictions(
    patients: Sequence[Measured], part: str, voice: Voice, everywhere: Collection[str]
) -> list[Prediction]:
    """Rows of one model on one part.

    Args:
        everywhere: Every role of the experiment.
    """
    away = np.zeros(len(patients))
    if voice.rows is not None and voice.classifier is not None:
        away = relative_distances(voice.classifier.typical, voice.rows)
    found = []
    for patient, value, distance in zip(patients, voice.probability, away, strict=True):
        if voice.roles is not None and not patient.shows(voice.roles):
            found.append(_silent(patient, part, voice.name, everywhere))
        elif np.isnan(value):
            status = NO_LESION if voice.roles is None and patient.missed else UNSUITABLE
            found.append(Prediction(patient.patient, part, voice.name, None, status, None, None, voice.name))
        else:
            given = None if distance > 1 else float(value)
            status, named = _verdict(given, voice.classifier)
            found.append(
                Prediction(patient.patient, part, voice.name, given, status, float(value), named, voice.name)
            )
    return found


def answers(
    patients: Sequence[Measured],
    part: str,
    voices: Sequence[Voice],
    rows: Mapping[str, Sequence[Prediction]],
    everywhere: Collection[str],
) -> list[Prediction]:
    """What the bundle says: of each patient the row of the first model whose conditions are met, as at the scanner.

    Args:
        voices: The deployed models in order of preference.
        rows: Model → its predictions of the same patients.
    """
    found = []
    for index, patient in enumerate(patients):
        shown = set(everywhere) - set(patient.missed.split())
        possible = not patient.apart and (bool(shown) or not everywhere)
        answering = [
            voice
            for voice in voices
            if possible
            and set(voice.roles or ()) == shown
            and (voice.known is None or bool(voice.known[index]))
        ]
        if answering:
            found.append(replace(rows[answering[0].name][index], model=DEPLOYED))
        else:
            found.append(_silent(patient, part, DEPLOYED, everywhere))
    return found


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


def _silent(patient: Measured, part: str, model: str, everywhere: Collection[str]) -> Prediction:
    """No probability, since the lesions do not allow one."""
    nothing = bool(everywhere) and set(everywhere) <= set(patient.missed.split())
    status = NO_LESION if nothing else INDETERMINATE
    return Prediction(patient.patient, part, model, None, status, None, None, None)


def _verdict(probability: float | None, classifier: Classifier | None) -> tuple[str, str | None]:
    if probability is None:
        return UNSUITABLE, None
    if classifier is None:
        return OK, None
    low, high = classifier.indeterminate
    if low < probability < high:
        return INDETERMINATE, None
    return OK, classifier.positive if probability >= classifier.threshold else classifier.negative
