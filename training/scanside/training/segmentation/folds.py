"""Patient-level folds that are alike in diagnosis, lesion size and scanner."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scanside.runtime.errors import InputError, UsageError
from scanside.training.cohort.table import Patient

FOLDS = "folds.json"
"""In a role's folder: patient → fold."""
_SIZES_MM = (20.0, 40.0)
"""Borders between small, medium and large lesions, mm."""


def make_folds(patients: Sequence[Patient], count: int, seed: int) -> dict[str, int]:
    """Deal patients out to folds, stratum by stratum.

    Strata are ordered by diagnosis, then size, then scanner, and the deal goes on where the last stratum ended, so
    that each diagnosis, and each size within it, is spread to within one patient.
    Patients without a lesion are a diagnosis of their own.

    Returns:
        Patient → fold, 0 to `count` - 1.

    Raises:
        UsageError: If there are fewer patients than folds.
    """
    if len(patients) < count:
        raise UsageError(f"{len(patients)} training patients cannot be split into {count} folds.")
    random = np.random.default_rng(seed)
    strata: dict[tuple[str, int, str], list[str]] = {}
    for patient in sorted(patients, key=lambda p: p.patient):
        size = int(np.searchsorted(_SIZES_MM, patient.lesion_mm or 0.0, side="right"))
        strata.setdefault((patient.diagnosis or "", size, patient.scanner), []).append(patient.patient)
    dealt = [name for key in sorted(strata) for name in random.permutation(strata[key]).tolist()]
    order = random.permutation(count)
    return {name: int(order[index % count]) for index, name in enumerate(dealt)}


def splits(folds: dict[str, int]) -> list[dict[str, list[str]]]:
    """The same as nnU-Net's splits_final.json."""
    return [
        {
            "train": sorted(name for name, other in folds.items() if other != fold),
            "val": sorted(name for name, other in folds.items() if other == fold),
        }
        for fold in range(max(folds.values()) + 1)
    ]


def read_folds(folder: Path) -> dict[str, int]:
    """Patient → fold, as `train segment` left them in a role's folder.

    Raises:
        InputError: If they are not there.
    """
    try:
        return {str(name): int(fold) for name, fold in json.loads((folder / FOLDS).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{folder / FOLDS} is not readable; run `scanside train segment` again.") from error
