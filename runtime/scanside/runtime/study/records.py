"""What flows through the main job: a study as read, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32, LabelMask
from scanside.runtime.classify import Classification
from scanside.runtime.errors import ExitCode
from scanside.runtime.outcome import Status
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.segmenter import Obtained
from scanside.runtime.stages.lesions import Lesion
from scanside.runtime.study.answer import Known
from scanside.runtime.volume import Geometry, Volume

if TYPE_CHECKING:
    from scanside.runtime.dicom.series import DicomSeries

SEQUENCES = ("t2w", "dwi", "b0", "adc")
"""The images that a study may hold; dwi is the high-b image, b0 the low-b one; ADC is in 1e-6 mm²/s."""


@dataclass(frozen=True, eq=False)
class SequenceImage:
    """One sequence of a study.

    Attributes:
        name: One of `SEQUENCES`.
        volume: (1, Z, Y, X).
        path: File or folder it was read from.
        series: What a person calls it: the file's name, or series number and description.
        how: Why this one: `named so`, `given`, `computed`, or the rules that chose it.
        b: b-value as applied, s/mm²; None where it is unknown or there is none.
        source: The DICOM series, for objects that refer to it.
        computed_as: The orientation it was brought to for the computation; None where it was computed as it is stored.
    """

    name: str
    volume: Volume
    path: Path
    series: str
    how: str
    b: float | None = None
    source: DicomSeries | None = None
    computed_as: str | None = None


@dataclass(frozen=True)
class Considered:
    """A series of the study and what was made of it.

    Attributes:
        chosen: The sequence it was taken for, or None.
        reason: Why, or why not, by sequence.
    """

    series: str
    images: int
    chosen: str | None
    reason: str


@dataclass(frozen=True, eq=False)
class StudyInput:
    """A study, read.

    Attributes:
        name: For events and pictures: the folder's name.
        path: What the user gave.
        images: By sequence; those that the bundle needs.
        considered: Every series that was looked at.
        warnings: What the user should know.
        read_ms: Time it took.
        covariates: What is known of the patient beside the images, by name.
    """

    name: str
    path: Path
    images: Mapping[str, SequenceImage]
    considered: tuple[Considered, ...] = ()
    warnings: tuple[str, ...] = ()
    read_ms: float = 0.0
    covariates: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Odds:
    """What a segmenter says of every voxel (`fusion.odds`).

    Attributes:
        probability: (Z, Y, X) float32 of a lesion; neither 0 nor 1.
        geometry: Where the voxels lie.
    """

    probability: Float32
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a segmenter says, before one of its lesions is chosen.

    Attributes:
        mask: (Z, Y, X), its labels.
        lesion: (Z, Y, X) uint8, 1 is lesion.
        labels: Volume of each label, ml.
        odds: Only where a fusion asks for them.
    """

    role: str
    mask: LabelMask
    lesion: npt.NDArray[np.uint8]
    geometry: Geometry
    labels: Mapping[str, float]
    odds: Odds | None = None


@dataclass(frozen=True, eq=False)
class RoleResult:
    """What one segmenter found.

    Attributes:
        role: Its name.
        mask: (Z, Y, X), the segmenter's labels, on the grid of its first sequence.
        main: (Z, Y, X) uint8: the chosen lesion alone, the region that radiomics measured.
        lesions: Largest first.
        labels: Volume of each label, ml.
        measured: Number of the chosen lesion; None where there is no lesion.
    """

    role: str
    mask: LabelMask
    main: npt.NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    labels: Mapping[str, float]
    measured: int | None


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What came of a study.

    Attributes:
        status: See `Status`.
        reason: Why it is not ok, and what to do; None when it is.
        study: What was read; None where the study itself was refused.
        device: What computed it; None where nothing was computed.
        roles: By segmenter; empty where nothing was computed.
        features: By name, in the signature's order; None where none was looked at.
        classification: None where none was made.
        warnings: What the user should know, those of reading included.
        stages: Stage → milliseconds, in order.
    """

    status: Status
    reason: str | None
    study: StudyInput | None
    device: Obtained | None = None
    roles: Mapping[str, RoleResult] = field(default_factory=dict)
    features: Mapping[str, FeatureValue] | None = None
    classification: Classification | None = None
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """5 for unsuitable input; everything else is a result."""
        return ExitCode.INPUT if self.status == "unsuitable input" else ExitCode.OK
