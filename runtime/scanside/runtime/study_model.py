"""A model of a study as its bundle states it: signature, covariates and classifier, and when it answers."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from scanside.runtime.record import Record, RelativePath


class Signature(Record):
    """The radiomics features that go into the classifier.

    Attributes:
        features: Names `<sequence>_<pyradiomics name>`, in the classifier's order.
        ranges: Per feature the 5th, 50th and 95th percentile of the training cohort: what a value is compared with.
    """

    features: tuple[str, ...] = Field(min_length=1)
    ranges: dict[str, tuple[float, float, float]]

    @model_validator(mode="after")
    def _every_feature_has_a_range(self) -> Self:
        if set(self.ranges) != set(self.features) or len(set(self.features)) != len(self.features):
            raise ValueError("every feature occurs once and has a range")
        return self


class Band(Record):
    """How sure the calibration is: an interval of probability for each probability.

    Attributes:
        value: Increasing probabilities, the first 0 and the last 1.
        low, high: Ends of the interval at each of them; between them they are interpolated.
        method: How it was estimated.
    """

    value: tuple[float, ...] = Field(min_length=2)
    low: tuple[float, ...]
    high: tuple[float, ...]
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not len(self.value) == len(self.low) == len(self.high):
            raise ValueError("value, low and high have different lengths")
        rising = all(a < b for a, b in zip(self.value, self.value[1:], strict=False))
        if not rising or self.value[0] != 0 or self.value[-1] != 1:
            raise ValueError("value must rise from 0 to 1")
        if not all(0 <= low <= high <= 1 for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("0 <= low <= high <= 1 does not hold")
        return self


class Knots(Record):
    """How an input is brought to the scale of a normal distribution: linear between these points, and beyond them.

    Attributes:
        values: Quantiles of the training cohort, rising.
        scores: What a normal distribution has at the same levels, rising.
    """

    values: tuple[float, ...] = Field(min_length=2)
    scores: tuple[float, ...]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        pairs = [(row[:-1], row[1:]) for row in (self.values, self.scores)]
        if len(self.values) != len(self.scores) or not all(
            a < b for before, after in pairs for a, b in zip(before, after, strict=True)
        ):
            raise ValueError("values and scores must both rise")
        return self


class Typical(Record):
    """What the training cohort looks like: a patient far from it gets no probability.

    The distance is Mahalanobis': sqrt((x - centre)ᵀ · precision · (x - centre)), x on the scale of `knots`.

    Attributes:
        centre: Mean of each input.
        precision: Inverse of the (shrunk) covariance, one row an input.
        limit: Largest distance that still counts as typical.
        knots: Of each input; None where inputs are taken as they are (bundles before schema 3).
    """

    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: Annotated[float, Field(gt=0)]
    knots: tuple[Knots, ...] | None = None

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.centre) for row in self.precision) or len(self.precision) != len(
            self.centre
        ):
            raise ValueError("precision is not a square matrix of the features")
        if self.knots is not None and len(self.knots) != len(self.centre):
            raise ValueError("there are not as many knots as inputs")
        return self


class Classifier(Record):
    """The classifier of a model's inputs.

    Attributes:
        file: ONNX: `features` (N, n) float64, the signature's and then the covariates → `probabilities` (N, 2), column
            1 positive.
        positive, negative: Names of the two classes.
        threshold: Probability from which the positive class is named.
        indeterminate: Probabilities strictly between these two name no class (conformal).
        calibration: How probabilities were calibrated, and on how many patients.
        band: Interval of the calibration.
        typical: Out-of-distribution guard.
    """

    file: RelativePath
    positive: str
    negative: str
    threshold: Annotated[float, Field(gt=0, lt=1)]
    indeterminate: tuple[float, float]
    calibration: str
    band: Band
    typical: Typical


class Covariate(Record):
    """Something known of a patient beside the images.

    Attributes:
        name: `age` and `sex` come from DICOM, others from the study's sidecar.
        unit: Of a number.
        values: The two values of a yes-or-no covariate, the one that counts 0 first; None for a number.
        low, high: The training cohort's smallest and largest value, as the classifier takes it.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    unit: str | None = None
    values: tuple[str, str] | None = None
    low: float
    high: float


class StudyModel(Record):
    """One of a bundle's models: signature, covariates and classifier, and when it answers.

    Attributes:
        name: As in reports.
        roles: It answers where exactly these segmenters have a lesion, and the lesions agree; None for those that its
            features are measured in (bundles before schema 3).
        covariates: It answers only where all of these are known.
    """

    name: str
    roles: tuple[str, ...] | None = None
    covariates: tuple[Covariate, ...] = ()
    signature: Signature
    classifier: Classifier

    @model_validator(mode="after")
    def _inputs_match(self) -> Self:
        if len(self.classifier.typical.centre) != len(self.inputs):
            raise ValueError("the classifier and the model have different numbers of inputs")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("an input of the model occurs twice")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the classifier's inputs, in its order."""
        return (*self.signature.features, *(covariate.name for covariate in self.covariates))
