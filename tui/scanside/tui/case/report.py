"""`result.json` as the terminal reads it: the fields that it shows, checked, so that a damaged file is a sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scanside.runtime.errors import InputError
from scanside.runtime.study.write import RESULT
from scanside.runtime.volume import Triple
from scanside.tui.case.stack import Spot

SCHEMA = "scanside.run/1"
Unit = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    """A later program may add fields: those are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class BundleName(_Part):
    """Which bundle computed it."""

    name: str
    version: str
    sha256: str


class DeviceUse(_Part):
    """Which device was asked for, and which was obtained."""

    asked: str
    obtained: str | None
    why: str
    precision: str


class SequenceUse(_Part):
    """An image that was used."""

    sequence: str
    series: str
    how: str
    b_value: float | None
    series_instance_uid: str | None
    shape: tuple[int, int, int]


class ConsideredSeries(_Part):
    """A series of the study and what was made of it."""

    series: str
    images: int
    chosen: str | None
    reason: str


class StageTime(_Part):
    """How long a stage took."""

    name: str
    ms: float


class LesionFound(_Part):
    """A component of a segmenter's mask."""

    role: str
    number: int
    volume_ml: float
    longest_diameter_mm: float
    centroid_mm: Triple
    measured: bool

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return Spot(self.role, self.number, self.centroid_mm)


class Feature(_Part):
    """A feature beside the 5th, 50th and 95th percentile of the training cohort."""

    value: float | None
    reason: str | None
    low: float
    median: float
    high: float


class Chance(_Part):
    """A probability with its band."""

    of: str = Field(alias="class")
    value: Unit
    low: Unit
    high: Unit
    calibrated: str
    predicted: str | None


class EarlierSize(_Part):
    """What a segmenter measured then; None where it segmented nothing."""

    role: str
    volume_ml: float | None
    longest_diameter_mm: float | None


class Earlier(_Part):
    """The latest result of an earlier study of the patient."""

    day: str
    same_algorithm: bool
    sizes: tuple[EarlierSize, ...]


class Report(_Part):
    """The document."""

    schema_: Literal["scanside.run/1"] = Field(alias="schema")
    status: str
    reason: str | None
    notice: str
    synthetic: bool
    bundle: BundleName
    device: DeviceUse
    approximations: tuple[str, ...]
    sequences: tuple[SequenceUse, ...]
    considered: tuple[ConsideredSeries, ...]
    stages: tuple[StageTime, ...]
    lesions: tuple[LesionFound, ...] | None
    signature: Mapping[str, Feature] | None
    probability: Chance | None
    distance: float | None
    warnings: tuple[str, ...]
    versions: Mapping[str, str]
    prior: Earlier | None = None

    def spots(self, role: str) -> list[Spot]:
        """The lesions of a segmenter."""
        return [lesion.spot for lesion in self.lesions or () if lesion.role == role]


def read_report(folder: Path) -> Report:
    """Read the report in the folder of a result.

    Raises:
        InputError: If it is not there, or is no such report.
    """
    path = folder / RESULT
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"The report {path.name} of this result cannot be read ({error.strerror}); run the study again."
        ) from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise InputError(
            f"The report {path.name} of this result is damaged (at {where}); run the study again."
        ) from error
