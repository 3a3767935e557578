"""Every automatic mask of an experiment, measured against its reference."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np

from scanside.runtime.arrays import Mask
from scanside.runtime.errors import GeometryError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.read import read_image
from scanside.runtime.masks.distances import Spacing, distances
from scanside.runtime.masks.overlap import overlap
from scanside.runtime.volume import Geometry
from scanside.training.cohort.table import ROLES, Cohort, Patient
from scanside.training.evaluation.lesion_hits import lesion_hits
from scanside.training.experiment import LESION, PARTS

SPLIT_OF = {"resubstitution": "train", "cross-validated": "train", "test": "test"}
"""Which patients a part is about."""


@dataclass(frozen=True)
class Case:
    """One automatic mask measured. Definitions stand in docs/metrics.md.

    Attributes:
        hd95_mm, masd_mm: The image's diagonal where one of the masks is empty.
        lesions, found, false_positives: Counts of `lesion_hits`.
        empty: The automatic mask is empty although the reference is not.
        candidates: Of each automatic lesion its volume in ml, and whether it is one of the reference; largest first.
    """

    patient: str
    role: str
    part: str
    dice: float
    nsd_1mm: float
    nsd_2mm: float
    nsd_5mm: float
    hd95_mm: float
    masd_mm: float
    reference_ml: float
    automatic_ml: float
    volume_error_ml: float
    relative_volume_error: float
    lesions: int
    found: int
    false_positives: int
    empty: bool
    candidates: tuple[tuple[float, bool], ...] = ()

    @property
    def lesion_free(self) -> bool:
        """The reference shows no lesion: overlap and distances then say nothing, false positives do."""
        return self.lesions == 0

    @property
    def missed(self) -> bool:
        """No lesion of the reference was found, whether the mask is empty or lies elsewhere."""
        return self.lesions > 0 and self.found == 0


@dataclass(frozen=True)
class Absent:
    """Masks that an experiment does not hold.

    Attributes:
        patients: Who has none; the report is about the others.
        of: How many ought to have one.
    """

    role: str
    part: str
    patients: tuple[str, ...]
    of: int


def measure(
    reference: Mask, automatic: Mask, spacing: Spacing, *, patient: str = "", role: str = "", part: str = ""
) -> Case:
    """Measure one mask against its reference.

    Args:
        reference: (Z, Y, X) bool.
        automatic: (Z, Y, X) bool, on the same grid.
        spacing: (Z, Y, X), mm.
    """
    common = overlap(reference, automatic, spacing)
    apart = distances(reference, automatic, spacing)
    hits = lesion_hits(reference, automatic)
    return Case(
        patient=patient,
        role=role,
        part=part,
        dice=common.dice,
        nsd_1mm=apart.nsd[1.0],
        nsd_2mm=apart.nsd[2.0],
        nsd_5mm=apart.nsd[5.0],
        hd95_mm=apart.hd95_mm,
        masd_mm=apart.masd_mm,
        reference_ml=common.reference_ml,
        automatic_ml=common.automatic_ml,
        volume_error_ml=common.volume_error_ml,
        relative_volume_error=common.relative_volume_error,
        lesions=hits.lesions,
        found=hits.found,
        false_positives=hits.false_positives,
        empty=common.automatic_ml == 0 and common.reference_ml > 0,
        candidates=tuple((voxels * float(np.prod(spacing)) / 1000, hit) for voxels, hit in hits.candidates),
    )


class Masks(Protocol):
    """Where automatic masks lie: an experiment, or the results of a frozen bundle."""

    def mask(self, part: str, role: str, patient: str) -> Path:
        """The file of a patient's mask."""

    def label(self, role: str) -> int:
        """The value of the lesion in it."""


def measure_all(
    experiment: Masks, cohort: Cohort, advance: Callable[[str], None] = lambda _: None
) -> tuple[list[Case], list[Absent]]:
    """Measure every mask there is; tell which are not.

    Args:
        advance: Called with the patient's id after each patient and role.

    Raises:
        ImageReadError: If a mask is there but cannot be read.
        GeometryError: If a mask does not lie on the grid of its reference.
    """
    cases = []
    for patient in cohort.patients:
        for role in ROLES:
            cases += list(_of_patient(experiment, cohort, patient, role))
            advance(patient.patient)
    return cases, absent_masks(experiment, cohort)


def absent_masks(experiment: Masks, cohort: Cohort) -> list[Absent]:
    """Role and part → patients without an automatic mask."""
    absent = []
    for role in ROLES:
        for part in PARTS:
            wanted = [patient.patient for patient in cohort.split(SPLIT_OF[part])]
            without = tuple(name for name in wanted if not experiment.mask(part, role, name).is_file())
            if without:
                absent.append(Absent(role, part, without, len(wanted)))
    return absent


def without_reference(cohort: Cohort) -> dict[str, list[str]]:
    """Role → patients whom no reader outlined and who may have a lesion; roles without such a patient are left out."""
    found = {
        role: [
            patient.patient
            for patient in cohort.patients
            if not patient.lesion_free and not cohort.mask(patient.patient, role).exists()
        ]
        for role in ROLES
    }
    return {role: names for role, names in found.items() if names}


def read_mask(path: Path, label: int = LESION) -> tuple[Mask, Geometry]:
    """A mask file as (Z, Y, X) bool, True where the lesion is, with its grid.

    Raises:
        ImageReadError: If it cannot be read.
    """
    volume = read_image(path)
    return np.rint(volume.data[0]) == label, volume.geometry


def write_cases(cases: list[Case], path: Path) -> None:
    """Write one row a mask.

    Raises:
        OutputError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Case) if field.name != "candidates"]
    writer.writerow([*names, "missed"])
    for case in cases:
        values = (*(getattr(case, name) for name in names), case.missed)
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _of_patient(experiment: Masks, cohort: Cohort, patient: Patient, role: str) -> Iterator[Case]:
    files = {
        part: file
        for part in PARTS
        if SPLIT_OF[part] == patient.split
        and (file := experiment.mask(part, role, patient.patient)).is_file()
    }
    if not files:
        return
    outlined = cohort.mask(patient.patient, role)
    if not outlined.exists() and not patient.lesion_free:
        return
    if patient.lesion_free and not outlined.exists():
        seen, grid = read_mask(next(iter(files.values())), experiment.label(role))
        reference = np.zeros_like(seen)
    else:
        reference, grid = read_mask(outlined)
    for part, file in files.items():
        automatic, own = read_mask(file, experiment.label(role))
        difference = grid.difference(own)
        if difference:
            raise GeometryError(
                f"{file} does not lie on the grid of its reference ({difference}); segment {patient.patient} again."
            )
        yield measure(reference, automatic, grid.spacing, patient=patient.patient, role=role, part=part)
