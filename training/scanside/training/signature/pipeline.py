"""One scikit-learn Pipeline from patients to a score, and the classifiers that may stand at its end."""

from dataclasses import dataclass, replace
from typing import Any

import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from scanside.training.signature.cases import BESIDE, Cases
from scanside.training.signature.combat import ComBat
from scanside.training.signature.document import Step
from scanside.training.signature.filters import (
    Best,
    Columns,
    Distinct,
    Given,
    Present,
    Stable,
    Varying,
    WholeRows,
)
from scanside.training.signature.settings import Selection
from scanside.training.signature.store import Roles


@dataclass(frozen=True)
class Model:
    """What goes into a classifier.

    Attributes:
        name: As in reports: `radiomics`, `combined`, `dwi alone`, `volume`, `adc_mean`, `clinical`.
        selection: None where nothing is chosen.
        radiomics: Whether features come in at all.
        beside: Names out of `known` that come in unselected.
        role: The only role whose features it may choose; None for all.
        among: Indices of the features it may choose; None for all.
        given: Indices of features decided before; then `selection` only says whether ComBat is used.
        known: What the columns of `cases["beside"]` are.
    """

    name: str
    selection: Selection | None = None
    radiomics: bool = True
    beside: tuple[str, ...] = ()
    role: str | None = None
    among: tuple[int, ...] | None = None
    given: tuple[int, ...] | None = None
    known: tuple[str, ...] = BESIDE

    @property
    def columns(self) -> tuple[int, ...]:
        """Where `beside` stands among `known`."""
        return tuple(self.known.index(name) for name in self.beside)


@dataclass(frozen=True)
class Candidate:
    """A classifier with its strength of regularisation."""

    family: str
    strength: float


CLINICAL = ("age", "sex")
FAMILIES = {
    "logistic l2": (0.01, 0.1, 1.0, 10.0),
    "logistic elasticnet": (0.03, 0.1, 1.0),
    "linear svm": (0.003, 0.03, 0.3),
}
"""Family → values of C, strongest regularisation first: that one wins a draw."""


def models(
    selection: Selection,
    known: tuple[bool, ...],
    roles: Roles,
    names: tuple[str, ...] = BESIDE,
    clinical: tuple[str, ...] = CLINICAL,
) -> tuple[Model, ...]:
    """The signature, alone and with what is known of a patient; the same of each role; and the baselines.

    Args:
        known: For each of `names` whether it is known at all; models without their data are left out.
        roles: Role → its features; with two or more, each has models for when it alone shows a lesion.
        names: What the columns of `cases["beside"]` are.
        clinical: Which of them are the clinical data.
    """
    alone = []
    for role, among in roles.items() if len(roles) > 1 else ():
        alone += [
            Model(f"{role} alone", selection, role=role, among=among),
            Model(f"{role} alone, combined", selection, beside=clinical, role=role, among=among),
        ]
    every = (
        Model("radiomics", selection),
        Model("combined", selection, beside=clinical),
        *alone,
        Model("volume", radiomics=False, beside=("log_volume",)),
        Model("adc_mean", radiomics=False, beside=("adc_mean",)),
        Model("clinical", radiomics=False, beside=clinical),
    )
    have = {name for name, is_known in zip(names, known, strict=True) if is_known}
    return tuple(replace(model, known=names) for model in every if have.issuperset(model.beside))


def candidates(families: tuple[str, ...] = tuple(FAMILIES)) -> tuple[Candidate, ...]:
    """Every classifier that the inner folds may choose."""
    return tuple(Candidate(family, strength) for family in families for strength in FAMILIES[family])


def build(model: Model, candidate: Candidate) -> Pipeline:
    """The whole pipeline, unfitted: filters → columns → scaler → classifier."""
    columns = Columns(model.radiomics, model.columns)
    return Pipeline(
        [
            *_filters(model),
            ("columns", columns),
            ("scale", StandardScaler()),
            ("classify", WholeRows(estimator(candidate))),
        ]
    )


def estimator(candidate: Candidate) -> Any:
    """The classifier itself."""
    if candidate.family == "logistic l2":
        return LogisticRegression(C=candidate.strength, max_iter=1000)
    if candidate.family == "logistic elasticnet":
        # scikit-learn 1.8 derives the penalty from l1_ratio and warns when it is named.
        older = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8)
        named = {"penalty": "elasticnet"} if older else {}
        return LogisticRegression(
            C=candidate.strength,
            l1_ratio=0.5,
            solver="saga",
            max_iter=2000,
            random_state=0,
            tol=1e-5,
            **named,
        )
    return SVC(C=candidate.strength, kernel="linear")


def path(pipeline: Pipeline, cases: Cases) -> tuple[Step, ...]:
    """How many features were left after each step of a fitted pipeline."""
    steps = [Step(step="extracted", features=int(cases["values"].shape[1]))]
    for name, step in pipeline.steps:
        if hasattr(step, "support_"):
            relaxed = bool(getattr(step, "relaxed_", False))
            steps.append(Step(step=name, features=len(step.support_), relaxed=relaxed))
        elif isinstance(step, ComBat):
            batches = tuple(map(str, sorted(step.effects_)))
            steps.append(Step(step=name, features=steps[-1].features, batches=batches))
    return tuple(steps)


def chosen(pipeline: Pipeline, cases: Cases) -> tuple[int, ...]:
    """Indices, among the extracted features, of those that reach the classifier of a fitted pipeline, in its order."""
    import numpy as np

    indices = np.arange(cases["values"].shape[1])
    for _, step in pipeline.steps:
        if hasattr(step, "support_"):
            indices = indices[step.support_]
    return tuple(int(index) for index in indices)


def _filters(model: Model) -> list[tuple[str, Any]]:
    selection = model.selection
    harmonise = [("combat", ComBat())] if selection is not None and selection.combat else []
    if model.given is not None:
        return [("given", Given(model.given)), *harmonise]
    if selection is None:
        return []
    allowed = [] if model.among is None else [(f"measured in {model.role}", Given(model.among))]
    return [
        *allowed,
        ("present in enough patients", Present(selection.presence)),
        ("varying", Varying()),
        ("stable", Stable(selection.least_icc, selection.icc_form, selection.features)),
        *harmonise,
        ("not redundant", Distinct(selection.redundancy)),
        (selection.selector, Best(selection.features, selection.selector)),
    ]
