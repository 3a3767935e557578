"""The manifest of a bundle, `bundle.json`: what is in it, what it is for, where it comes from."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from scanside.runtime.plan import Plan, Record

SCHEMA = 1
"""Version of the bundle format that this runtime writes and reads."""

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


class FileEntry(Record):
    """A file of the bundle."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Network(Record):
    """One fold's network, in each precision that was exported."""

    fold: str
    files: dict[Literal["fp32", "mixed"], RelativePath]


class Segmenter(Record):
    """One segmenter: a recipe and the networks whose logits are averaged."""

    plan: Plan
    networks: tuple[Network, ...] = Field(min_length=1)


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
    provenance: dict[str, Any]
    files: dict[RelativePath, FileEntry]

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for role, segmenter in self.segmenters.items():
            previous = segmenter.plan.previous_stage
            if previous is not None and previous not in self.segmenters:
                raise ValueError(f"segmenter '{role}' needs '{previous}', which is not in the bundle")
            for network in segmenter.networks:
                for path in network.files.values():
                    if path not in self.files:
                        raise ValueError(f"{path} is not in the list of files")
        for case in self.golden:
            if case.role not in self.segmenters or case.file not in self.files:
                raise ValueError(f"golden case '{case.name}' refers to something that is not in the bundle")
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
