"""`scanside train fusion`, in order: probabilities → every choice judged → one per fold, one for all → masks.

The masks of training patients are decided by the choice of the other folds, those of test patients by the choice of
all training patients: what follows, the signature and the classifier, sees the masks that a new study would get.
"""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.study_parts import FUSION
from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.runtime.images.write import write_mask
from scanside.runtime.manifest import Fusion
from scanside.runtime.study.fusion import decided
from scanside.training.cohort.table import ENDING, Cohort, Patient
from scanside.training.evaluation.bootstrap import mean_interval, stream
from scanside.training.experiment import PARTS, Experiment, write_json
from scanside.training.progress import Progress
from scanside.training.segmentation.fusion_choice import (
    ALONE,
    best,
    best_by_fold,
    candidates,
    dice_of_choices,
)
from scanside.training.segmentation.odds import Witness, open_witness, write_odds
from scanside.training.segmentation.settings import is_small

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
    gain = _gain(cohort, table, by_fold, own.folds)
    document = {
        "fusion": _said(choices[chosen]),
        "folds": {str(fold): _said(choices[index]) for fold, index in by_fold.items()},
        "bundles": {witness.role: witness.bundle.sha256 for witness in (own, other)},
        "dice": gain,
    }
    file = experiment.segmentation(settings.role) / FUSION
    write_json(file, document)
    asked = {"role": settings.role, "other": settings.other, "candidates": len(choices)}
    experiment.record(f"fusion-{settings.role}", asked, started=started, seed=None, **document)
    say(_sentence(settings, choices[chosen], gain["all"]))
    return file


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


def _said(fusion: Fusion | None) -> dict[str, Any] | None:
    return None if fusion is None else fusion.model_dump()


def _gain(
    cohort: Cohort, table: dict[str, Float64], by_fold: dict[int, int], folds: dict[str, int]
) -> dict[str, Any]:
    """Out-of-fold Dice alone and together, and the difference per patient: means with 95 % intervals."""
    alone = {name: float(row[ALONE]) for name, row in table.items()}
    fused = {name: float(row[by_fold[folds[name]]]) for name, row in table.items()}
    small = {one.patient for one in cohort.split("train") if is_small(one)}
    found = {}
    for stratum, names in (("all", list(table)), ("below 20 mm", [name for name in table if name in small])):
        values = {
            "alone": [alone[name] for name in names],
            "together": [fused[name] for name in names],
            "difference": [fused[name] - alone[name] for name in names],
        }
        found[stratum] = {
            "patients": len(names),
            "missed_alone": sum(value == 0 for value in values["alone"]),
            "missed_together": sum(value == 0 for value in values["together"]),
            **{what: _estimate(f"{stratum} {what}", some) for what, some in values.items()},
        }
    return found


def _estimate(name: str, values: list[float]) -> dict[str, Any]:
    if not values:
        return {"value": None, "interval": None}
    interval = mean_interval(np.array(values), REPEATS, stream(0, name))
    return {
        "value": round(float(np.mean(values)), 4),
        "interval": None if interval is None else [round(end, 4) for end in interval],
    }


def _sentence(settings: Settings, fusion: Fusion | None, dice: dict[str, Any]) -> str:
    if fusion is None:
        return f"{settings.role} gains nothing from {settings.other}; its masks stay as they are."
    low, high = dice["difference"]["interval"] or (float("nan"), float("nan"))
    return (
        f"{settings.role} with {settings.other}: out-of-fold Dice {dice['together']['value']:.3f}, alone "
        f"{dice['alone']['value']:.3f}, difference {dice['difference']['value']:.3f} ({low:.3f} to {high:.3f})."
    )
