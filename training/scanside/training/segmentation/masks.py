"""Automatic masks of every patient, made by the exported networks: the program that will run at the scanner.

nnU-Net's own validation gives the same masks (the export proved it) and takes several times as long on a CPU
(docs/adr/0008).
"""

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.read import read_image
from scanside.runtime.images.write import write_mask
from scanside.runtime.masks.overlap import overlap
from scanside.runtime.options import Options
from scanside.training.cohort.table import ENDING, Cohort, Patient
from scanside.training.segmentation.patients import Say, segment_each
from scanside.training.segmentation.settings import Settings, is_small


def out_of_fold(merged: Path, patients: Iterable[Patient], out: Path) -> None:
    """Copy the out-of-fold masks that nnU-Net has postprocessed, as the bundle's postprocessing does too.

    Args:
        merged: `crossval_results_folds_…` of the results folder.

    Raises:
        CaseError: If a patient has none.
    """
    for patient in patients:
        source = merged / "postprocessed" / f"{patient.patient}{ENDING}"
        if not source.is_file():
            raise CaseError(
                f"nnU-Net left no postprocessed out-of-fold mask of patient {patient.patient} in {merged}."
            )
        with atomic_write(out / source.name) as temporary:
            shutil.copyfile(source, temporary)


def bundle_masks(
    cohort: Cohort,
    patients: Sequence[Patient],
    settings: Settings,
    bundle: Path,
    out: Path,
    say: Say,
    *,
    folds: tuple[str, ...] | None = None,
) -> None:
    """Segment patients with the bundle as a scanner would, skipping those that have a mask already.

    Args:
        out: Folder for `<patient>.nii.gz`.
        say: Told every ten patients how long it will take yet.
        folds: Only these folds' networks; None for all.
    """
    todo = [patient for patient in patients if not (out / f"{patient.patient}{ENDING}").exists()]
    options, words = Options(threads=settings.threads, folds=folds), f"masks of {settings.role}"
    for patient, volume, found in segment_each(cohort, todo, open_bundle(bundle), options, say, words):
        write_mask(found.mask, volume.geometry, out / f"{patient}{ENDING}")


def dice_by_size(merged: Path, patients: Sequence[Patient]) -> dict[str, Any]:
    """Mean out-of-fold Dice before postprocessing, of all lesions and by size; and what postprocessing changed."""
    summary = json.loads((merged / "summary.json").read_text())
    found = {
        Path(case["prediction_file"]).name.removesuffix(ENDING): float(case["metrics"]["1"]["Dice"])
        for case in summary["metric_per_case"]
    }
    healthy = {p.patient for p in patients if p.lesion_free}
    dice = {name: value for name, value in found.items() if name not in healthy}
    small = {p.patient for p in patients if is_small(p)}
    decided = json.loads((merged / "postprocessing.json").read_text())
    return {
        "dice": _mean(dice.values()),
        "dice_lesions_below_20_mm": _mean(value for name, value in dice.items() if name in small),
        "dice_lesions_from_20_mm": _mean(value for name, value in dice.items() if name not in small),
        "postprocessing": decided["postprocessing_fns"],
        "dice_postprocessed": round(float(decided["postprocessed"]["foreground_mean"]["Dice"]), 4),
    }


def dice_of_masks(cohort: Cohort, patients: Iterable[Patient], role: str, folder: Path) -> dict[str, Any]:
    """Mean Dice of the masks in a folder against the cohort's, of all lesions and by size.

    Args:
        folder: Holds `<patient>.nii.gz`.
    """
    dice: dict[str, float] = {}
    small = set()
    for patient in (patient for patient in patients if not patient.lesion_free):
        found, true = (
            read_image(file)
            for file in (folder / f"{patient.patient}{ENDING}", cohort.mask(patient.patient, role))
        )
        measured = overlap(true.data[0] > 0, found.data[0] > 0, true.geometry.spacing)
        dice[patient.patient] = measured.dice
        if is_small(patient):
            small.add(patient.patient)
    return {
        "dice": _mean(dice.values()),
        "dice_lesions_below_20_mm": _mean(value for name, value in dice.items() if name in small),
        "dice_lesions_from_20_mm": _mean(value for name, value in dice.items() if name not in small),
        "by_patient": {name: round(value, 4) for name, value in dice.items()},
    }


def _mean(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return round(sum(finite) / len(finite), 4) if finite else None
