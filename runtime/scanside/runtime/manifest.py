"""The manifest of a bundle, `bundle.json`: what is in it, what it is for, where it comes from."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.images.orient import is_orientation
from scanside.runtime.plan import Plan, Record

SCHEMA = 2
"""Version of the bundle format that this runtime writes; it reads all up to it. 2 added `orientation`."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    """A path that cannot leave the bundle."""
    if (
        not path
        or path.startswith("/")
        or "\\" in path
        or any(part in ("", ".", "..") for part in path.split("/"))
    ):
        raise ValueError(f"'{path}' is not a path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


def _letters(orientation: str) -> str:
    if not is_orientation(orientation):
        raise ValueError(f"'{orientation}' is no orientation such as LPS")
    return orientation


Orientations = Annotated[tuple[Annotated[str, AfterValidator(_letters)], ...], Field(min_length=1)]


class FileEntry(Record):
    """A file of the bundle."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Network(Record):
    """One fold's network, in each precision that was exported."""

    fold: str
    files: dict[FilePrecision, RelativePath]


class Segmenter(Record):
    """One segmenter: a recipe and the networks whose logits are averaged.

    Attributes:
        device: Graphs that surrounded the network on a GPU, in bundles of before: hashed like every file, and read by
            nothing any more.
    """

    plan: Plan
    networks: tuple[Network, ...] = Field(min_length=1)
    device: dict[str, RelativePath] | None = None


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


class Typical(Record):
    """What the training cohort looks like: a patient far from it gets no probability.

    The distance is Mahalanobis': sqrt((x - centre)ᵀ · precision · (x - centre)).

    Attributes:
        centre: Mean of each feature.
        precision: Inverse of the (shrunk) covariance, one row a feature.
        limit: Largest distance that still counts as typical.
    """

    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.centre) for row in self.precision) or len(self.precision) != len(
            self.centre
        ):
            raise ValueError("precision is not a square matrix of the features")
        return self


class Classifier(Record):
    """The classifier of the signature.

    Attributes:
        file: ONNX: `features` (N, n) float64 in the signature's order → `probabilities` (N, 2), column 1 positive.
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


class GoldenStudy(Record):
    """A small study with the reference's features and probability, replayed by `scanside selftest`.

    Attributes:
        file: .npz with `image_<sequence>`, `spacing_<sequence>`, `origin_<sequence>`, `mask_<role>`, and the
            reference's `features` and `probability`.
    """

    name: str
    file: RelativePath


class Golden(Record):
    """A small case with the reference's result, replayed by `scanside selftest`.

    Attributes:
        role: The segmenter it runs through.
        file: .npz with `image` (C, Z, Y, X), `spacing` (3), `labels` (Z, Y, X), `margin` (Z, Y, X) and, for the
            second stage of a cascade, `previous` (Z, Y, X), the mask of the first.
        origin: `synthetic` (made at export) or `given` (an image of the model's owner).
    """

    name: str
    role: str
    file: RelativePath
    origin: Literal["synthetic", "given"]


class Manifest(Record):
    """The whole manifest.

    Attributes:
        schema_version: Bundle format.
        file_ending: The dataset's file ending, which decides how a folder run names its masks.
        synthetic: The model was trained on synthetic images (a phantom); every result says so.
        radiomics, signature, classifier: All three, or none: a bundle may hold segmenters alone. A classifier needs
            the sequences its features name; each segmenter's role is then the name of its mask.
        orientation: Sequence → where the x, y and z index of the training cohort's images point to, the most frequent
            first. A sequence that is not in it: nobody knows.
        provenance: Where the model comes from: dataset, trainer, checkpoints' hashes, versions. Not interpreted.
        files: Every other file of the bundle.
    """

    schema_version: int = Field(alias="schema")
    name: str
    version: str
    intended_use: str
    licence: str
    created: str
    file_ending: str
    segmenters: dict[str, Segmenter] = Field(min_length=1)
    golden: tuple[Golden, ...] = ()
    synthetic: bool = False
    radiomics: RelativePath | None = None
    signature: Signature | None = None
    classifier: Classifier | None = None
    studies: tuple[GoldenStudy, ...] = ()
    orientation: dict[str, Orientations] = Field(default_factory=dict)
    provenance: dict[str, Any]
    files: dict[RelativePath, FileEntry]

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for role, segmenter in self.segmenters.items():
            previous = segmenter.plan.previous_stage
            if previous is not None and previous not in self.segmenters:
                raise ValueError(f"segmenter '{role}' needs '{previous}', which is not in the bundle")
            paths = [path for network in segmenter.networks for path in network.files.values()]
            for path in (*paths, *(segmenter.device or {}).values()):
                if path not in self.files:
                    raise ValueError(f"{path} is not in the list of files")
        for case in self.golden:
            if case.role not in self.segmenters or case.file not in self.files:
                raise ValueError(f"golden case '{case.name}' refers to something that is not in the bundle")
        return self

    @model_validator(mode="after")
    def _classifier_is_whole(self) -> Self:
        parts = (self.radiomics, self.signature, self.classifier)
        if None in parts:
            if any(part is not None for part in parts) or self.studies:
                raise ValueError("radiomics, signature and classifier belong together")
            return self
        assert self.radiomics is not None and self.signature is not None and self.classifier is not None
        for path in (self.radiomics, self.classifier.file, *(study.file for study in self.studies)):
            if path not in self.files:
                raise ValueError(f"{path} is not in the list of files")
        if len(self.classifier.typical.centre) != len(self.signature.features):
            raise ValueError("the classifier and the signature have different numbers of features")
        return self

    @property
    def final_roles(self) -> tuple[str, ...]:
        """Segmenters whose mask is a result, not the input of another stage."""
        used = {segmenter.plan.previous_stage for segmenter in self.segmenters.values()}
        return tuple(role for role in self.segmenters if role not in used)

    def chain(self, role: str) -> tuple[str, ...]:
        """The roles to run for `role`, first stage first."""
        roles = [role]
        while (previous := self.segmenters[roles[0]].plan.previous_stage) is not None:
            if previous in roles:
                raise ValueError(f"the stages of '{role}' depend on each other in a circle")
            roles.insert(0, previous)
        return tuple(roles)
