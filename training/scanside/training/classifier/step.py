"""`scanside train classifier`, in order: compare → calibrate → bound → fit → export with proof → predict → write."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.classifier import require_parity, to_onnx
from scanside.export.experiment_files import CLASSIFIER, ClassifierDocument, read_file
from scanside.runtime.errors import OutputError, ScansideWarning
from scanside.runtime.images.files import atomic_write
from scanside.runtime.manifest import Agreement
from scanside.runtime.study_model import Classifier, Covariate, Signature, StudyModel
from scanside.training.classifier.bounded import bounded, slug
from scanside.training.classifier.compare import MAIN, Compared, Say, compare, misplaced
from scanside.training.classifier.covariates import covariate_columns, with_covariates
from scanside.training.classifier.document import (
    CROSS_VALIDATION,
    Bounds,
    ClassifierOptions,
    CrossValidation,
    DeployedModel,
    Winner,
)
from scanside.training.classifier.fit import Deployed, logits
from scanside.training.classifier.predict import (
    Prediction,
    Voice,
    answers,
    predictions,
    write_predictions,
)
from scanside.training.cohort.declared import CovariateColumn
from scanside.training.experiment import Experiment, write_document
from scanside.training.signature.auc import auc, repeated_auc
from scanside.training.signature.cases import Cases
from scanside.training.signature.document import SIGNATURE, Estimate, SignatureDocument
from scanside.training.signature.nested import CHOSEN, Labels
from scanside.training.signature.pipeline import CLINICAL
from scanside.training.signature.roles import roles_of
from scanside.training.signature.settings import Scheme, Selection
from scanside.training.signature.store import CROSS_VALIDATED, TEST, Measured, Measurements, read_measurements

RESUBSTITUTION = "resubstitution"
FEWEST_ALONE, MOST_WRONG = 5, 0.1
"""What a model of one sequence must reach to be deployed."""


@dataclass(frozen=True)
class Settings:
    """Everything the user can choose; the folds and the selection are the signature's.

    Attributes:
        coverage: Of the conformal band, within each class.
        clinical: Covariates that stand for what is known of a patient beside the images.
    """

    coverage: float = 0.9
    clinical: tuple[str, ...] = CLINICAL
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True, eq=False)
class Ready:
    """A model as it goes into the bundle.

    Attributes:
        record: Its entry in the bundle's manifest; files are named as in the folder of the classifier.
        onnx: Its classifier.
        facts: What is known of its bounds.
        parity: Largest difference of a probability from scikit-learn's.
    """

    compared: Compared
    record: StudyModel
    onnx: bytes
    facts: Bounds
    parity: float

    @property
    def words(self) -> str:
        """What it is, and how well it was exported."""
        strength = self.compared.deployed.candidate.strength
        return (
            f"{self.record.name}: {self.compared.family}, C = {strength:g}; ONNX in double differs by "
            f"{self.parity:.1g} at most"
        )


def train_classifier(experiment: Experiment, settings: Settings, say: Say) -> Path:
    """Compare, fit, bound, export and write everything.

    Returns:
        classifier.json.

    Raises:
        InputError: If there is no signature yet.
        BundleError: If the exported classifier differs from the fitted one.
    """
    started = time.time()
    signature = read_file(experiment.signature / SIGNATURE, SignatureDocument, "scanside train signature")
    columns = covariate_columns(experiment, settings.clinical)
    measurements = with_covariates(read_measurements(experiment.signature), experiment, columns)
    roles = roles_of(experiment, measurements.features)
    division, selection = signature.options.scheme, signature.options.selection
    scheme = Scheme(division.folds, division.repeats, division.inner, settings.seed, settings.jobs)
    chosen = _chosen(signature, measurements)
    with warnings.catch_warnings():
        # In a fold a small scanner may be unseen; the sentence about it would come a hundred times.
        warnings.simplefilter("ignore", ScansideWarning)
        compared = compare(measurements, selection, chosen, roles, scheme, say, settings.clinical)
    names = signature.classes.positive, signature.classes.negative
    ready = [
        _ready(one, measurements, names, settings, columns)
        for one in deployable(compared, measurements.of(CROSS_VALIDATED), say)
    ]
    for one in ready:
        say(one.words)
    report = CrossValidation(
        synthetic=experiment.synthetic,
        classes=signature.classes,
        **_estimates(compared, measurements, scheme.seed),
        deployed={one.record.name: _deployed(one) for one in ready},
        options=_options(settings, selection, scheme),
    )
    near = signature.near_mm
    document = ClassifierDocument(
        agreement=None if near is None else Agreement(near_mm=near), models=tuple(one.record for one in ready)
    )
    rows = _predictions(compared, ready, measurements, tuple(roles))
    _write(experiment, ready, document, report, rows)
    cv = report.models[MAIN]
    experiment.record(
        "classifier",
        asdict(settings),
        seed=settings.seed,
        started=started,
        cv=cv.model_dump(),
        deployed=[one.record.name for one in ready],
    )
    say(f"nested cross-validation: AUC {cv.auc:.3f} ({cv.low:.3f} to {cv.high:.3f})")
    return experiment.classifier / CLASSIFIER


def _chosen(signature: SignatureDocument, measurements: Measurements) -> dict[str | None, tuple[int, ...]]:
    """Role, or None for all together → places of the features that were chosen."""
    return {
        role: tuple(measurements.features.index(name) for name in names)
        for role, names in [(None, signature.features), *signature.alone.items()]
    }


def _options(settings: Settings, selection: Selection, scheme: Scheme) -> ClassifierOptions:
    return ClassifierOptions(
        coverage=settings.coverage,
        clinical=settings.clinical,
        selection=selection,
        folds=scheme.folds,
        repeats=scheme.repeats,
        inner=scheme.inner,
        seed=scheme.seed,
    )


def deployable(compared: dict[str, Compared], patients: Sequence[Measured], say: Say) -> list[Compared]:
    """The models that go into the bundle, in the order in which they are asked: with clinical data first.

    A model of one sequence answers where the others show nothing, and then that sequence is often wrong, too. It goes
    in if in at least `FEWEST_ALONE` training patients its sequence alone showed a lesion, at most `MOST_WRONG` of which
    were no lesion, and if the interval of its cross-validated AUC lies above one half.

    Args:
        patients: Training patients, measured in masks of networks that did not see them.
    """
    found = []
    for one in sorted(compared.values(), key=lambda one: (one.model.role or "", not one.model.beside)):
        if not one.model.radiomics:
            continue
        why = None if one.model.role is None else _unfit(one, *misplaced(patients, one.model.role))
        if why is None:
            found.append(one)
        else:
            say(f"{one.model.name}: not deployed, since {why}")
    return found


def _unfit(one: Compared, alone: int, wrong: int) -> str | None:
    if alone < FEWEST_ALONE:
        return (
            f"it would have answered for {alone} training patients only (at least {FEWEST_ALONE} are wanted)"
        )
    if wrong > MOST_WRONG * alone:
        return f"in {wrong} of {alone} training patients for whom it would answer its region was no lesion"
    cv = one.estimate
    if not cv.low > 0.5:
        return f"its cross-validated AUC {cv.auc:.2f} ({cv.low:.2f} to {cv.high:.2f}) is not surely above 0.5"
    return None


def _ready(
    compared: Compared,
    measurements: Measurements,
    names: tuple[str, str],
    settings: Settings,
    columns: Sequence[CovariateColumn],
) -> Ready:
    deployed = compared.deployed
    model = to_onnx(deployed.pipeline, deployed.rows.shape[1])
    parity = require_parity(model, deployed.pipeline, deployed.rows)
    classifier, facts = bounded(compared, measurements, names, settings.coverage, settings.seed)
    features = tuple(measurements.features[index] for index in deployed.indices)
    record = StudyModel(
        name=compared.model.name,
        roles=compared.roles or None,
        covariates=_covariates(deployed, columns),
        signature=_ranges(features, deployed),
        classifier=classifier,
    )
    return Ready(compared, record, model, facts, parity)


def _covariates(deployed: Deployed, columns: Sequence[CovariateColumn]) -> tuple[Covariate, ...]:
    beside = deployed.rows[:, len(deployed.indices) :]
    kinds: dict[str, dict[str, Any]] = {"age": {"unit": "years"}, "sex": {"values": ("F", "M")}}
    kinds |= {one.name: {"unit": one.unit, "values": one.values} for one in columns}
    found = []
    for name, column in zip(deployed.model.beside, beside.T, strict=True):
        span = {"low": float(column.min()), "high": float(column.max())}
        found.append(Covariate.model_validate({"name": name, **kinds[name], **span}))
    return tuple(found)


def _deployed(one: Ready) -> DeployedModel:
    return DeployedModel(family=one.compared.family, onnx_parity=one.parity, **dict(one.facts))


def _estimates(compared: dict[str, Compared], measurements: Measurements, seed: int) -> dict[str, Any]:
    """AUCs of the nested cross-validation and on the training patients themselves."""
    y = measurements.labels(CROSS_VALIDATED)
    cases = measurements.cases(CROSS_VALIDATED)
    outcome = compared[MAIN].outcome
    choices: dict[str, int] = {}
    for fit in outcome.fits:
        name = f"{fit.best[CHOSEN].family}, C = {fit.best[CHOSEN].strength:g}"
        choices[name] = choices.get(name, 0) + 1
    main = compared[MAIN]
    return {
        "winner": Winner(family=main.family, strength=main.deployed.candidate.strength),
        "models": {name: Estimate.of(c.estimate) for name, c in compared.items()},
        "families": {
            family: Estimate.of(repeated_auc(y, outcome.scores[family], seed)) for family in outcome.scores
        },
        "choices": dict(sorted(choices.items(), key=lambda item: -item[1])),
        "resubstitution_auc": {name: _known_auc(y, c.deployed, cases) for name, c in compared.items()},
    }


def _known_auc(y: Labels, deployed: Deployed, cases: Cases) -> float | None:
    probability = deployed.probability(cases)
    known = np.isfinite(probability)
    value = auc(y[known], probability[known])
    return None if np.isnan(value) else value


def _predictions(
    compared: dict[str, Compared],
    ready: list[Ready],
    measurements: Measurements,
    everywhere: tuple[str, ...],
) -> list[Prediction]:
    records = {one.record.name: one.record.classifier for one in ready}
    rows: list[Prediction] = []
    for part, source in (
        (RESUBSTITUTION, CROSS_VALIDATED),
        (CROSS_VALIDATED, CROSS_VALIDATED),
        (TEST, TEST),
    ):
        patients = measurements.of(source)
        if not patients:
            continue
        cases = measurements.cases(source)
        voices = {
            name: _voice(one, cases, records.get(name), seen=part != CROSS_VALIDATED)
            for name, one in compared.items()
        }
        said = {name: predictions(patients, part, voice, everywhere) for name, voice in voices.items()}
        deployed = [voices[one.record.name] for one in ready]
        rows += [row for model in said.values() for row in model]
        rows += answers(patients, part, deployed, said, everywhere)
    return rows


def _voice(compared: Compared, cases: Cases, record: Classifier | None, *, seen: bool) -> Voice:
    """What a model says: the deployed one where `seen`, else those of the folds that did not see the patient."""
    deployed = compared.deployed
    honest = deployed.recalibration(logits(compared.outcome.probabilities[CHOSEN]))
    return Voice(
        compared.model.name,
        compared.roles,
        deployed.probability(cases) if seen else honest.mean(axis=0),
        record,
        deployed.matrix(cases) if seen else None,
        np.isfinite(cases["beside"][:, list(compared.model.columns)]).all(axis=1),
    )


def _ranges(names: tuple[str, ...], deployed: Deployed) -> Signature:
    rows = deployed.rows[:, : len(names)]
    low, middle, high = np.percentile(rows, [5, 50, 95], axis=0)
    ranges = {
        name: (float(a), float(b), float(c)) for name, a, b, c in zip(names, low, middle, high, strict=True)
    }
    return Signature(features=names, ranges=ranges)


def _write(
    experiment: Experiment,
    ready: list[Ready],
    document: ClassifierDocument,
    report: CrossValidation,
    rows: list[Prediction],
) -> None:
    folder = experiment.classifier
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); check permissions and space."
        ) from error
    for one in ready:
        with atomic_write(folder / one.record.classifier.file) as temporary:
            temporary.write_bytes(one.onnx)
        _write_reference(folder / f"{slug(one.record.name)}.npz", one.compared.deployed)
    write_predictions(folder / "predictions.csv", rows)
    write_document(folder / CROSS_VALIDATION, report)
    write_document(folder / CLASSIFIER, document)


def _write_reference(path: Path, deployed: Deployed) -> None:
    """scikit-learn's model in numbers and what it says of the training rows: what an exported bundle is held to."""
    scaler, classifier = deployed.pipeline[0], deployed.pipeline[1]
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            features=deployed.rows,
            probabilities=deployed.pipeline.predict_proba(deployed.rows)[:, 1],
            mean=scaler.mean_,
            scale=scaler.scale_,
            weights=classifier.coef_[0],
            intercept=classifier.intercept_[0],
        )
