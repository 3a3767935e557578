"""The check of a cohort: table, geometry, masks, units, leakage. Every problem names the row and the file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.errors import ScansideError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.volume import Geometry, Volume
from scanside.training.cohort.declared import NO_LESION, SEQUENCES
from scanside.training.cohort.leakage import Image, content_of, same_content, same_name
from scanside.training.cohort.table import (
    ROLES,
    Cohort,
    Patient,
    Problem,
    parse_cohort,
)

ADC_RANGE = (300.0, 4000.0)
"""Median ADC of tissue, 1e-6 mm²/s; clinical.md names 1000 to 2500 for the upper abdomen."""
_OTHER_UNITS = {"1e-3 mm2/s": 1e-3, "mm2/s": 1e-6, "1e-9 m2/s": 1e-3, "1e-10 mm2/s": 1e4}
MIN_OVERLAP = 0.5
"""Part of the smaller field of view along each patient axis that T2WI and DWI must share."""


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CohortReport:
    """What the check found.

    Attributes:
        patients, train, test: Rows that could be read.
        problems: What makes the cohort invalid.
        warnings: What somebody should look at.
        phantom_version: As `Cohort.phantom_version`.
    """

    cohort: str
    patients: int
    train: int
    test: int
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    phantom_version: int | None = None

    @property
    def valid(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"valid": self.valid, **asdict(self)}


@dataclass
class _Findings:
    """Collects problems of one patient."""

    patient: str
    line: int | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def wrong(self, file: Path | str, message: str) -> None:
        self.problems.append(Problem(message, self.line, self.patient, _name(file)))

    def odd(self, file: Path | str, message: str) -> None:
        self.warnings.append(Problem(message, self.line, self.patient, _name(file)))


def check_cohort(path: Path, progress: Progress = lambda done, of: None) -> CohortReport:
    """Check a cohort folder, reading every image.

    Args:
        path: Folder with cohort.csv.
        progress: Told how many patients of how many are done.
    """
    cohort, problems = parse_cohort(path)
    if cohort is None:
        return CohortReport(path.name, 0, 0, 0, tuple(problems))
    warnings: list[Problem] = []
    images: list[Image] = []
    for number, patient in enumerate(cohort.patients, start=1):
        findings = _Findings(patient.patient, cohort.lines.get(patient.patient))
        images += _check_patient(cohort, patient, findings)
        problems += findings.problems
        warnings += findings.warnings
        progress(number, len(cohort.patients))
    problems += same_content(cohort, images)
    problems += same_name(cohort)
    warnings += _folders_without_row(cohort)
    order = sorted(problems, key=lambda problem: (problem.line or 0, problem.file or ""))
    counts = (len(cohort.patients), len(cohort.split("train")), len(cohort.split("test")))
    return CohortReport(cohort.name, *counts, tuple(order), tuple(warnings), cohort.phantom_version)


def _check_patient(cohort: Cohort, patient: Patient, findings: _Findings) -> Iterator[Image]:
    volumes: dict[str, Volume] = {}
    for sequence in SEQUENCES:
        path = cohort.image(patient.patient, sequence)
        if not path.exists():
            if sequence in cohort.declared.sequences:
                findings.wrong(path, "the image is missing")
            continue
        volume = _read(path, findings)
        if volume is not None:
            volumes[sequence] = volume
            _check_image(path, volume, findings)
            yield Image(patient, f"{patient.patient}/{path.name}", content_of(volume))
    _check_same_grid(cohort, patient, volumes, findings)
    roles = [role for role in ROLES if role in cohort.declared.sequences]
    masks = {role: _check_mask(cohort, patient, role, volumes, findings) for role in roles}
    if "adc" in volumes:
        file = cohort.image(patient.patient, "adc")
        _check_adc_unit(file, volumes["adc"], masks.get("dwi"), findings)
    if "t2w" in volumes and "dwi" in volumes:
        file = cohort.image(patient.patient, "dwi")
        _check_overlap(file, volumes["t2w"].geometry, volumes["dwi"].geometry, findings)
    _check_size(cohort, patient, masks, volumes, findings)


def _read(path: Path, findings: _Findings) -> Volume | None:
    try:
        return load_case(CaseInput(findings.patient, (path,)), 1).volume
    except ScansideError as error:
        findings.wrong(path, str(error).rstrip("."))
        return None


def _check_image(path: Path, volume: Volume, findings: _Findings) -> None:
    if volume.geometry.dimension == 2 or min(volume.geometry.shape) < 2:
        findings.wrong(path, f"the image is not a volume (size {volume.geometry.shape})")
    if volume.data.min() == volume.data.max():
        findings.wrong(path, f"the image is constant ({volume.data.flat[0]:g} everywhere)")


def _check_same_grid(
    cohort: Cohort, patient: Patient, volumes: Mapping[str, Volume], findings: _Findings
) -> None:
    if "dwi" not in volumes:
        return
    for sequence in ("b0", "adc"):
        if sequence in volumes:
            difference = volumes["dwi"].geometry.difference(volumes[sequence].geometry)
            if difference:
                file = cohort.image(patient.patient, sequence)
                findings.wrong(file, f"does not lie on the grid of dwi ({difference})")


def _check_mask(
    cohort: Cohort, patient: Patient, role: str, volumes: Mapping[str, Volume], findings: _Findings
) -> npt.NDArray[np.bool_] | None:
    """The mask (Z, Y, X) when it is usable: on the image's grid, 0 and 1 only, not empty."""
    path = cohort.mask(patient.patient, role)
    if not path.exists():
        if not patient.lesion_free:
            findings.wrong(path, "the mask is missing")
        return None
    mask = _read(path, findings)
    if mask is None:
        return None
    before = len(findings.problems)
    if role in volumes:
        difference = volumes[role].geometry.difference(mask.geometry)
        if difference:
            findings.wrong(path, f"does not lie on the grid of {role} ({difference})")
    values = np.unique(mask.data)
    if not np.isin(values, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in values[~np.isin(values, (0, 1))][:4])
        findings.wrong(path, f"holds {found}; a mask holds 0 and, in the lesion, 1")
    lesion = mask.data[0] > 0
    if patient.lesion_free and lesion.any():
        findings.wrong(path, f"holds a lesion, but cohort.csv says diagnosis '{patient.diagnosis}'")
    elif not lesion.any() and not patient.lesion_free:
        findings.wrong(path, f"is empty; a patient without a lesion has the diagnosis '{NO_LESION}'")
    elif lesion.all():
        findings.wrong(path, "covers the whole image")
    if len(findings.problems) > before:
        return None
    if role in volumes and lesion.any():
        _check_inside(path, lesion, volumes[role], findings)
    parts = int(ndimage.label(lesion, np.ones((3, 3, 3)))[1])
    if parts > 1:
        findings.odd(path, f"has {parts} separate parts; features are measured in the largest")
    return lesion


def _check_inside(path: Path, lesion: npt.NDArray[np.bool_], image: Volume, findings: _Findings) -> None:
    """The lesion must lie on image content: padding around an image is constant zero."""
    empty = float((image.data[0][lesion] == 0).mean())
    if empty == 1.0:
        findings.wrong(path, "lies outside the image content: every voxel below it is 0")
    elif empty > 0.5:
        findings.odd(path, f"{empty:.0%} of the voxels below the mask are 0")


def _check_adc_unit(
    path: Path, adc: Volume, lesion: npt.NDArray[np.bool_] | None, findings: _Findings
) -> None:
    """The median ADC of what is not background must be one of tissue in 1e-6 mm²/s."""
    data = adc.data[0]
    inside = data[data > 0]
    if inside.size == 0:
        findings.wrong(path, "the ADC is nowhere above 0")
        return
    median = float(np.median(inside))
    low, high = ADC_RANGE
    if not low <= median <= high:
        unit = _unit(median)
        findings.wrong(
            path, f"the median ADC is {median:.4g}{unit}; ADC must be in 1e-6 mm2/s, tissue ≈ 1500"
        )
    elif (
        lesion is not None
        and lesion.any()
        and lesion.shape == data.shape
        and not 100 <= float(np.median(data[lesion])) <= high
    ):
        value = float(np.median(data[lesion]))
        findings.odd(
            path, f"the median ADC of the lesion is {value:.4g} in a map whose median is {median:.4g}"
        )


def _unit(median: float) -> str:
    """Which other unit would make the median plausible."""
    low, high = ADC_RANGE
    for name, factor in _OTHER_UNITS.items():
        if low <= median / factor <= high:
            by = 1 / factor
            return f", which looks like {name} (multiply by {by:g})"
    return ""


def _check_overlap(path: Path, t2w: Geometry, dwi: Geometry, findings: _Findings) -> None:
    (low_a, high_a), (low_b, high_b) = _extent(t2w), _extent(dwi)
    shared = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    part = shared / np.minimum(high_a - low_a, high_b - low_b)
    for axis, value in zip("xyz", part, strict=True):
        if value <= 0:
            findings.wrong(path, f"does not overlap with t2w in patient space along {axis}")
            return
    if part.min() < MIN_OVERLAP:
        findings.odd(
            path,
            f"shares only {part.min():.0%} of the field of view with t2w along {'xyz'[int(part.argmin())]}",
        )


def _extent(geometry: Geometry) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lowest and highest (x, y, z), mm LPS, of the box around the voxels."""
    size = np.array(geometry.shape[::-1], dtype=np.float64)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in size], indexing="ij")).reshape(3, -1)
    spacing = np.array(geometry.spacing[::-1])[:, None]
    points = geometry.direction_matrix @ (corners * spacing) + np.array(geometry.origin)[:, None]
    return points.min(axis=1), points.max(axis=1)


def _check_size(
    cohort: Cohort,
    patient: Patient,
    masks: Mapping[str, npt.NDArray[np.bool_] | None],
    volumes: Mapping[str, Volume],
    findings: _Findings,
) -> None:
    """The table's size against the mask's: a rough comparison, because readers measure in one plane."""
    lesion = masks.get("t2w")
    if lesion is None or not lesion.any() or "t2w" not in volumes or patient.lesion_mm is None:
        return
    box = np.array([np.ptp(index) + 1 for index in np.nonzero(lesion)]) * volumes["t2w"].geometry.spacing
    diagonal, widest = float(np.linalg.norm(box)), float(box.max())
    if not 0.5 * widest <= patient.lesion_mm <= 1.5 * diagonal:
        findings.odd(
            cohort.mask(patient.patient, "t2w"),
            f"spans {widest:.0f} mm, but cohort.csv says lesion_mm {patient.lesion_mm:g}",
        )


def _folders_without_row(cohort: Cohort) -> list[Problem]:
    known = {patient.patient for patient in cohort.patients} | set(cohort.lines)
    return [
        Problem("the folder has no row in cohort.csv", file=folder.name)
        for folder in sorted(cohort.path.iterdir())
        if folder.is_dir() and folder.name not in known and not folder.name.startswith(".")
    ]


def _name(file: Path | str) -> str:
    return f"{file.parent.name}/{file.name}" if isinstance(file, Path) else file
