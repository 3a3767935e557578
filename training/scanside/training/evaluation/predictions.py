"""The classifier's side of an experiment, read: predictions.csv, classifier.json, signature.json."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.export.experiment_files import CLASSIFIER, ClassifierDocument, read_file
from scanside.runtime.errors import InputError
from scanside.training.cohort.declared import SPLITS
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation.cases import SPLIT_OF
from scanside.training.experiment import PARTS, Experiment
from scanside.training.signature.document import SIGNATURE, SignatureDocument

COLUMNS = ("patient", "part", "model", "probability", "status")
OPTIONAL = ("unguarded", "predicted", "answered")
"""Columns that may be absent."""
DEPLOYED, SHARED = "deployed", "radiomics"
"""All models of the bundle together; and the signature alone, which is the main one where there is no bundle's."""


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv.

    Attributes:
        probability: Of the positive class; None where none was given, and `status` says why.
        unguarded: The same, given even to a patient unlike the training cohort; None where nothing could be computed.
        predicted: The class that was named; None where none was.
        answered: The model that answered.
    """

    patient: str
    part: str
    model: str
    probability: float | None
    status: str
    unguarded: float | None = None
    predicted: str | None = None
    answered: str | None = None


@dataclass(frozen=True)
class ClassifierFacts:
    """What the report needs to know of the classifier.

    Attributes:
        main: What is judged first: all models of the bundle together, where there are some.
        bounds: Model → its threshold and band; empty when there is no classifier.json.
        roles: Model → the roles it is measured in; only models of the bundle.
        wrong: Patient → roles in which the measured region is not the reader's lesion; of those whom a reader
            outlined. None where nobody looked.
        features: Of the signature that all sequences share.
        signature: What is known of the procedure that chose it; None where nobody says.
    """

    main: str
    positive: str
    negative: str
    bounds: Mapping[str, tuple[float, tuple[float, float]]]
    roles: Mapping[str, tuple[str, ...]]
    wrong: Mapping[str, frozenset[str]] | None
    features: tuple[str, ...] | None
    signature: SignatureDocument | None = None


def read_predictions(experiment: Experiment, cohort: Cohort) -> list[Prediction] | None:
    """The predictions, or None when the experiment has no classifier yet.

    Raises:
        InputError: Naming the row, if one is about an unknown patient, of the wrong split, twice there, or without
            both probability and reason.
    """
    path = experiment.classifier / "predictions.csv"
    if not path.exists():
        return None
    splits = {patient.patient: patient.split for patient in cohort.patients}
    judged = {patient.patient for split in SPLITS for patient in cohort.classified(split)}
    found: dict[tuple[str, str, str], Prediction] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path} lacks the column {missing[0]}; train the classifier again.")
            for row in reader:
                prediction = _parse(row, path, reader.line_num)
                key = (prediction.model, prediction.part, prediction.patient)
                _check(prediction, splits, judged, key in found, path, reader.line_num)
                found[key] = prediction
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); train the classifier again.") from error
    if not found:
        raise InputError(f"{path} holds no prediction; train the classifier again.")
    return list(found.values())


def read_facts(experiment: Experiment, predictions: list[Prediction]) -> ClassifierFacts:
    """What classifier.json and signature.json say, as far as they are there.

    Raises:
        InputError: If one is there but is not what its step writes.
    """
    found: ClassifierDocument | None = None
    signature: SignatureDocument | None = None
    if (file := experiment.classifier / CLASSIFIER).exists():
        found = read_file(file, ClassifierDocument, "scanside train classifier")
    if (file := experiment.signature / SIGNATURE).exists():
        signature = read_file(file, SignatureDocument, "scanside train signature")
    known = found.models if found else ()
    models = list(dict.fromkeys(prediction.model for prediction in predictions))
    shared = next((model for model in known if model.name == SHARED), None)
    return ClassifierFacts(
        main=next((name for name in (DEPLOYED, SHARED) if name in models), models[0]),
        positive=known[0].classifier.positive if known else "PDAC",
        negative=known[0].classifier.negative if known else "non-PDAC",
        bounds={model.name: (model.classifier.threshold, model.classifier.indeterminate) for model in known},
        roles={model.name: model.roles or () for model in known},
        wrong=_wrong(experiment),
        features=shared.signature.features if shared else None,
        signature=signature,
    )


def _wrong(experiment: Experiment) -> dict[str, frozenset[str]] | None:
    path = experiment.signature / "patients.csv"
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return {row["patient"]: frozenset(row["wrong"].split()) for row in csv.DictReader(file)}


def _parse(row: dict[str, Any], path: Path, line: int) -> Prediction:
    text = {name: (row.get(name) or "").strip() for name in (*COLUMNS, *OPTIONAL)}
    probability, unguarded = (_probability(text[name], path, line) for name in ("probability", "unguarded"))
    return Prediction(
        text["patient"],
        text["part"],
        text["model"],
        probability,
        text["status"],
        probability if unguarded is None else unguarded,
        text["predicted"] or None,
        text["answered"] or None,
    )


def _probability(text: str, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"{path}, line {line}: '{text}' is not a probability; train the classifier again.")
    return value


def _check(
    prediction: Prediction, splits: dict[str, str], judged: set[str], twice: bool, path: Path, line: int
) -> None:
    problem = None
    if prediction.patient not in splits:
        problem = f"patient '{prediction.patient}' is not in the cohort"
    elif prediction.patient not in judged:
        problem = f"patient '{prediction.patient}' has no lesion of a known diagnosis in the cohort"
    elif prediction.part not in PARTS:
        problem = f"there is no part '{prediction.part}'"
    elif SPLIT_OF[prediction.part] != splits[prediction.patient]:
        split = splits[prediction.patient]
        problem = (
            f"patient {prediction.patient} of the {split} split has a prediction of part {prediction.part}"
        )
    elif twice:
        problem = f"{prediction.patient} has a second prediction of {prediction.model}, {prediction.part}"
    elif prediction.probability is None and prediction.status in ("", "ok"):
        problem = f"{prediction.patient} has no probability and no reason why"
    if problem:
        raise InputError(f"{path}, line {line}: {problem}; train the classifier again.")
