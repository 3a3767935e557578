"""A role of a cohort: dataset, plan, folds, bundle and masks. Read this file first in this package."""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import CaseError, OutputError, UsageError
from scanside.training.cohort.table import Cohort
from scanside.training.experiment import Experiment, write_json
from scanside.training.segmentation import masks
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.dataset import write_dataset
from scanside.training.segmentation.folds import make_folds, splits
from scanside.training.segmentation.process import run_step
from scanside.training.segmentation.progress import Progress, minutes, say
from scanside.training.segmentation.settings import SMALL_LESION_MM, Settings


def train_segmenter(
    cohort: Cohort,
    experiment: Experiment,
    settings: Settings,
    *,
    resume: bool = False,
    precisions: tuple[FilePrecision, ...] = ("fp32",),
    resubstitution: bool = True,
) -> Path:
    """Train a role's segmenter, export it, and write every patient's automatic mask.

    Every step leaves a file when it is done, so that with `resume` an interrupted run goes on where it stopped:
    inside a fold at the last checkpoint.

    Args:
        resume: Go on with what is in the folder.
        precisions: Of the exported bundle.
        resubstitution: Also segment the training patients with the final networks, which saw them.

    Returns:
        The bundle.

    Raises:
        UsageError: If the folder holds a training with other settings, or the cohort is too small.
        OutputError: If the folder holds a training and `resume` is false.
        CaseError: If nnU-Net fails.
    """
    folder, started = experiment.segmentation(settings.role), time.time()
    patients = cohort.split("train")
    folds = make_folds(patients, settings.folds, settings.seed)
    _begin(folder, settings, resume)
    write_json(folder / "folds.json", folds)
    small = [p.patient for p in patients if p.lesion_mm < SMALL_LESION_MM]
    write_json(folder / "small_lesions.json", small)
    progress = Progress(settings.role, settings.folds, folder / "progress.jsonl")
    if not (folder / "prepared.json").exists():
        with progress.measure("prepare"):
            raw = write_dataset(cohort, patients, settings, folder / "raw")
            shutil.rmtree(folder / "preprocessed", ignore_errors=True)
            write_json(raw / "splits_final.json", splits(folds))  # nnU-Net's planner takes it from there
            run_step(folder, settings, "prepare", progress)
    _train_folds(folder, settings, progress)
    model = _model_folder(folder, settings)
    write_json(folder / "model.json", {"model": str(model.resolve())})
    merged = model / f"crossval_results_folds_{'_'.join(map(str, range(settings.folds)))}"
    draft, bundle = folder / "draft", folder / "bundle"
    if not (merged / "postprocessing.json").exists():
        with progress.measure("out-of-fold masks"):
            if not draft.exists():
                _export(cohort, settings, model, draft, precisions, postprocessing="none")
            for fold in range(settings.folds):
                left_out = [patient for patient in patients if folds[patient.patient] == fold]
                out = model / f"fold_{fold}" / "validation"
                masks.bundle_masks(cohort, left_out, settings, draft, out, say, folds=(str(fold),))
        with progress.measure("postprocessing"):
            run_step(folder, settings, "postprocess", progress)
    if not bundle.exists():
        with progress.measure("export"):
            _export(cohort, settings, model, bundle, precisions, postprocessing="auto")
    with progress.measure("masks"):
        masks.out_of_fold(merged, patients, experiment.masks("cross-validated", settings.role))
        seen = patients if resubstitution else ()
        for part, who in (("test", cohort.split("test")), ("resubstitution", seen)):
            masks.bundle_masks(cohort, who, settings, bundle, experiment.masks(part, settings.role), say)
    results: dict[str, Any] = {
        "results_folder": str(model),
        "bundle": str(bundle),
        "network": _network(model, settings, progress),
        "training": _training(model, settings, progress),
        "cross_validated": masks.dice_by_size(merged, patients),
        "seconds_by_step": progress.steps,
        "patients": {"train": len(patients), "test": len(cohort.split("test")), "small_lesions": len(small)},
        "resumed": resume,
    }
    experiment.record(
        f"segment-{settings.role}", asdict(settings), seed=settings.seed, started=started, **results
    )
    say(f"{settings.role}: done in {minutes(time.time() - started)}; {_sentence(results['cross_validated'])}")
    return bundle


def _begin(folder: Path, settings: Settings, resume: bool) -> None:
    file = folder / "settings.json"
    if file.exists():
        if not resume:
            raise OutputError(
                f"{folder} holds a training already; add --resume to go on with it, or choose another experiment."
            )
        difference = recipe.difference(settings, recipe.load(file))
        if difference:
            raise UsageError(
                f"{folder} cannot be resumed with other settings ({difference}); choose another folder."
            )
    recipe.save(settings, file)


def _train_folds(folder: Path, settings: Settings, progress: Progress) -> None:
    todo = [fold for fold in range(settings.folds) if not _finished(folder, settings, fold)]
    for index, fold in enumerate(todo):
        progress.start_fold(fold, after=len(todo) - index - 1)
        with progress.measure(f"fold {fold}"):
            run_step(folder, settings, "train", progress, fold)


def _finished(folder: Path, settings: Settings, fold: int) -> bool:
    """nnU-Net writes the final checkpoint last."""
    try:
        return (_model_folder(folder, settings) / f"fold_{fold}" / "checkpoint_final.pth").exists()
    except CaseError:
        return False


def _model_folder(folder: Path, settings: Settings) -> Path:
    found = sorted(
        (folder / "results" / settings.dataset).glob(f"{settings.trainer}__*__{settings.configuration}")
    )
    if len(found) != 1:
        raise CaseError(f"{folder / 'results'} does not hold exactly one model of nnU-Net.")
    return found[0]


def _export(
    cohort: Cohort,
    settings: Settings,
    model: Path,
    bundle: Path,
    precisions: tuple[FilePrecision, ...],
    *,
    postprocessing: str,
) -> None:
    from scanside.export.nnunet import ExportOptions, export_nnunet

    options = ExportOptions(
        folds=tuple(map(str, range(settings.folds))),
        precisions=precisions,
        postprocessing=postprocessing,
        name=f"{cohort.name}-{settings.role}",
        intended_use=f"Research use only.{' Trained on synthetic images.' if cohort.synthetic else ''}",
        licence="Apache-2.0" if cohort.synthetic else "not stated",
    )
    export_nnunet(model, bundle, options, lambda words: say(f"{settings.role}: {words} …"))


def _network(model: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    plans = json.loads((model / "plans.json").read_text())
    configuration = plans["configurations"][settings.configuration]
    kept = ("spacing", "patch_size", "batch_size", "normalization_schemes")
    architecture = configuration["architecture"]["arch_kwargs"]
    return {
        "plans": plans["plans_name"],
        "planner": plans["experiment_planner_used"],
        **{name: configuration[name] for name in kept},
        **{name: architecture[name] for name in ("features_per_stage", "kernel_sizes", "strides")},
        "parameters": progress.parameters,
    }


def _training(model: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """What nnU-Net itself noted of a fold, so that defaults are on record too, and the curves of this run."""
    debug = json.loads((model / "fold_0" / "debug.json").read_text())
    kept = (
        "num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "initial_lr", "weight_decay",
        "oversample_foreground_percent", "probabilistic_oversampling", "inference_allowed_mirroring_axes",
    )  # fmt: skip
    return {
        **{name: debug.get(name) for name in kept},
        "small_lesion_factor": recipe.SMALL_LESION_FACTOR if settings.small_lesions else 1,
        "mean_epoch_seconds": round(sum(progress.seconds) / len(progress.seconds), 2)
        if progress.seconds
        else None,
        "curves": {str(fold): points for fold, points in progress.curves.items()},
    }


def _sentence(results: dict[str, Any]) -> str:
    small = results["dice_lesions_below_20_mm"]
    beside = f", {small:.3f} for lesions below 20 mm" if small is not None else ""
    what = f"postprocessing: {', '.join(results['postprocessing']) or 'none'}"
    return (
        f"out-of-fold Dice {results['dice_postprocessed']:.3f} ({results['dice']:.3f} before {what}{beside})"
    )
