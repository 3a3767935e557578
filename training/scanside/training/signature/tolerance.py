"""How near the lesions of two sequences must lie to be one: as near as readers outlined it in the training patients."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from scanside.runtime.images.read import read_image
from scanside.runtime.study.lesion_agreement import NEAR_MM, choose_regions
from scanside.training.cohort.table import Cohort

LEAST_MM, MOST_MM = 5.0, 15.0
"""Automatic masks are smaller than readers', and slices are 5 to 7 mm apart; beyond a breath it is another place."""
LEVEL, FEWEST = 0.99, 20
"""Quantile of the readers' gaps, and the patients that it takes."""


@dataclass(frozen=True)
class Tolerance:
    """What was learned.

    Attributes:
        near_mm: Nearest voxels of one lesion in two sequences lie within this.
        patients: Training patients with a reader's mask in every sequence; no class was looked at.
        largest_mm: Largest gap among them.
        method: In words.
    """

    near_mm: float
    patients: int
    largest_mm: float | None
    method: str


def learned_tolerance(cohort: Cohort, roles: Collection[str]) -> Tolerance:
    """The 99th percentile of the readers' gaps, from 5 to 15 mm; 10 mm where fewer than 20 patients tell it."""
    gaps = []
    for patient in cohort.split("train"):
        paths = {role: cohort.mask(patient.patient, role) for role in sorted(roles)}
        if len(paths) < 2 or not all(path.exists() for path in paths.values()):
            continue
        masks = {role: read_image(path) for role, path in paths.items()}
        lesions = {role: np.rint(mask.data[0]).astype(np.int16) for role, mask in masks.items()}
        found = choose_regions(lesions, {role: mask.geometry for role, mask in masks.items()}, MOST_MM)
        if found.gap_mm is not None and not found.apart:
            gaps.append(found.gap_mm)
    largest = max(gaps, default=None)
    if len(gaps) < FEWEST:
        words = f"default: fewer than {FEWEST} training patients have a reader's mask in every sequence"
        return Tolerance(NEAR_MM, len(gaps), largest, words)
    near = float(np.clip(np.quantile(gaps, LEVEL), LEAST_MM, MOST_MM))
    words = f"{LEVEL:.0%} of readers' gaps in training patients, {LEAST_MM:g} to {MOST_MM:g} mm"
    return Tolerance(round(near, 1), len(gaps), largest, words)
