"""What a sequence gains where its masks are decided together with another one (`train fusion`): the same patients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
                    rows.append(_row(members, (role, part, size), repeats, seed))
    return rows


def _row(
    members: Sequence[tuple[Case, Case]], key: tuple[str, str, str], repeats: int, seed: int
) -> FusedRow:
    def mean(name: str, of: Callable[[Case, Case], float]) -> Estimate:
        values = np.array([of(before, after) for before, after in members])
        return Estimate.of(
            float(values.mean()), mean_interval(values, repeats, stream(seed, "fused", *key, name))
        )

    role, part, size = key
    return FusedRow(
        role=role,
        part=part,
        size=size,
        patients=len(members),
        missed_alone=sum(before.missed for before, _ in members),
        missed_together=sum(after.missed for _, after in members),
        alone=mean("alone", lambda before, _: before.dice),
        together=mean("together", lambda _, after: after.dice),
        difference=mean("difference", lambda before, after: after.dice - before.dice),
    )
