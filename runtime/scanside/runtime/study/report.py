"""`result.json`, which is also what `scanside run --json` prints, as one record: whoever writes or reads it has this.

`scanside schema result` prints its JSON schema.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from scanside.runtime.errors import InputError
from scanside.runtime.outcome import Probability, Status
from scanside.runtime.record import Document, Part, Uid, Words, first_fault
from scanside.runtime.report import BundleName, DeviceUse, StageTime
from scanside.runtime.study.prior import Prior

RESULT = "result.json"
Orientation = Annotated[str, Field(pattern="^[LRAPSI]{3}$")]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Sequence = Literal["t2w", "dwi", "b0", "adc"]


class SequenceUse(Part):
    """An image that was used."""

    sequence: Sequence
    path: str
    series: Words
    """The file's name, or the series' number and description."""
    how: Words
    """Named so, given with an option, computed, or the rules that chose it."""
    b_value: Annotated[float, Field(ge=0)] | None
    """As applied, s/mm²; null where unknown or none."""
    series_instance_uid: str | None
    shape: tuple[Count, Count, Count]
    """z, y, x."""
    spacing_mm: tuple[Positive, Positive, Positive]
    """z, y, x."""
    orientation: Orientation | None = None
    """As stored: where the x, y and z index point to; LPS is supine, head first. Version 0.1 did not say it."""
    computed_as: Orientation | None = None
    """In which orientation it was computed: that of the training cohort."""


class ConsideredSeries(Part):
    """A series of a DICOM study and what was made of it."""

    series: Words
    images: Annotated[int, Field(ge=0)]
    chosen: Sequence | None
    reason: str


class WrittenObject(Part):
    """A DICOM object among the outputs (docs/dicom-objects.md)."""

    kind: Literal["seg", "sr", "sc", "key", "reject", "gsps"]
    """Segmentation, structured report, secondary capture, key object selection, note that rejects what an older result
    had sent, outlines as a presentation state."""
    path: str
    sop_class_uid: Uid
    sop_instance_uid: Uid
    series_instance_uid: Uid


class LesionFound(Part):
    """A 26-connected component of a segmenter's lesion label."""

    role: str
    """The segmenter."""
    number: Count
    voxels: Count
    volume_ml: Positive
    longest_diameter_mm: Positive
    centroid_mm: tuple[float, float, float]
    """x, y, z in mm, LPS: left, posterior, superior."""
    measured: bool
    """Radiomics was measured in this lesion: of each segmenter the one that the others show, too."""


class Feature(Part):
    """A feature beside the 5th, 50th and 95th percentile of the training cohort."""

    value: float | None
    reason: str | None
    """Why there is no value; null when there is one."""
    low: float
    median: float
    high: float

    @model_validator(mode="after")
    def _absent_with_a_reason(self) -> Self:
        if (self.value is None) is (self.reason is None):
            raise ValueError("a feature has either a value, or a reason why it has none")
        return self


class AnsweringModel(Part):
    """The bundle's model that answered."""

    name: Words
    roles: Annotated[tuple[str, ...], Field(min_length=1)] | None
    """The segmenters in whose lesion it was measured; null for a bundle before schema 3."""
    covariates: Mapping[str, float | str]
    """What it took beside the images, as the study says it."""


class StudyReport(Document):
    """One document per study. What could not be computed is null with its reason, never 0."""

    schema_: Literal["scanside.run/1"] = Field("scanside.run/1", alias="schema")
    status: Status
    """`no lesion segmented` does not mean negative. The exit code is 5 for `unsuitable input`, else 0."""
    reason: str | None
    """Why it is not ok, and what to do; null when ok."""
    reason_code: str | None = None
    """The reason as a word that stays when its sentence is worded anew, so that reports can count: no-lesion,
    lesions-apart, lesion-on-one-sequence, covariates-unknown, input-absent, unlike-training, indeterminate-band,
    input-refused; null when ok."""
    notice: Words
    """Research use only."""
    synthetic: bool
    """The model was trained on a phantom, not on patients."""
    bundle: BundleName
    device: DeviceUse
    approximations: tuple[str, ...]
    """Empty for the exact recipe."""
    inputs: tuple[str, ...]
    """Files and folders that were used; what was given, when the study was refused on reading."""
    sequences: tuple[SequenceUse, ...]
    """The images that were used; empty when the study was refused on reading."""
    considered: tuple[ConsideredSeries, ...]
    """Every series of a DICOM study and what was made of it."""
    outputs: tuple[str, ...]
    """Files written by this run, result.json last."""
    objects: tuple[WrittenObject, ...]
    """Empty where the images are not DICOM."""
    stages: tuple[StageTime, ...]
    """In order."""
    labels: Mapping[str, Annotated[float, Field(ge=0)]] | None
    """`<segmenter> <label>` to volume in ml. Null when nothing was segmented."""
    decided_with: Mapping[str, str] = Field(default_factory=dict)
    """Segmenter whose mask was decided together with another one's probabilities → that one (ADR 44)."""
    lesions: tuple[LesionFound, ...] | None
    """Largest first within a segmenter. Null when nothing was computed, empty when no lesion was segmented."""
    signature: Mapping[str, Feature] | None
    """Null when nothing was computed."""
    model: AnsweringModel | None = None
    """Null where none answered."""
    probability: Probability | None
    """Null where none may be given."""
    distance: Annotated[float, Field(ge=0)] | None
    """Mahalanobis distance from the training cohort relative to the accepted one; above 1 no probability is given."""
    warnings: tuple[Words, ...]
    warning_codes: tuple[str, ...] = ()
    """One for each warning, in the same order; `other` for a sentence without one."""
    versions: Mapping[str, str]
    case: str | None = None
    """Pseudonym of the study; null outside the appliance."""
    job: int | None = None
    """Number of the computation; null outside the appliance."""
    prior: Prior | None = None
    """The latest result of an earlier study of the patient, as far as this appliance has one or a configured archive
    holds its report. Sizes are those of the lesion that was measured of each segmenter; nobody has said that it is the
    same lesion."""

    @model_validator(mode="after")
    def _status_agrees(self) -> Self:
        if (self.status == "ok") is not (self.reason is None):
            raise ValueError("a report has a reason exactly where its status is not ok")
        if self.status == "ok" and self.probability is None:
            raise ValueError("a report with status ok has a probability")
        if self.status in ("no lesion segmented", "unsuitable input") and self.probability is not None:
            raise ValueError(f"a report with status '{self.status}' has no probability")
        return self


def read_report(folder: Path) -> StudyReport:
    """Read the report in the folder of a result.

    Raises:
        InputError: If it is not there, or is no such report.
    """
    path = folder / RESULT
    try:
        return StudyReport.read(path)
    except OSError as error:
        raise InputError(
            f"The report {path.name} of this result cannot be read ({error.strerror}); run the study again."
        ) from error
    except ValidationError as error:
        where = first_fault(error)[0] or "the whole"
        raise InputError(
            f"The report {path.name} of this result is damaged (at {where}); run the study again."
        ) from error
