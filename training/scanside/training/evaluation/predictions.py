"""The classifier's side of an experiment, read: predictions.csv, classifier.json, signature.json."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.errors import InputError
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation.cases import SPLIT_OF
from scanside.training.experiment import PARTS, Experiment

COLUMNS = ("patient", "part", "model", "probability", "status")
UNGUARDED = "unguarded"
"""A column that may be absent."""
DEFAULT_MODEL = "radiomics"


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv.

    Attributes:
        probability: Of the positive class; None where none was given, and `status` says why.
        unguarded: The same, given even to a patient unlike the training cohort; None where nothing could be computed.
    """

    patient: str
    part: str
    model: str
    probability: float | None
    status: str
    unguarded: float | None = None


@dataclass(frozen=True)
class Canary:
    """A run of the whole selection where there is nothing to learn; its interval must hold 0.5."""

    name: str
    auc: float
    low: float
    high: float
    passed: bool


@dataclass(frozen=True)
class ClassifierFacts:
    """What the report needs to know of the classifier.

    Attributes:
        main: The model the classifier was made of.
        threshold: Probability from which the positive class is named; None when there is no classifier.json.
        band: Probabilities strictly between these name no class; None likewise.
    """

    main: str
    positive: str
    negative: str
    threshold: float | None
    band: tuple[float, float] | None
    features: tuple[str, ...] | None
    path: tuple[tuple[str, int], ...] | None
    canaries: tuple[Canary, ...] | None


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
                _check(prediction, splits, key in found, path, reader.line_num)
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
    document = _json(experiment.classifier / "classifier.json")
    selection = _json(experiment.signature / "signature.json")
    models = list(dict.fromkeys(prediction.model for prediction in predictions))
    main = str(document.get("model", DEFAULT_MODEL))
    try:
        record: dict[str, Any] = document.get("classifier", {})
        signature: dict[str, Any] = document.get("signature", {})
        band = record.get("indeterminate")
        path = selection.get("path")
        return ClassifierFacts(
            main=main if main in models else models[0],
            positive=str(record.get("positive", "PDAC")),
            negative=str(record.get("negative", "non-PDAC")),
            threshold=float(record["threshold"]) if "threshold" in record else None,
            band=(float(band[0]), float(band[1])) if band else None,
            features=tuple(map(str, signature["features"])) if "features" in signature else None,
            path=tuple((str(step["step"]), int(step["features"])) for step in path) if path else None,
            canaries=_canaries(selection.get("canaries")),
        )
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise InputError(
            f"The classifier or signature of {experiment.path} cannot be understood ({error!r}); train it again."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run its step again.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a JSON object; run its step again.")
    return document


def _parse(row: dict[str, Any], path: Path, line: int) -> Prediction:
    text = {name: (row.get(name) or "").strip() for name in (*COLUMNS, UNGUARDED)}
    probability, unguarded = (_probability(text[name], path, line) for name in ("probability", UNGUARDED))
    given = probability if unguarded is None else unguarded
    return Prediction(text["patient"], text["part"], text["model"], probability, text["status"], given)


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


def _canaries(rows: Any) -> tuple[Canary, ...] | None:
    if not rows:
        return None
    return tuple(
        Canary(str(r["name"]), float(r["auc"]), float(r["low"]), float(r["high"]), bool(r["passed"]))
        for r in rows
    )


def _check(prediction: Prediction, splits: dict[str, str], twice: bool, path: Path, line: int) -> None:
    problem = None
    if prediction.patient not in splits:
        problem = f"patient '{prediction.patient}' is not in the cohort"
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
