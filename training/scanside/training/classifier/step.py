"""`scanside train classifier`, in order: compare → calibrate → bound → fit → export with proof → predict → write."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.classifier import require_parity, to_onnx
from scanside.runtime.errors import InputError, OutputError, ScansideWarning
from scanside.runtime.images.files import atomic_write
from scanside.runtime.manifest import Classifier, Signature
from scanside.training.classifier.bounds import (
    calibration_band,
    conformal,
    measured_coverage,
    typical,
    youden,
)
from scanside.training.classifier.fit import Deployed, calibrate, deploy, out_of_fold
from scanside.training.classifier.predict import Prediction, predictions, write_predictions
from scanside.training.experiment import Experiment, write_json
from scanside.training.progress import Progress
from scanside.training.signature.auc import auc, repeated_auc
from scanside.training.signature.cases import BESIDE, Cases
from scanside.training.signature.nested import CHOSEN, Labels, Outcome, Scheme, cross_validate
from scanside.training.signature.pipeline import FAMILIES, Selection, candidates, models
from scanside.training.signature.step import FAMILY
from scanside.training.signature.store import CROSS_VALIDATED, TEST, Measurements, read_measurements

SCHEMA = "scanside.classifier-cv/1"
RESUBSTITUTION = "resubstitution"
MAIN = "radiomics"


@dataclass(frozen=True)
class Settings:
    """Everything the user can choose; the folds and the selection are the signature's.

    Attributes:
        coverage: Of the conformal band, within each class.
    """

    coverage: float = 0.9
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True, eq=False)
class Compared:
    """A model, cross-validated, and fitted on all training patients.

    Attributes:
        family: The one that won, or the only one.
    """

    outcome: Outcome
    family: str
    deployed: Deployed


def train_classifier(experiment: Experiment, settings: Settings, say: Callable[[str], None]) -> Path:
    """Compare, fit, bound, export and write everything.

    Returns:
        classifier.json.

    Raises:
        InputError: If there is no signature yet.
        BundleError: If the exported classifier differs from the fitted one.
    """
    started = time.time()
    signature = _signature(experiment)
    measurements = read_measurements(experiment.signature)
    scheme = Scheme(**{**signature["options"]["scheme"], "seed": settings.seed}, jobs=settings.jobs)
    selection = Selection(**signature["options"]["selection"])
    features = tuple(measurements.features.index(name) for name in signature["features"])
    with warnings.catch_warnings():
        # In a fold a small scanner may be unseen; the sentence about it would come a hundred times.
        warnings.simplefilter("ignore", ScansideWarning)
        compared = _compare(measurements, selection, features, scheme)
    names = signature["classes"]["positive"], signature["classes"]["negative"]
    main = compared[MAIN]
    record, facts = _bounded(main, measurements, names, settings)
    model = to_onnx(main.deployed.pipeline, len(features))
    parity = require_parity(model, main.deployed.pipeline, main.deployed.rows)
    say(
        f"{main.family}, C = {main.deployed.candidate.strength:g}; ONNX in double differs by {parity:.1g} at most"
    )
    document = {
        "signature": _ranges(signature["features"], main.deployed).model_dump(mode="json"),
        "classifier": record.model_dump(mode="json"),
    }
    report = {
        "schema": SCHEMA,
        "synthetic": experiment.synthetic,
        "classes": signature["classes"],
        "winner": {"family": main.family, "strength": main.deployed.candidate.strength},
        **_estimates(compared, measurements, scheme.seed),
        **facts,
        "onnx_parity": parity,
        "options": {
            "coverage": settings.coverage,
            "selection": selection.as_dict(),
            "folds": scheme.folds,
            "repeats": scheme.repeats,
            "inner": scheme.inner,
            "seed": scheme.seed,
        },
    }
    _write(experiment, model, document, report, _predictions(compared, measurements, record))
    _write_reference(experiment, main.deployed)
    experiment.record(
        "classifier",
        asdict(settings),
        seed=settings.seed,
        started=started,
        cv=report["models"][MAIN],
        winner=report["winner"],
    )
    cv = report["models"][MAIN]
    say(f"nested cross-validation: AUC {cv['auc']:.3f} ({cv['low']:.3f} to {cv['high']:.3f})")
    return experiment.classifier / "classifier.json"


def _compare(
    measurements: Measurements, selection: Selection, features: tuple[int, ...], scheme: Scheme
) -> dict[str, Compared]:
    """Every model; all families for the main one, logistic regression for the others."""
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    usable = measurements.usable(CROSS_VALIDATED)
    known = tuple(bool(np.isfinite(cases["beside"][usable, i]).any()) for i in range(len(BESIDE)))
    compared = {}
    for model in models(selection, known):
        families = tuple(FAMILIES) if model.name == MAIN else (FAMILY,)
        progress = Progress(f"cross-validating {model.name}", scheme.repeats * scheme.folds)
        outcome = cross_validate(cases, y, usable, model, candidates(families), scheme, progress)
        family = max(
            families, key=lambda name: repeated_auc(y, outcome.scores[name], scheme.seed, draws=1).auc
        )
        deployed = deploy(
            cases[usable],
            y[usable],
            model,
            features,
            candidates((family,)),
            calibrate(outcome, family, y),
            scheme,
        )
        compared[model.name] = Compared(outcome, family, deployed)
    return compared


def _bounded(
    main: Compared, measurements: Measurements, names: tuple[str, str], settings: Settings
) -> tuple[Classifier, dict[str, Any]]:
    """The classifier's record, and what is known of its bounds."""
    y = measurements.labels(CROSS_VALIDATED)
    known, scores = out_of_fold(main.outcome, main.family)
    y, folds = y[known], main.outcome.fold_of[:, known]
    probability = main.deployed.sigmoid(scores)
    labels = np.tile(y, len(scores))
    threshold = youden(labels, probability.ravel())
    sets = conformal(y, probability, settings.coverage)
    coverage = measured_coverage(y, probability, folds, settings.coverage)
    # Beside the threshold a class would be named that the prediction set does not hold.
    low, high = min(sets.band[0], threshold), max(sets.band[1], threshold)
    called = probability >= threshold
    record = Classifier(
        file="classifier.onnx",
        positive=names[0],
        negative=names[1],
        threshold=threshold,
        indeterminate=(low, high),
        calibration=f"sigmoid (Platt) on out-of-fold scores of {len(y)} training patients",
        band=calibration_band(y, scores, main.deployed.sigmoid, settings.seed),
        typical=typical(main.deployed.rows),
    )
    facts = {
        "threshold": {
            "value": threshold,
            "method": "Youden, out of fold",
            "sensitivity": round(float(called[:, y == 1].mean()), 4),
            "specificity": round(float(1 - called[:, y == 0].mean()), 4),
        },
        "conformal": {
            **asdict(coverage),
            "positive_from": sets.positive_from,
            "negative_to": sets.negative_to,
            "indeterminate": [low, high],
            "method": "class-conditional; coverage measured on folds that did not set the band",
        },
        "calibration": {"slope": main.deployed.sigmoid.slope, "intercept": main.deployed.sigmoid.intercept},
        "dropped": main.deployed.dropped,
    }
    return record, facts


def _estimates(compared: dict[str, Compared], measurements: Measurements, seed: int) -> dict[str, Any]:
    """AUCs of the nested cross-validation and on the training patients themselves."""
    y = measurements.labels(CROSS_VALIDATED)
    cases = measurements.cases(CROSS_VALIDATED)
    outcome = compared[MAIN].outcome
    choices: dict[str, int] = {}
    for fit in outcome.fits:
        name = f"{fit.best[CHOSEN].family}, C = {fit.best[CHOSEN].strength:g}"
        choices[name] = choices.get(name, 0) + 1
    return {
        # The family is chosen inside the folds here, so these estimates pay for the choice.
        "models": {
            name: repeated_auc(y, c.outcome.probabilities[CHOSEN], seed).as_dict()
            for name, c in compared.items()
        },
        "families": {
            family: repeated_auc(y, outcome.scores[family], seed).as_dict() for family in outcome.scores
        },
        "choices": dict(sorted(choices.items(), key=lambda item: -item[1])),
        "resubstitution_auc": {name: _known_auc(y, c.deployed, cases) for name, c in compared.items()},
    }


def _known_auc(y: Labels, deployed: Deployed, cases: Cases) -> float | None:
    probability = deployed.probability(cases)
    known = np.isfinite(probability)
    value = auc(y[known], probability[known])
    return None if np.isnan(value) else round(value, 4)


def _predictions(
    compared: dict[str, Compared], measurements: Measurements, record: Classifier
) -> list[Prediction]:
    rows: list[Prediction] = []
    for name, model in compared.items():
        bound = record if name == MAIN else None
        patients, cases = measurements.of(CROSS_VALIDATED), measurements.cases(CROSS_VALIDATED)
        own = model.deployed.probability(cases)
        rows += predictions(patients, RESUBSTITUTION, name, own, bound, model.deployed.matrix(cases))
        honest = model.outcome.probabilities[CHOSEN].mean(axis=0)
        rows += predictions(patients, CROSS_VALIDATED, name, honest, bound)
        if patients := measurements.of(TEST):
            cases = measurements.cases(TEST)
            new = model.deployed.probability(cases)
            rows += predictions(patients, TEST, name, new, bound, model.deployed.matrix(cases))
    return rows


def _ranges(names: list[str], deployed: Deployed) -> Signature:
    low, middle, high = np.percentile(deployed.rows, [5, 50, 95], axis=0)
    ranges = {
        name: (float(a), float(b), float(c)) for name, a, b, c in zip(names, low, middle, high, strict=True)
    }
    return Signature(features=tuple(names), ranges=ranges)


def _signature(experiment: Experiment) -> dict[str, Any]:
    path = experiment.signature / "signature.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"There is no {path}; run `scanside train signature` first.") from error
    return document


def _write(
    experiment: Experiment,
    model: bytes,
    document: dict[str, Any],
    report: dict[str, Any],
    rows: list[Prediction],
) -> None:
    folder = experiment.classifier
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); check permissions and space."
        ) from error
    with atomic_write(folder / "classifier.onnx") as temporary:
        temporary.write_bytes(model)
    write_predictions(folder / "predictions.csv", rows)
    write_json(folder / "cv.json", report)
    write_json(folder / "classifier.json", document)


def _write_reference(experiment: Experiment, deployed: Deployed) -> None:
    """scikit-learn's model in numbers and what it says of the training rows: what an exported bundle is held to."""
    scaler, classifier = deployed.pipeline[0], deployed.pipeline[1]
    with atomic_write(experiment.classifier / "reference.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            features=deployed.rows,
            probabilities=deployed.pipeline.predict_proba(deployed.rows)[:, 1],
            mean=scaler.mean_,
            scale=scaler.scale_,
            weights=classifier.coef_[0],
            intercept=classifier.intercept_[0],
        )
