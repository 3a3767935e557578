"""A role's networks: dataset, plan, preprocessing and the training of every fold, and what is noted of it."""

import json
import shutil
from pathlib import Path
from typing import Any

from scanside.runtime.errors import CaseError, OutputError, UsageError
from scanside.training.cohort.table import Cohort
from scanside.training.experiment import write_json
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.dataset import write_dataset
from scanside.training.segmentation.folds import FOLDS, splits
from scanside.training.segmentation.process import Steps
from scanside.training.segmentation.progress import Progress
from scanside.training.segmentation.settings import Settings, is_small


def train_networks(
    cohort: Cohort,
    folder: Path,
    settings: Settings,
    steps: Steps,
    *,
    resume: bool,
    folds: dict[str, int] | None = None,
) -> Progress:
    """Dataset, plan, preprocessing and the training of every fold, each step once; ends with model.json.

    Args:
        folder: The role's folder in the experiment.
        steps: Of this folder and these settings.
        folds: Patient → fold; None to train on all training patients.

    Raises:
        UsageError, OutputError, CaseError: As `train_segmenter`.
    """
    _begin(folder, settings, resume)
    write_json(folder / "small_lesions.json", small_lesions(cohort))
    if folds is not None:
        write_json(folder / FOLDS, folds)
    progress = Progress(settings.role, settings.folds, folder / "progress.jsonl")
    if not (folder / "prepared.json").exists():
        with progress.measure("prepare"):
            raw = write_dataset(cohort, cohort.split("train"), settings, folder / "raw")
            shutil.rmtree(folder / "preprocessed", ignore_errors=True)
            if folds is not None:
                write_json(raw / "splits_final.json", splits(folds))  # nnU-Net's planner takes it from there
            steps.run("prepare", progress)
    _train_folds(folder, settings, steps, progress)
    write_json(folder / "model.json", {"model": str(model_folder(folder, settings).resolve())})
    return progress


def small_lesions(cohort: Cohort) -> list[str]:
    """Training patients with a lesion below `SMALL_LESION_MM`."""
    return [p.patient for p in cohort.split("train") if is_small(p)]


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


def _train_folds(folder: Path, settings: Settings, steps: Steps, progress: Progress) -> None:
    todo = [fold for fold in settings.fold_names if not _finished(folder, settings, fold)]
    for index, fold in enumerate(todo):
        progress.start_fold(fold, after=len(todo) - index - 1)
        with progress.measure(f"fold {fold}"):
            steps.run("train", progress, fold)


def _finished(folder: Path, settings: Settings, fold: str) -> bool:
    """nnU-Net writes the final checkpoint last."""
    try:
        return (model_folder(folder, settings) / f"fold_{fold}" / "checkpoint_final.pth").exists()
    except CaseError:
        return False


def model_folder(folder: Path, settings: Settings) -> Path:
    """nnU-Net's results folder of a role.

    Raises:
        CaseError: If there is none yet, or more than one.
    """
    found = sorted(
        (folder / "results" / settings.dataset).glob(f"{settings.trainer}__*__{settings.configuration}")
    )
    if len(found) != 1:
        raise CaseError(f"{folder / 'results'} does not hold exactly one model of nnU-Net.")
    return found[0]


def network_of(model: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """The plan and the size of the network, for the record."""
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


def training_of(model: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """What nnU-Net itself noted of a fold, so that defaults are on record too, and the curves of this run."""
    debug = json.loads((model / f"fold_{settings.fold_names[0]}" / "debug.json").read_text())
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
        "curves": progress.curves,
    }
