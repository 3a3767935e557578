"""Patient-level folds that are alike in diagnosis, lesion size and scanner."""

from collections.abc import Sequence

import numpy as np

from scanside.runtime.errors import UsageError
from scanside.training.cohort.table import Patient

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
