"""Every automatic mask of an experiment, measured against its reference."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from scanside.runtime.errors import GeometryError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.read import read_image
from scanside.runtime.volume import Geometry
from scanside.training.cohort.table import ROLES, Cohort, Patient
from scanside.training.evaluation.distances import Spacing, distances
from scanside.training.evaluation.lesion_hits import lesion_hits
from scanside.training.evaluation.overlap import Mask, overlap
from scanside.training.experiment import PARTS, Experiment

LESION = 1
"""Label of the lesion in every mask."""
SPLIT_OF = {"resubstitution": "train", "cross-validated": "train", "test": "test"}
"""Which patients a part is about."""


@dataclass(frozen=True)
class Case:
    """One automatic mask measured. Definitions stand in docs/metrics.md.

    Attributes:
        hd95_mm, masd_mm: The image's diagonal where one of the masks is empty.
        lesions, found, false_positives: Counts of `lesion_hits`.
        empty: The automatic mask is empty although the reference is not.
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
    )


def measure_all(
    experiment: Experiment, cohort: Cohort, advance: Callable[[str], None] = lambda _: None
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


def absent_masks(experiment: Experiment, cohort: Cohort) -> list[Absent]:
    """Role and part → patients without an automatic mask."""
    absent = []
    for role in ROLES:
        for part in PARTS:
            folder = experiment.masks(part, role)
            wanted = [patient.patient for patient in cohort.split(SPLIT_OF[part])]
            without = tuple(name for name in wanted if not mask_file(folder, name).is_file())
            if without:
                absent.append(Absent(role, part, without, len(wanted)))
    return absent


def mask_file(folder: Path, patient: str) -> Path:
    """Where the automatic mask of a patient lies."""
    return folder / f"{patient}.nii.gz"


def read_mask(path: Path) -> tuple[Mask, Geometry]:
    """A mask file as (Z, Y, X) bool, True where the lesion is, with its grid.

    Raises:
        ImageReadError: If it cannot be read.
    """
    volume = read_image(path)
    return np.rint(volume.data[0]) == LESION, volume.geometry


def write_cases(cases: list[Case], path: Path) -> None:
    """Write one row a mask.

    Raises:
        OutputError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(field.name for field in fields(Case)), "missed"])
    for case in cases:
        values = (*asdict(case).values(), case.missed)
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _of_patient(experiment: Experiment, cohort: Cohort, patient: Patient, role: str) -> Iterator[Case]:
    files = {
        part: file
        for part in PARTS
        if SPLIT_OF[part] == patient.split
        and (file := mask_file(experiment.masks(part, role), patient.patient)).is_file()
    }
    if not files:
        return
    reference, grid = read_mask(cohort.mask(patient.patient, role))
    for part, file in files.items():
        automatic, own = read_mask(file)
        difference = grid.difference(own)
        if difference:
            raise GeometryError(
                f"{file} does not lie on the grid of its reference ({difference}); segment {patient.patient} again."
            )
        yield measure(reference, automatic, grid.spacing, patient=patient.patient, role=role, part=part)
