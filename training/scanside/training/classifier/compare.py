"""Every model of a signature, cross-validated, and fitted on all training patients who may enter a fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scanside.runtime.errors import InputError
from scanside.training.classifier.fit import Deployed, calibrate, deploy
from scanside.training.progress import Progress
from scanside.training.signature.auc import Auc, repeated_auc
from scanside.training.signature.nested import CHOSEN, Outcome, cross_validate
from scanside.training.signature.pipeline import CLINICAL, FAMILIES, Model, candidates, models
from scanside.training.signature.settings import Scheme, Selection
from scanside.training.signature.step import FAMILY, usable_for
from scanside.training.signature.store import CROSS_VALIDATED, Measured, Measurements, Roles

MAIN = "radiomics"
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Compared:
    """A model, cross-validated, and fitted on all training patients.

    Attributes:
        roles: Masks that it is measured in; None for a baseline, which needs none.
        family: The classifier that won, or the only one.
        estimate: AUC of the nested cross-validation, choice of the family included.
    """

    model: Model
    roles: tuple[str, ...] | None
    outcome: Outcome
    family: str
    deployed: Deployed
    estimate: Auc


def compare(
    measurements: Measurements,
    selection: Selection,
    features: Mapping[str | None, tuple[int, ...]],
    roles: Roles,
    scheme: Scheme,
    say: Say,
    clinical: tuple[str, ...] = CLINICAL,
) -> dict[str, Compared]:
    """Name → model: all families for the main one, logistic regression for the others.

    Args:
        features: Role, or None for all roles → indices of its signature.
        clinical: What of `measurements.beside` are the clinical data.
        say: Told which model of one sequence cannot be fitted, and why.
    """
    cases = measurements.cases(CROSS_VALIDATED)
    usable = measurements.usable(CROSS_VALIDATED)
    names = measurements.beside
    known = tuple(bool(np.isfinite(cases["beside"][usable, i]).any()) for i in range(len(names)))
    compared = {}
    for model in models(selection, known, roles, names, clinical):
        try:
            compared[model.name] = _compare(model, measurements, features[model.role], roles, scheme)
        except InputError as error:
            if model.role is None:
                raise
            say(f"{model.name}: no model ({error})")
    return compared


def _compare(
    model: Model, measurements: Measurements, features: tuple[int, ...], roles: Roles, scheme: Scheme
) -> Compared:
    cases, y = measurements.cases(CROSS_VALIDATED), measurements.labels(CROSS_VALIDATED)
    usable = usable_for(model, measurements)
    families = tuple(FAMILIES) if model.name == MAIN else (FAMILY,)
    progress = Progress(f"cross-validating {model.name}", scheme.repeats * scheme.folds)
    outcome = cross_validate(cases, y, usable, model, candidates(families), scheme, progress)
    if model.radiomics:
        outcome = outcome.among(usable)
    family = max(families, key=lambda name: repeated_auc(y, outcome.scores[name], scheme.seed, draws=1).auc)
    sigmoid = calibrate(outcome, family, y)
    deployed = deploy(cases[usable], y[usable], model, features, candidates((family,)), sigmoid, scheme)
    measured = (tuple(roles) if model.role is None else (model.role,)) if model.radiomics else None
    estimate = repeated_auc(y, outcome.probabilities[CHOSEN], scheme.seed)
    return Compared(model, measured, outcome, family, deployed, estimate)


def misplaced(patients: Sequence[Measured], role: str) -> tuple[int, int]:
    """Of the patients in whom this role alone shows a lesion: how many there are, and in how many it is no lesion."""
    alone = [p for p in patients if p.missed and role not in p.missed.split()]
    return len(alone), sum(role in patient.wrong.split() for patient in alone)
