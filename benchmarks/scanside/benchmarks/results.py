"""The results files as data, validated when read back. `scanside schema bench-parity` prints the schema of one."""

import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.record import Part

PARITY = "scanside.bench-parity/1"

Report = TypeVar("Report", bound=BaseModel)


class Machine(Part):
    """Where it ran."""

    processor: str
    cores: int
    """Cores the process may use."""
    memory_gib: float | None
    system: str
    load_average: list[float] | None
    """1, 5 and 15 minutes, before the run."""


class Git(Part):
    """The checkout it ran from."""

    commit: str
    dirty: bool
    """Whether a tracked file differed from the commit."""


class BundleId(Part):
    """Which bundle."""

    name: str
    version: str
    sha256: str


class Run(Part):
    """What every results file says of the run that made it."""

    created: str
    """UTC, when the run began."""
    command: list[str]
    """The command line; absolute paths are cut to their last part."""
    machine: Machine
    versions: dict[str, str]
    git: Git | None
    """null when the code was not run from a git checkout."""
    remarks: list[str]
    """What a reader must know, such as a busy machine."""

    @property
    def passed(self) -> bool:
        """Whether what was measured is what it should be: else the command's exit code is 1."""
        return True


class Record(Run):
    """What a results file of a bundle beside nnunetv2 says."""

    bundle: BundleId
    checkpoints: dict[str, str]
    """sha256 of each fold's checkpoint, as nnunetv2 loaded it."""
    mirroring: bool
    folds: list[str]


class Margins(Part):
    """nnunetv2's own logit margins at the voxels that differ."""

    largest: float
    smallest: float
    bound: float
    explained: int
    """Differing voxels whose margin is at most the bound."""


class Device(Part):
    """The backend."""

    asked: str
    obtained: str
    why: str
    precision: str
    engine: str | None = None
    """The server's model that computed it on its own device; null for a device of this machine."""


class Selftest(Part):
    """The bundle's golden cases on the device that was measured: a fast wrong answer is no result."""

    passed: bool
    sentences: list[str]


class ParityDevice(Part):
    """One image on one device, against nnunetv2."""

    differing: int
    dice: dict[str, float | None]
    """Label → Dice against the manual labels (null: absent in both); empty without manual labels."""
    margins: Margins | None
    seconds: float


class ParityCase(Part):
    """One image."""

    name: str
    voxels: int
    reading_equal: bool | None
    """Whether nnU-Net's reader and scanside's gave the same array; null where scanside's array served both."""
    reference_dice: dict[str, float | None]
    """Label → Dice of nnunetv2 against the manual labels."""
    reference_seconds: float
    devices: dict[str, ParityDevice]


class ParityTotals(Part):
    """A device over all cases."""

    cases: int
    voxels: int
    differing: int
    cases_differing: int
    explained: int
    """Differing voxels whose margin is at most `bound`."""
    largest_margin: float | None
    bound: float
    dice: dict[str, float | None]
    """Label → mean Dice of the device against the manual labels, over the cases that have one."""
    reference_dice: dict[str, float | None]
    """The same for nnunetv2."""


class ParityReport(Record):
    """`scanside bench parity`."""

    schema_: Literal["scanside.bench-parity/1"] = Field(alias="schema")
    complete: bool
    """Whether all images are in; false where the run was stopped."""
    images: int
    """Images to do in all."""
    totals: dict[str, ParityTotals]
    cases: list[ParityCase]

    @property
    def passed(self) -> bool:
        """Whether every difference is a tie."""
        return all(total.explained == total.differing for total in self.totals.values())


def write(report: BaseModel, path: Path) -> None:
    """Write a results file in one step.

    Args:
        report: One that names its schema.

    Raises:
        OutputError: If it cannot be written.
    """
    document = report.model_dump(mode="json", by_alias=True)
    text = json.dumps({"schema": document["schema"], **document}, indent=1)
    with atomic_write(path) as temporary:
        temporary.write_text(f"{text}\n")


def read_back(report: type[Report], path: Path, command: str) -> Report:
    """Read a results file back.

    Args:
        command: What wrote it, for errors.

    Raises:
        InputError: If it is missing or no such file.
    """
    try:
        return report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); pass a file of `{command}`.") from error
    except ValueError as error:
        raise InputError(f"{path} is not a results file of `{command}`.") from error
