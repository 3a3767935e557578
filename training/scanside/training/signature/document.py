"""signature.json: what `scanside train signature` says of its procedure and of the features that it chose."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from scanside.runtime.record import Document, Part
from scanside.training.signature.auc import Auc
from scanside.training.signature.settings import Scheme, Selection, Settings

SIGNATURE = "signature.json"


def _rounded(digits: int) -> AfterValidator:
    return AfterValidator(lambda value: round(value, digits))


Known = Annotated[float, _rounded(4)]
"""A number, rounded to the digits that mean something."""


class Classes(Part):
    """Names of the two classes."""

    positive: str
    negative: str


class Estimate(Part):
    """The AUC of a repeated cross-validation. Numbers are null where the patients are of one class."""

    auc: Known | None
    """Mean over the repeats."""
    low: Known | None
    high: Known | None
    """Ends of its 95 % interval: bootstrap over patients, drawn within each class."""
    per_repeat: tuple[Known | None, ...]
    patients: int
    """Patients with a prediction."""

    @classmethod
    def of(cls, found: Auc) -> Self:
        """The estimate as a document says it."""

        def said(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return cls(
            auc=said(found.auc),
            low=said(found.low),
            high=said(found.high),
            per_repeat=tuple(map(said, found.per_repeat)),
            patients=found.patients,
        )


class CanaryRow(Part):
    """Runs of the whole procedure where there is nothing to learn; the interval of their mean must hold 0.5."""

    name: str
    auc: Known
    low: Known
    high: Known
    level: float
    """Of the interval, by Student's t over the runs."""
    runs: tuple[Known, ...]
    passed: bool


class Step(Part):
    """How many features were left after a step of the selection."""

    step: str
    features: int
    relaxed: bool = False
    """Fewer features than wanted were stable enough, so that the most stable ones were kept."""
    batches: tuple[str, ...] = ()
    """Scanners whose effects were taken out."""


class LeftOut(Part):
    """A centre, predicted by the whole procedure on all others."""

    model: str
    site: str
    patients: int
    auc: float
    low: float | None
    high: float | None
    """Ends of the 95 % interval (DeLong); null where there is none."""


class Patients(Part):
    """Whom the signature was chosen on."""

    training: int
    fitted: int
    positive: int
    """Of those who were fitted."""
    events_per_feature: float
    """Patients of the smaller class for each feature."""
    dropped_per_fold: tuple[int, ...]
    """Patients left out of an outer fold's fit because a chosen feature is absent."""


class Excluded(Part):
    """A training patient who entered no fit."""

    patient: str
    reason: str


class Division(Part):
    """How patients were divided (`settings.Scheme`); the number of processes changes nothing and is not said."""

    folds: int
    repeats: int
    inner: int
    seed: int

    @classmethod
    def of(cls, scheme: Scheme) -> Self:
        """Of a scheme."""
        return cls(folds=scheme.folds, repeats=scheme.repeats, inner=scheme.inner, seed=scheme.seed)


class Options(Part):
    """Everything the user could choose."""

    selection: Selection
    scheme: Division
    perturbations: int
    """Per training patient."""
    canary_runs: int
    """Of each canary."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Of the settings of a run."""
        return cls(
            selection=settings.selection,
            scheme=Division.of(settings.scheme),
            perturbations=settings.perturbations,
            canary_runs=settings.canary_runs,
        )


class Nearness(Part):
    """How near the lesions of two sequences must lie to be one (`signature/tolerance.py`)."""

    near_mm: float
    patients: int
    """Training patients with a reader's mask in every sequence."""
    largest_mm: float | None
    """Largest gap among them."""
    method: str


class CohortSource(Part):
    """Features measured in a cohort's images."""

    cohort: str
    masks: str
    absent: dict[str, int]
    """Reason → how often a feature could not be measured for it."""
    agreement: Nearness


class TableSource(Part):
    """Features measured elsewhere."""

    table: str
    second: str | None
    """The same patients, outlined a second time."""
    labels: str
    patients: int


class SignatureDocument(Document):
    """The signature, `signature.json`, and what the whole procedure is worth on patients that it has not seen."""

    schema_: Literal["scanside.signature/1"] = Field("scanside.signature/1", alias="schema")
    classes: Classes
    """What the classifier will tell apart."""
    features: tuple[str, ...]
    """In the order of the classifier's inputs."""
    alone: dict[str, tuple[str, ...]]
    """Role → the signature of that sequence by itself."""
    path: tuple[Step, ...]
    """Features left after each step, on all training patients."""
    frequency: dict[str, float]
    """Feature → part of the outer folds that chose it, most frequent first."""
    cv: Estimate
    """Of the signature."""
    canaries: tuple[CanaryRow, ...]
    """The same procedure where nothing can be learned."""
    combined: Estimate | None
    """With age and sex; null where they are unknown."""
    one_sequence: dict[str, Estimate]
    """Model of one sequence by itself → its estimate."""
    baselines: dict[str, Estimate]
    """Model without features of radiomics → its estimate."""
    ablation: dict[str, Estimate] | None
    """The same procedure on the reader's masks; null without them."""
    left_out: tuple[LeftOut, ...]
    """Each centre by a model of all others; empty without two centres."""
    patients: Patients
    excluded: tuple[Excluded, ...]
    options: Options
    synthetic: bool = False
    """The patients are a phantom."""
    source: CohortSource | TableSource
    """What was measured, and how."""

    @property
    def near_mm(self) -> float | None:
        """How near lesions of two sequences must lie to be one; None where nobody measured masks."""
        return self.source.agreement.near_mm if isinstance(self.source, CohortSource) else None
