"""What a sequence gains where its masks are decided together with another one (`train fusion`): the same patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scanside.training.cohort.table import ROLES, Cohort
from scanside.training.evaluation.bootstrap import mean_interval, stream
from scanside.training.evaluation.cases import Case, measure_all
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.evaluation.records_segmentation import FusedRow
from scanside.training.evaluation.strata import ALL, SIZES, size_of
from scanside.training.experiment import PARTS, Experiment


@dataclass(frozen=True)
class Alone:
    """The masks that segmenters made alone, of an experiment where some were decided anew."""

    experiment: Experiment

    def mask(self, part: str, role: str, patient: str) -> Path:
        """The file of a patient's mask; it exists for roles that were decided anew."""
        return self.experiment.masks_alone(part, role) / f"{patient}.nii.gz"

    def label(self, role: str) -> int:
        """The value of the lesion in it."""
        return self.experiment.label(role)


def fused_rows(
    experiment: Experiment, cohort: Cohort, cases: Sequence[Case], *, repeats: int, seed: int
) -> list[FusedRow]:
    """Dice alone, together, and the difference of each patient; empty where no mask was decided anew."""
    if not any(experiment.masks_alone(part, role).is_dir() for part in PARTS for role in ROLES):
        return []
    together = {(case.role, case.part, case.patient): case for case in cases if not case.lesion_free}
    sizes = {patient.patient: size_of(patient.lesion_mm) for patient in cohort.patients}
    alone, _ = measure_all(Alone(experiment), cohort)
    pairs = [
        (before, together[key])
        for before in alone
        if (key := (before.role, before.part, before.patient)) in together
    ]
    rows = []
    for role in ROLES:
        for part in PARTS:
            for size in (ALL, *SIZES):
                members = [
                    pair
                    for pair in pairs
                    if (pair[0].role, pair[0].part) == (role, part) and size in (ALL, sizes[pair[0].patient])
                ]
                if members:
                    dice = [before.dice for before, _ in members], [after.dice for _, after in members]
                    missed_alone = sum(before.missed for before, _ in members)
                    missed = missed_alone, sum(after.missed for _, after in members)
                    rows.append(fused_row((role, part, size), *dice, missed, repeats=repeats, seed=seed))
    return rows


def fused_row(
    key: tuple[str, str, str],
    alone: Sequence[float],
    together: Sequence[float],
    missed: tuple[int, int],
    *,
    repeats: int,
    seed: int,
) -> FusedRow:
    """Means with their intervals, and the difference of the same patients.

    Args:
        key: Role, part, size.
        alone, together: Dice of each patient, in one order; at least one patient.
        missed: Patients none of whose lesions is found, alone and together.
    """

    def mean(name: str, values: npt.NDArray[np.float64]) -> Estimate:
        return Estimate.of(
            float(values.mean()), mean_interval(values, repeats, stream(seed, "fused", *key, name))
        )

    before, after = np.array(alone), np.array(together)
    role, part, size = key
    return FusedRow(
        role=role,
        part=part,
        size=size,
        patients=len(before),
        missed_alone=missed[0],
        missed_together=missed[1],
        alone=mean("alone", before),
        together=mean("together", after),
        difference=mean("difference", after - before),
    )
