"""What the models of a bundle say together: who answers for whom, and which models go in."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scanside.runtime.study.answer import Answering, choose_model
from scanside.runtime.study_model import Band, Classifier, StudyModel, Typical
from scanside.training.classifier.predict import DEPLOYED, Voice, answers, predictions
from scanside.training.classifier.step import deployable
from scanside.training.signature.pipeline import Model
from scanside.training.signature.store import Measured

pytestmark = pytest.mark.requirement("probability")

EVERYWHERE = ("dwi", "t2w")
PATIENTS = (
    Measured("both", "test", True),
    Measured("apart", "test", True, apart=True),
    Measured("dwi", "test", False, missed="t2w"),
    Measured("t2w", "test", False, missed="dwi"),
    Measured("none", "test", False, missed="dwi t2w"),
    Measured("unlike", "test", True),
    Measured("ageless", "test", True),
)


def record(limit: float = 10.0) -> Classifier:
    return Classifier(
        file="x.onnx", positive="PDAC", negative="non-PDAC", threshold=0.5, indeterminate=(0.4, 0.6),
        calibration="made", band=Band(value=(0, 1), low=(0, 1), high=(0, 1), method="made"),
        typical=Typical(centre=(0.0,), precision=((1.0,),), limit=limit),
    )  # fmt: skip


def voice(name: str, roles: tuple[str, ...], value: float, known: str = "") -> Voice:
    rows = np.array([[100.0 if patient.patient == "unlike" else 0.0] for patient in PATIENTS])
    ages = np.array([patient.patient != "ageless" or not known for patient in PATIENTS])
    probability = np.where(ages, value, np.nan)
    return Voice(name, roles, probability, record(), rows, ages)


VOICES = (
    voice("combined", EVERYWHERE, 0.9, "age"),
    voice("radiomics", EVERYWHERE, 0.55),
    voice("dwi alone", ("dwi",), 0.2),
)


@pytest.fixture
def said() -> dict[str, Any]:
    rows = {one.name: predictions(PATIENTS, "test", one, EVERYWHERE) for one in VOICES}
    return {row.patient: row for row in answers(PATIENTS, "test", VOICES, rows, EVERYWHERE)}


def test_the_first_model_whose_conditions_are_met_answers(said: dict[str, Any]) -> None:
    assert {name: (row.answered, row.status, row.predicted) for name, row in said.items()} == {
        "both": ("combined", "ok", "PDAC"),
        "apart": (None, "indeterminate", None),
        "dwi": ("dwi alone", "ok", "non-PDAC"),
        "t2w": (None, "indeterminate", None),
        "none": (None, "no lesion segmented", None),
        "unlike": ("combined", "unsuitable input", None),
        "ageless": ("radiomics", "indeterminate", None),
    }
    assert all(row.model == DEPLOYED for row in said.values())
    assert said["unlike"].probability is None and said["unlike"].unguarded == 0.9
    assert said["apart"].probability is None and said["apart"].unguarded is None


def test_the_answering_model_is_that_of_the_runtime(said: dict[str, Any]) -> None:
    """The order and the conditions are judged twice: here on tables, at the scanner on a study."""
    models = [
        Answering(
            StudyModel.model_construct(
                name=one.name, roles=one.roles, covariates=(SimpleNamespace(name="age", values=None),)
                if one.name == "combined" else (),
            ),
            one.roles or (),
            alone=True,
        )
        for one in VOICES
    ]  # fmt: skip
    for patient in PATIENTS:
        if patient.apart:
            continue
        found = [role for role in EVERYWHERE if role not in patient.missed.split()]
        known = {} if patient.patient == "ageless" else {"age": 60.0}
        chosen = choose_model(models, found, known) if found else None
        assert said[patient.patient].answered == (None if chosen is None else chosen.model.name)


def compared(name: str, role: str | None, low: float = 0.6, beside: tuple[str, ...] = ()) -> Any:
    estimate = SimpleNamespace(auc=low + 0.1, low=low, high=low + 0.2)
    return SimpleNamespace(model=Model(name, role=role, beside=beside), estimate=estimate)


@pytest.mark.parametrize(
    ("alone", "wrong", "low", "words"),
    [
        (20, 2, 0.6, None),
        (20, 3, 0.6, "in 3 of 20 training patients"),
        (4, 0, 0.6, "4 training patients only"),
        (20, 0, 0.49, "not surely above 0.5"),
    ],
)
def test_a_model_of_one_sequence_must_be_worth_it(
    alone: int, wrong: int, low: float, words: str | None
) -> None:
    patients = [
        Measured(f"p{i}", "cross-validated", True, missed="t2w", wrong="dwi" if i < wrong else "")
        for i in range(alone)
    ]
    patients += [Measured(f"q{i}", "cross-validated", True, wrong="dwi") for i in range(9)]
    told: list[str] = []
    models = {
        "radiomics": compared("radiomics", None, low=0.1),
        "dwi alone": compared("dwi alone", "dwi", low),
        "combined": compared("combined", None, beside=("age",)),
    }
    found = [one.model.name for one in deployable(models, patients, told.append)]
    assert found == ["combined", "radiomics", *(["dwi alone"] if words is None else [])]
    assert bool(told) == (words is not None) and all(words in sentence for sentence in told if words)
