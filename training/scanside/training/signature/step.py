"""`scanside train signature`, in order: measure → estimate → canaries → choose → write."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from scanside.runtime.errors import ScansideWarning
from scanside.training.evaluation.delong import area
from scanside.training.experiment import Experiment, write_document
from scanside.training.progress import Progress
from scanside.training.signature.auc import repeated_auc
from scanside.training.signature.canaries import LEVEL, Canary, require_alive, run_canaries
from scanside.training.signature.cases import BESIDE, Cases
from scanside.training.signature.document import (
    SIGNATURE,
    CanaryRow,
    Classes,
    CohortSource,
    Estimate,
    Excluded,
    LeftOut,
    Options,
    Patients,
    SignatureDocument,
    Step,
    TableSource,
)
from scanside.training.signature.nested import (
    CHOSEN,
    Labels,
    Outcome,
    cross_validate,
    fold_auc,
    leave_out,
    tune,
)
from scanside.training.signature.pipeline import Model, build, candidates, chosen, models, path
from scanside.training.signature.settings import Scheme, Settings
from scanside.training.signature.store import CROSS_VALIDATED, REFERENCE, Measured, Measurements, Roles

FAMILY = "logistic l2"
"""The classifier that estimates a selection; the classifier's own step compares families."""

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Everything that is fitted for a signature.

    Attributes:
        outcomes: Model → what its folds say of patients that they have not seen.
        pipeline: The whole procedure on all training patients.
        alone: Role → the features that are chosen of its sequence alone.
    """

    canaries: tuple[Canary, Canary]
    outcomes: dict[str, Outcome]
    ablation: dict[str, Estimate] | None
    left_out: list[LeftOut]
    pipeline: Pipeline
    alone: dict[str, tuple[str, ...]]


def choose_signature(
    measurements: Measurements,
    settings: Settings,
    classes: tuple[str, str],
    roles: Roles,
    source: CohortSource | TableSource,
    say: Say,
    *,
    synthetic: bool = False,
) -> SignatureDocument:
    """Estimate the whole procedure honestly, then choose the features on all training patients.

    Args:
        classes: Names of the positive and the negative class.
        roles: Role → its features; empty where it is not known.
        source: What was measured, and how.
        synthetic: The patients are a phantom.

    Returns:
        signature.json.

    Raises:
        CaseError: If a leakage canary dies.
        InputError: If there are too few patients.
    """
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    usable = measurements.usable(CROSS_VALIDATED)
    scheme = settings.scheme
    known = tuple(bool(np.isfinite(cases["beside"][usable, i]).any()) for i in range(len(BESIDE)))
    compared = models(settings.selection, known, roles)
    with warnings.catch_warnings():
        # In a fold a small scanner may be unseen; the sentence about it would come a hundred times.
        warnings.simplefilter("ignore", ScansideWarning)
        found = _fitted(measurements, settings, compared)
    estimates = {name: _estimate(outcome, y, scheme.seed) for name, outcome in found.outcomes.items()}
    features = tuple(measurements.features[index] for index in chosen(found.pipeline, cases))
    steps = path(found.pipeline, cases)
    _tell(say, steps, len(features), _minority(y, usable), settings.selection.features)
    return SignatureDocument(
        classes=Classes(positive=classes[0], negative=classes[1]),
        features=features,
        alone=found.alone,
        path=steps,
        frequency=_frequency(found.outcomes["radiomics"], measurements.features),
        cv=estimates["radiomics"],
        canaries=tuple(map(_row, found.canaries)),
        combined=estimates.get("combined"),
        one_sequence={model.name: estimates[model.name] for model in compared if model.role},
        baselines={model.name: estimates[model.name] for model in compared if not model.radiomics},
        ablation=found.ablation,
        left_out=tuple(found.left_out),
        patients=_patients(y, usable, len(features), found.outcomes["radiomics"]),
        excluded=_excluded(measurements.of(CROSS_VALIDATED), usable),
        options=Options.of(settings),
        synthetic=synthetic,
        source=source,
    )


def write_signature(
    experiment: Experiment, document: SignatureDocument, settings: Settings, *, started: float
) -> Path:
    """Write signature.json and the step's record.

    Returns:
        The file.
    """
    file = experiment.signature / SIGNATURE
    write_document(file, document)
    said = document.data()
    experiment.record(
        "signature",
        {**said["options"], "source": said["source"], "jobs": settings.scheme.jobs},
        seed=settings.scheme.seed,
        started=started,
        cv=said["cv"],
    )
    return file


def _row(canary: Canary) -> CanaryRow:
    return CanaryRow(
        name=canary.name,
        auc=canary.auc,
        low=canary.low,
        high=canary.high,
        level=LEVEL,
        runs=canary.runs,
        passed=canary.alive,
    )


def usable_for(model: Model, measurements: Measurements) -> npt.NDArray[np.bool_]:
    """Training patients who may enter a fit of a model: of its own sequence where it has one only."""
    if model.role is None or model.among is None:
        return measurements.usable(CROSS_VALIDATED)
    return measurements.usable(CROSS_VALIDATED, {model.role: model.among})


def _chosen(measurements: Measurements, model: Model, scheme: Scheme) -> Pipeline:
    """The whole procedure on all training patients."""
    usable = usable_for(model, measurements)
    cases, y = measurements.cases(CROSS_VALIDATED)[usable], measurements.labels(CROSS_VALIDATED)[usable]
    best, _ = tune(cases, y, model, candidates((FAMILY,)), scheme.inner, scheme.seed)
    return build(model, best[CHOSEN]).fit(cases, y)


def _fitted(measurements: Measurements, settings: Settings, compared: Sequence[Model]) -> _Fitted:
    """Fit everything, the canaries first.

    Raises:
        CaseError: If a leakage canary dies.
    """
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    usable, scheme = measurements.usable(CROSS_VALIDATED), settings.scheme
    canaries = _canaries(compared[0], cases[usable], y[usable], settings)
    require_alive(canaries)
    return _Fitted(
        canaries,
        {model.name: _cross_validated(measurements, model, scheme) for model in compared},
        _ablation(measurements, compared[0], scheme),
        _left_out(measurements, compared, scheme),
        _chosen(measurements, compared[0], scheme),
        _alone(measurements, compared, scheme),
    )


def _cross_validated(measurements: Measurements, model: Model, scheme: Scheme) -> Outcome:
    """What a model says of patients that its folds have not seen."""
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    progress = Progress(f"cross-validating {model.name}", scheme.repeats * scheme.folds)
    may = usable_for(model, measurements)
    outcome = cross_validate(cases, y, may, model, candidates((FAMILY,)), scheme, progress)
    return outcome.among(may) if model.radiomics else outcome


def _alone(
    measurements: Measurements, compared: Sequence[Model], scheme: Scheme
) -> dict[str, tuple[str, ...]]:
    """Role → the features that are chosen of its sequence alone."""
    cases = measurements.cases(CROSS_VALIDATED)
    return {
        model.role: tuple(
            measurements.features[i] for i in chosen(_chosen(measurements, model, scheme), cases)
        )
        for model in compared
        if model.role is not None and not model.beside
    }


def _minority(y: Labels, usable: npt.NDArray[np.bool_]) -> int:
    """Patients of the smaller class who may enter a fit."""
    return int(np.bincount(y[usable], minlength=2).min())


def _patients(y: Labels, usable: npt.NDArray[np.bool_], features: int, radiomics: Outcome) -> Patients:
    return Patients(
        training=len(y),
        fitted=int(usable.sum()),
        positive=int(y[usable].sum()),
        events_per_feature=round(_minority(y, usable) / max(features, 1), 1),
        dropped_per_fold=tuple(fit.dropped for fit in radiomics.fits),
    )


def _excluded(patients: Sequence[Measured], usable: npt.NDArray[np.bool_]) -> tuple[Excluded, ...]:
    """Who enters no fit, and why."""
    return tuple(
        Excluded(patient=patient.patient, reason=_why_excluded(patient))
        for patient, is_usable in zip(patients, usable, strict=True)
        if not is_usable
    )


def _why_excluded(patient: Measured) -> str:
    if patient.missed:
        return f"no lesion segmented on {patient.missed}"
    return "the sequences show no common lesion" if patient.apart else "no feature"


def _canaries(model: Model, cases: Cases, y: Labels, settings: Settings) -> tuple[Canary, Canary]:
    progress = Progress("leakage canaries", 2 * settings.canary_runs)

    def procedure(some: Cases, labels: Labels, seed: int) -> float:
        scheme = replace(settings.scheme, repeats=1, seed=seed)
        everyone = np.ones(len(labels), dtype=bool)
        outcome = cross_validate(some, labels, everyone, model, candidates((FAMILY,)), scheme)
        return fold_auc(outcome, labels, FAMILY)

    return run_canaries(procedure, cases, y, settings.scheme.seed, settings.canary_runs, progress)


def _ablation(measurements: Measurements, model: Model, scheme: Scheme) -> dict[str, Estimate] | None:
    """The same procedure on the reader's masks: what the segmentation costs; None without such measurements."""
    if not any(key[1] == REFERENCE for key in measurements.values):
        return None
    y, usable = measurements.labels(CROSS_VALIDATED), measurements.usable(CROSS_VALIDATED)
    automatic = measurements.cases(CROSS_VALIDATED)
    reference = measurements.cases(CROSS_VALIDATED, REFERENCE)
    if not np.isfinite(reference["values"][usable]).any(axis=1).all():
        return None
    both = {}
    for name, seen_as in (
        ("reference masks", reference),
        ("reference masks, applied to automatic", automatic),
    ):
        progress = Progress(f"cross-validating {name}", scheme.repeats * scheme.folds)
        outcome = cross_validate(
            reference, y, usable, model, candidates((FAMILY,)), scheme, progress, seen_as=seen_as
        )
        both[name] = _estimate(outcome, y, scheme.seed)
    return both


def _left_out(measurements: Measurements, compared: Sequence[Model], scheme: Scheme) -> list[LeftOut]:
    """Leave one centre out: each centre's patients by the whole procedure on all others; empty without two centres."""
    patients = measurements.of(CROSS_VALIDATED)
    if len({patient.site for patient in patients} - {""}) < 2:
        return []
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    rows = []
    for model in (model for model in compared if model.radiomics and model.role is None):
        fits = leave_out(
            cases,
            y,
            usable_for(model, measurements),
            [p.site for p in patients],
            model,
            candidates((FAMILY,)),
            scheme,
        )
        for site, fit in fits.items():
            known = np.isfinite(fit.scores[FAMILY])
            found = area(y[fit.test][known] == 1, fit.scores[FAMILY][known])
            low, high = found.interval or (None, None)
            rows.append(
                LeftOut(
                    model=model.name,
                    site=site,
                    patients=int(known.sum()),
                    auc=found.value,
                    low=low,
                    high=high,
                )
            )
    return rows


def _estimate(outcome: Outcome, y: Labels, seed: int) -> Estimate:
    return Estimate.of(repeated_auc(y, outcome.probabilities[CHOSEN], seed))


def _frequency(outcome: Outcome, features: tuple[str, ...]) -> dict[str, float]:
    """Feature → part of the outer folds that chose it, most frequent first; never chosen ones are left out."""
    counts = np.bincount(
        np.concatenate([np.array(fit.features, dtype=np.intp) for fit in outcome.fits]),
        minlength=len(features),
    )
    order = np.argsort(-counts, kind="stable")
    return {features[i]: round(float(counts[i]) / len(outcome.fits), 3) for i in order if counts[i]}


def _tell(say: Say, steps: Sequence[Step], found: int, minority: int, wanted: int) -> None:
    say("features: " + " → ".join(f"{step.features} {step.step}" for step in steps))
    if any(step.relaxed for step in steps):
        say(f"fewer than {wanted} features are stable enough, so the {wanted} most stable ones were kept")
    if found < wanted:
        say(f"only {found} of {wanted} features could be chosen")
    if minority < 10 * found:
        say(f"the smaller class has {minority / max(found, 1):.1f} patients a feature; ten are wanted")
