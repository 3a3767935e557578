"""cv.json: what `scanside train classifier` says of the models it compared, and of those that go into the bundle."""

from typing import Literal

from pydantic import Field

from scanside.runtime.record import Document, Part
from scanside.training.signature.document import Classes, Division, Estimate, Known
from scanside.training.signature.settings import Selection

CROSS_VALIDATION = "cv.json"


class Winner(Part):
    """The classifier that the signature's model is fitted with."""

    family: str
    strength: float
    """C of scikit-learn: the inverse of the strength of regularisation."""


class ThresholdFacts(Part):
    """The probability from which the positive class is named, out of fold."""

    value: float
    method: str
    sensitivity: Known
    specificity: Known


class ConformalFacts(Part):
    """Where no class is named, and how often prediction sets held the true class."""

    target: float
    """Wanted coverage within each class."""
    positive: float
    negative: float
    """Measured coverage of each class, on folds that did not set the band."""
    undecided: float
    """Part of the patients whose set is not one class."""
    positive_from: float
    """The positive class belongs to a prediction set from this probability on."""
    negative_to: float
    """The negative class belongs to it up to this one."""
    indeterminate: tuple[float, float]
    """Between these no class is named."""
    method: str


class Recalibration(Part):
    """The calibrated logit is slope × logit + intercept."""

    slope: float
    intercept: float


class Bounds(Part):
    """What is known of the bounds of a model."""

    threshold: ThresholdFacts
    conformal: ConformalFacts
    recalibration: Recalibration
    dropped: int
    """Patients left out of the fit because a feature is absent."""


class DeployedModel(Bounds):
    """A model of the bundle."""

    family: str
    onnx_parity: float
    """Largest difference of a probability from scikit-learn's."""


class ClassifierOptions(Division):
    """Everything the user could choose."""

    coverage: float
    clinical: tuple[str, ...]
    """What stands for the clinical data, in order."""
    selection: Selection


class CrossValidation(Document):
    """The nested cross-validation of every model, `cv.json`."""

    schema_: Literal["scanside.classifier-cv/2"] = Field("scanside.classifier-cv/2", alias="schema")
    synthetic: bool
    classes: Classes
    winner: Winner
    models: dict[str, Estimate]
    """The family is chosen inside the folds here, so that these estimates pay for the choice."""
    families: dict[str, Estimate]
    """Of the signature's model, each family by itself."""
    choices: dict[str, int]
    """Classifier → outer folds that chose it, most frequent first."""
    resubstitution_auc: dict[str, Known | None]
    """On the training patients themselves."""
    deployed: dict[str, DeployedModel]
    options: ClassifierOptions
