"""Results → the predictions of every model of the bundle, and whether they were measured in the reader's lesion."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from scanside.runtime.bundle import Bundle
from scanside.runtime.classify import ClassifierSession
from scanside.runtime.stages.lesions import one_lesion
from scanside.runtime.study.answer import coded
from scanside.runtime.study.pipeline import lesion_label, read_recipe
from scanside.runtime.study_model import StudyModel
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation.cases import read_mask
from scanside.training.evaluation.frozen.results import Answer
from scanside.training.evaluation.lesion_hits import elsewhere
from scanside.training.evaluation.predictions import DEPLOYED, ClassifierFacts, Prediction

PART = "test"
"""A frozen bundle has seen none of its patients."""
SILENT = "indeterminate"
"""Status of a model that another one answered for."""


class FrozenMasks:
    """Where the masks of results lie (`evaluation.cases.Masks`)."""

    def __init__(self, bundle: Bundle, answers: Sequence[Answer]) -> None:
        """Know the folders and the labels."""
        self._folders = {answer.case: answer.folder for answer in answers}
        manifest = bundle.manifest
        self._labels = {
            role: lesion_label(manifest.segmenters[role].plan, role) for role in manifest.final_roles
        }

    def mask(self, part: str, role: str, patient: str) -> Path:
        """The file of a patient's mask."""
        return self._folders.get(patient, Path(f"no result of {patient}")) / f"{role}_mask.nii.gz"

    def label(self, role: str) -> int:
        """The value of the lesion in it."""
        return self._labels.get(role, 1)


def predictions(bundle: Bundle, answers: Sequence[Answer], cohort: Cohort) -> list[Prediction]:
    """What the bundle, and each of its models, says of the patients whose lesion has a diagnosis.

    A model is heard on its own where the result holds all that it takes: the model with age and sex and the one
    without share their features.
    """
    classified = {patient.patient for patient in cohort.patients if patient.classified}
    sessions = [ClassifierSession(bundle, model) for model in bundle.manifest.models]
    found = []
    for answer in (answer for answer in answers if answer.case in classified):
        found += [_of_model(session, answer) for session in sessions]
        found.append(_deployed(sessions, answer))
    return found


def classifier_facts(bundle: Bundle, answers: Sequence[Answer], cohort: Cohort) -> ClassifierFacts:
    """Thresholds, bands and roles as frozen in the bundle."""
    models = bundle.manifest.models
    recipe = read_recipe(bundle)
    first = models[0].classifier
    return ClassifierFacts(
        main=DEPLOYED,
        positive=first.positive,
        negative=first.negative,
        bounds={model.name: (model.classifier.threshold, model.classifier.indeterminate) for model in models},
        roles={one.model.name: one.roles for one in recipe.models},
        wrong=dict(_wrong(bundle, answers, cohort)) or None,
        features=models[0].signature.features,
    )


def _deployed(sessions: Sequence[ClassifierSession], answer: Answer) -> Prediction:
    session = next((one for one in sessions if one.model.name == answer.model), None)
    unguarded = answer.probability
    if unguarded is None and session is not None:
        unguarded = _unguarded(session, answer)
    return Prediction(
        answer.case,
        PART,
        DEPLOYED,
        answer.probability,
        answer.status,
        unguarded,
        answer.predicted,
        answer.model,
    )


def _of_model(session: ClassifierSession, answer: Answer) -> Prediction:
    model = session.model
    if answer.model is None or not _measured_as(model, answer):
        status = answer.status if answer.model is None else SILENT
        return Prediction(answer.case, PART, model.name, None, status, None, None, None)
    made = session.classify(_inputs(model, answer))
    given = made.probability
    return Prediction(
        answer.case,
        PART,
        model.name,
        None if given is None else given.value,
        made.status,
        _unguarded(session, answer) if given is None else given.value,
        None if given is None else given.predicted,
        model.name,
    )


def _measured_as(model: StudyModel, answer: Answer) -> bool:
    """Whether the model would have been measured in the same lesions."""
    return model.roles is None or set(model.roles) == set(answer.measured)


def _inputs(model: StudyModel, answer: Answer) -> dict[str, float | None]:
    beside = {one.name: coded(one, answer.covariates) for one in model.covariates}
    return {**{name: answer.features.get(name) for name in model.signature.features}, **beside}


def _unguarded(session: ClassifierSession, answer: Answer) -> float | None:
    values = [_inputs(session.model, answer).get(name) for name in session.model.inputs]
    known = [value for value in values if value is not None]
    return session.probability(np.array(known)) if len(known) == len(values) else None


def _wrong(bundle: Bundle, answers: Sequence[Answer], cohort: Cohort) -> Iterator[tuple[str, frozenset[str]]]:
    """Patient → roles in which the measured region is not the reader's lesion, of those whom a reader outlined."""
    masks = FrozenMasks(bundle, answers)
    for answer in answers:
        roles = {role: cohort.mask(answer.case, role) for role in answer.measured}
        if not roles or not all(path.exists() for path in roles.values()):
            continue
        wrong = set()
        for role, path in roles.items():
            file = masks.mask(PART, role, answer.case)
            if not file.exists():
                break
            lesion, _ = read_mask(file, masks.label(role))
            reader, _ = read_mask(path)
            if elsewhere(one_lesion(lesion.astype(np.uint8), answer.measured[role]) > 0, reader):
                wrong.add(role)
        else:
            yield answer.case, frozenset(wrong)
