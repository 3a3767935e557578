"""The manifest of a bundle, `bundle.json`: what is in it, what it is for, where it comes from."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.images.letters import is_orientation
from scanside.runtime.plan import Plan
from scanside.runtime.record import Record, RelativePath, Sha256
from scanside.runtime.study_model import StudyModel

SCHEMA = 5
"""Version of the bundle format that this runtime writes; it reads all up to it. 2 added `orientation`, 3 `models` and
`agreement` in place of one signature and one classifier: see `of_earlier_schema`; 4 readers of pictures,
ensembles; 5 `fusions`."""
MODELS_SINCE = 3


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
    """One segmenter: a recipe and the networks whose logits are averaged; or an ensemble of other segmenters.

    Attributes:
        plan: Of an ensemble its labels, channels and postprocessing; the rest is its first member's, without effect.
        networks: None for an ensemble.
        members: Roles of the segmenters whose probabilities are averaged; none for a segmenter with networks.
        device: Graphs that surrounded the network on a GPU, in bundles of before: hashed like every file, and read by
            nothing any more.
    """

    plan: Plan
    networks: tuple[Network, ...] = ()
    device: dict[str, RelativePath] | None = None
    members: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _networks_or_members(self) -> Self:
        if bool(self.networks) == bool(self.members) or len(self.members) == 1:
            raise ValueError("a segmenter has networks, or two members or more")
        return self


class Agreement(Record):
    """How the lesion of each sequence is chosen (`study/lesion_agreement.py`), in training and in a new study alike.

    Attributes:
        near_mm: Lesions whose nearest voxels lie within this are one.
    """

    near_mm: Annotated[float, Field(gt=0)]


class Fusion(Record):
    """A segmenter's mask of a study, decided together with another one's probabilities (`study/fusion.py`).

    Attributes:
        role: The segmenter whose mask it is.
        other: The segmenter whose probabilities are added.
        blur_mm: Standard deviation of the Gauss filter over those, mm: the sequences are acquired in different breaths.
        weight: Of the other segmenter's log-odds; the own ones count 1.
        limit: Sum of log-odds above which a voxel is lesion.
    """

    role: str
    other: str
    blur_mm: Annotated[float, Field(ge=0)]
    weight: Annotated[float, Field(gt=0)]
    limit: float


class GoldenStudy(Record):
    """A small study with the reference's features and probabilities, replayed by `scanside selftest`.

    Attributes:
        file: .npz, written and read by `golden_study.py`.
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
    """The manifest of a bundle, `bundle.json`: what is in it, what it is for, and where it comes from.

    Attributes:
        schema_version: Bundle format.
        file_ending: The dataset's file ending, which decides how a folder run names its masks.
        synthetic: The model was trained on synthetic images (a phantom); every result says so.
        radiomics, models: Both, or none: a bundle may hold segmenters alone. A model needs the sequences its features
            name; each segmenter's role is then the name of its mask. The first model whose conditions are met answers.
        agreement: None where each sequence's largest lesion is measured, wherever it lies (bundles before schema 3).
        fusions: Segmenters whose mask of a study is decided together with another one's probabilities, at most once
            each; every other segmenter decides alone.
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
    agreement: Agreement | None = None
    fusions: tuple[Fusion, ...] = ()
    models: tuple[StudyModel, ...] = ()
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
            for member in segmenter.members:
                part = self.segmenters.get(member)
                if part is None or part.members or part.plan.labels.heads != segmenter.plan.labels.heads:
                    raise ValueError(f"'{member}' cannot be a member of the ensemble '{role}'")
            paths = [path for network in segmenter.networks for path in network.files.values()]
            for path in (*paths, *(segmenter.device or {}).values()):
                if path not in self.files:
                    raise ValueError(f"{path} is not in the list of files")
        for case in self.golden:
            if case.role not in self.segmenters or case.file not in self.files:
                raise ValueError(f"golden case '{case.name}' refers to something that is not in the bundle")
        return self

    @model_validator(mode="after")
    def _models_are_whole(self) -> Self:
        if bool(self.models) != (self.radiomics is not None) or (self.studies and not self.models):
            raise ValueError("radiomics and models belong together")
        used = [self.radiomics, *(model.classifier.file for model in self.models)]
        for path in (*filter(None, used), *(study.file for study in self.studies)):
            if path not in self.files:
                raise ValueError(f"{path} is not in the list of files")
        if len({model.name for model in self.models}) != len(self.models):
            raise ValueError("two models have one name")
        for model in self.models:
            unknown = set(model.roles or ()) - set(self.final_roles)
            if unknown or model.roles == ():
                raise ValueError(f"model '{model.name}' is of no segmenter of the bundle")
            if self.models[0].classifier.positive != model.classifier.positive:
                raise ValueError("the models are of different classes")
        return self

    @model_validator(mode="after")
    def _fusions_are_clear(self) -> Self:
        if len({one.role for one in self.fusions}) != len(self.fusions):
            raise ValueError("a segmenter has two fusions")
        for role, other in ((one.role, one.other) for one in self.fusions):
            if role == other or not {role, other} <= set(self.final_roles):
                raise ValueError(f"'{role}' cannot be decided together with '{other}'")
            for name in (role, other):
                labels = self.segmenters[name].plan.labels
                if labels.has_regions or len(labels.foreground) != 1:
                    raise ValueError(f"'{name}' has more than one label, so that its odds are not a lesion's")
        return self

    @property
    def positive(self) -> str | None:
        """The class that probabilities are of; None without models."""
        return self.models[0].classifier.positive if self.models else None

    @property
    def final_roles(self) -> tuple[str, ...]:
        """Segmenters whose mask is a result, not the input of another stage."""
        used = {segmenter.plan.previous_stage for segmenter in self.segmenters.values()}
        used |= {member for segmenter in self.segmenters.values() for member in segmenter.members}
        return tuple(role for role in self.segmenters if role not in used)

    def chain(self, role: str) -> tuple[str, ...]:
        """The roles to run for `role`, first stage first; of an ensemble its members', and itself last."""
        members = self.segmenters[role].members
        if members:
            return tuple(dict.fromkeys([*(part for member in members for part in self.chain(member)), role]))
        roles = [role]
        while (previous := self.segmenters[roles[0]].plan.previous_stage) is not None:
            if previous in roles:
                raise ValueError(f"the stages of '{role}' depend on each other in a circle")
            roles.insert(0, previous)
        return tuple(roles)


def of_earlier_schema(raw: dict[str, Any]) -> dict[str, Any]:
    """A manifest before schema 3, which has one signature and one classifier, in the words of this schema.

    Its model answers as it was trained: on the largest lesion of each sequence, wherever it lies.
    """
    known = {name: value for name, value in raw.items() if name not in ("signature", "classifier")}
    signature, classifier = raw.get("signature"), raw.get("classifier")
    if signature is not None or classifier is not None:
        known["models"] = [{"name": "radiomics", "signature": signature, "classifier": classifier}]
    return known
