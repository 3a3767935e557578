"""How two sequences are weighed: every choice judged on training patients, by networks that have not seen them."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.runtime.images.read import read_image
from scanside.runtime.manifest import Fusion
from scanside.runtime.masks.overlap import dice
from scanside.runtime.stages.crop import bounding_box
from scanside.runtime.study.fusion import fused_mask, log_odds, seen_from, together
from scanside.runtime.study.records import Odds
from scanside.training.cohort.table import Cohort
from scanside.training.segmentation.odds import Witness

BLURS_MM = (0.0, 1.0, 2.0, 4.0)
WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0)
LIMITS = (-12.0, -10.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0)
ALONE = 0
"""Index of the choice to leave the segmenter alone."""


def candidates(role: str, other: str) -> tuple[Fusion | None, ...]:
    """Every choice; the first is None, the segmenter alone."""
    weighed = itertools.product(BLURS_MM, WEIGHTS, LIMITS)
    made = (Fusion(role=role, other=other, blur_mm=b, weight=w, limit=t) for b, w, t in weighed)
    return None, *made


def dice_of_choices(own: Witness, other: Witness, cohort: Cohort, patient: str, part: str) -> Float64:
    """Dice of a patient's mask by every choice of `candidates`.

    Masks are made in the box around whatever any choice calls lesion, which is far smaller than the image.
    """
    seen, theirs = own.odds(part, patient, cohort), other.odds(part, patient, cohort)
    truth = read_image(cohort.mask(patient, own.role)).data[0] > 0
    found = [dice(truth, fused_mask(log_odds(seen.probability) > 0, own.plan) > 0)]
    weighed = [fusion for fusion in candidates(own.role, other.role) if fusion is not None]
    for blur, blurred in itertools.groupby(weighed, lambda fusion: fusion.blur_mm):
        there = seen_from(theirs, seen.geometry, blur)
        for _, several in itertools.groupby(blurred, lambda fusion: fusion.weight):
            lowest, *others = several  # the lowest limit has the most voxels
            box = bounding_box(truth | together(seen, there, lowest))
            cut = Odds(seen.probability[box], seen.geometry)
            for fusion in (lowest, *others):
                mask = fused_mask(together(cut, there[box], fusion), own.plan)
                found.append(dice(truth[box], mask > 0))
    return np.array(found)


def best(table: Mapping[str, Float64], patients: Sequence[str]) -> int:
    """The choice with the highest mean Dice of these patients; of equal ones the first, so that alone wins a tie."""
    return int(np.mean([table[patient] for patient in patients], axis=0).argmax())


def best_by_fold(table: Mapping[str, Float64], folds: Mapping[str, int]) -> dict[int, int]:
    """Fold → the choice that is best for the patients of all other folds, so that no patient is judged by a choice that
    saw it."""
    return {
        fold: best(table, [patient for patient in table if folds[patient] != fold])
        for fold in sorted(set(folds.values()))
    }
