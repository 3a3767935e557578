"""`scanside train fusion`, in order: probabilities → every choice judged → one per fold, one for all → masks.

The masks of training patients are decided by the choice of the other folds, those of test patients by the choice of
all training patients: what follows, the signature and the classifier, sees the masks that a new study would get.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from scanside.export.experiment_files import FUSION, FusionDocument
from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.runtime.images.write import write_mask
from scanside.runtime.manifest import Fusion
from scanside.runtime.study.fusion import decided
from scanside.training.cohort.table import ENDING, Cohort, Patient
from scanside.training.evaluation.fused import fused_row
from scanside.training.evaluation.records_segmentation import FusedRow
from scanside.training.evaluation.strata import ALL, SIZES, size_of
from scanside.training.experiment import PARTS, Experiment, write_document
from scanside.training.progress import Progress
from scanside.training.segmentation.fusion_choice import (
    ALONE,
    best,
    best_by_fold,
    candidates,
    dice_of_choices,
)
from scanside.training.segmentation.odds import Witness, open_witness, write_odds

OUT_OF_FOLD = "cross-validated"
REPEATS = 2000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What the user can choose.

    Attributes:
        role: Whose masks are decided.
        other: Whose probabilities are added.
        jobs: Processes that judge choices.
        threads: Of the networks; None for one per core.
    """

    role: str
    other: str
    jobs: int = 1
    threads: int | None = None


def fuse_masks(cohort: Cohort, experiment: Experiment, settings: Settings, say: Say) -> Path:
    """Choose how a role's masks are decided together with another sequence, and decide them.

    Probabilities are kept, so that an interrupted run goes on where it stopped. Where no choice is better than the
    segmenter alone, masks stay as they are, and fusion.json says so.

    Returns:
        fusion.json.

    Raises:
        InputError: If a role has no segmenter or no masks, or no training patient has a lesion.
    """
    started = time.time()
    own, other = (open_witness(experiment, role) for role in (settings.role, settings.other))
    parts = _parts(cohort, experiment, settings.role)
    for witness in (own, other):
        for part, patients in parts.items():
            write_odds(cohort, patients, witness, part, settings.threads, say)
    table = _judge(cohort, own, other, settings.jobs)
    by_fold, chosen = best_by_fold(table, own.folds), best(table, list(table))
    choices = candidates(settings.role, settings.other)
    progress = Progress(f"deciding masks of {settings.role}", sum(map(len, parts.values())))
    for part, patients in parts.items():
        _keep_alone(experiment, part, settings.role)
        for one in patients:
            index = by_fold[own.folds[one.patient]] if part == OUT_OF_FOLD else chosen
            _decide(cohort, experiment, own, other, choices[index], part, one.patient)
            progress()
    document = FusionRecord(
        fusion=choices[chosen],
        bundles={witness.role: witness.bundle.sha256 for witness in (own, other)},
        folds={fold: choices[index] for fold, index in by_fold.items()},
        dice=tuple(_gain(cohort, table, by_fold, own)),
    )
    file = experiment.segmentation(settings.role) / FUSION
    write_document(file, document)
    asked = {"role": settings.role, "other": settings.other, "candidates": len(choices)}
    chose = document.model_dump(mode="json", exclude={"schema_"})
    experiment.record(f"fusion-{settings.role}", asked, started=started, seed=None, **chose)
    say(_sentence(settings, document))
    return file


class FusionRecord(FusionDocument):
    """How a role's masks are decided together with another sequence, and what training patients gain, `fusion.json`."""

    folds: dict[int, Fusion | None]
    """Fold → what was chosen on the patients of the others; null where the segmenter alone is as good."""
    dice: tuple[FusedRow, ...]
    """Out of fold: all training patients first, then by the lesion's size."""


def undo(experiment: Experiment, role: str) -> bool:
    """Make the masks of a role its segmenter's own again, before they are written anew; whether there was a fusion."""
    (experiment.segmentation(role) / FUSION).unlink(missing_ok=True)
    found = [part for part in PARTS if experiment.masks_alone(part, role).exists()]
    for part in found:
        shutil.rmtree(experiment.masks(part, role), ignore_errors=True)
        experiment.masks_alone(part, role).rename(experiment.masks(part, role))
    return bool(found)


def _parts(cohort: Cohort, experiment: Experiment, role: str) -> dict[str, list[Patient]]:
    """Part → its patients who have a mask, in the order in which they are asked."""
    found = {}
    for part in PARTS:
        patients = cohort.split("test" if part == "test" else "train")
        folders = experiment.masks_alone(part, role), experiment.masks(part, role)
        known = [one for one in patients if any((at / f"{one.patient}{ENDING}").exists() for at in folders)]
        if known:
            found[part] = known
    if OUT_OF_FOLD not in found:
        raise InputError(
            f"{experiment.path} holds no out-of-fold masks of {role}; run `scanside train segment --role {role}` first."
        )
    return found


def _judge(cohort: Cohort, own: Witness, other: Witness, jobs: int) -> dict[str, Float64]:
    """Training patient with an outlined lesion → Dice of every choice."""
    names = [
        one.patient
        for one in cohort.split("train")
        if not one.lesion_free
        and cohort.mask(one.patient, own.role).exists()
        and all(witness.file(OUT_OF_FOLD, one.patient).exists() for witness in (own, other))
    ]
    if not names:
        raise InputError(
            f"No training patient of {cohort.name} has an outlined lesion on {own.role}; outline some."
        )
    progress, table = Progress(f"judging choices for {own.role}", len(names)), {}
    if jobs == 1:
        for name in names:
            table[name] = dice_of_choices(own, other, cohort, name, OUT_OF_FOLD)
            progress()
        return table
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        asked = [pool.submit(dice_of_choices, own, other, cohort, name, OUT_OF_FOLD) for name in names]
        for name, future in zip(names, asked, strict=True):
            table[name] = future.result()
            progress()
    return table


def _keep_alone(experiment: Experiment, part: str, role: str) -> None:
    """Set the segmenter's own masks aside, whole, before the first one is decided anew."""
    alone = experiment.masks_alone(part, role)
    if not alone.exists():
        alone.parent.mkdir(parents=True, exist_ok=True)
        experiment.masks(part, role).rename(alone)
    experiment.masks(part, role).mkdir(parents=True, exist_ok=True)


def _decide(
    cohort: Cohort,
    experiment: Experiment,
    own: Witness,
    other: Witness,
    fusion: Fusion | None,
    part: str,
    patient: str,
) -> None:
    out = experiment.mask(part, own.role, patient)
    if fusion is None:
        shutil.copyfile(experiment.masks_alone(part, own.role) / out.name, out)
        return
    seen = own.odds(part, patient, cohort)
    write_mask(decided(seen, other.odds(part, patient, cohort), fusion, own.plan), seen.geometry, out)


def _gain(
    cohort: Cohort, table: dict[str, Float64], by_fold: dict[int, int], own: Witness
) -> Iterator[FusedRow]:
    """Out-of-fold Dice alone and together, of all training patients and by size."""
    size = {one.patient: size_of(one.lesion_mm) for one in cohort.split("train")}
    for stratum in (ALL, *SIZES):
        names = [name for name in table if stratum in (ALL, size[name])]
        if names:
            alone = [float(table[name][ALONE]) for name in names]
            together = [float(table[name][by_fold[own.folds[name]]]) for name in names]
            missed = alone.count(0), together.count(0)
            key = own.role, OUT_OF_FOLD, stratum
            yield fused_row(key, alone, together, missed, repeats=REPEATS, seed=0)


def _sentence(settings: Settings, found: FusionRecord) -> str:
    if found.fusion is None:
        return f"{settings.role} gains nothing from {settings.other}; its masks stay as they are."
    gain = found.dice[0]
    low, high = gain.difference.interval or (math.nan, math.nan)
    return (
        f"{settings.role} with {settings.other}: out-of-fold Dice {gain.together.value:.3f}, alone "
        f"{gain.alone.value:.3f}, difference {gain.difference.value:.3f} ({low:.3f} to {high:.3f})."
    )
