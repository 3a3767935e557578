"""Pre-training: a role's network on all training patients of a cohort, for folds of other cohorts to start from."""

import time
from pathlib import Path
from typing import Any

from scanside.training.cohort.table import Cohort
from scanside.training.experiment import Experiment
from scanside.training.segmentation import masks
from scanside.training.segmentation.networks import model_folder, network_of, train_networks, training_of
from scanside.training.segmentation.process import Steps
from scanside.training.segmentation.progress import minutes, say
from scanside.training.segmentation.settings import Settings, recorded
from scanside.training.segmentation.train import export_networks


def pretrain(cohort: Cohort, experiment: Experiment, settings: Settings, *, resume: bool = False) -> Path:
    """Train on every training patient, and measure on the cohort's test patients, as the scanner would see them.

    nnU-Net's pseudo Dice says nothing here: its fold `all` validates on the patients that it trains on.

    Args:
        settings: With `folds` 1.
        resume: Go on with what is in the folder.

    Returns:
        nnU-Net's results folder, for `train segment --pretrained`.

    Raises:
        UsageError, OutputError, CaseError: As `train_segmenter`.
    """
    folder, started = experiment.segmentation(settings.role), time.time()
    with Steps(folder, settings) as steps:
        progress = train_networks(cohort, folder, settings, steps, resume=resume)
    model, bundle = model_folder(folder, settings), folder / "bundle"
    if not bundle.exists():
        with progress.measure("export"):
            export_networks(cohort, settings, model, bundle, ("fp32",), postprocessing="none")
    left_out, out = cohort.split("test"), experiment.masks("test", settings.role)
    with progress.measure("masks"):
        masks.bundle_masks(cohort, left_out, settings, bundle, out, say)
    measured = masks.dice_of_masks(cohort, left_out, settings.role, out)
    results: dict[str, Any] = {
        "results_folder": str(model),
        "network": network_of(model, settings, progress),
        "training": training_of(model, settings, progress),
        "held_out": measured,
        "seconds_by_step": progress.steps,
        "patients": {"train": len(cohort.split("train")), "test": len(left_out)},
        "resumed": resume,
    }
    experiment.record(
        f"pretrain-{settings.role}", recorded(settings), seed=settings.seed, started=started, **results
    )
    said = (
        f"Dice {measured['dice']:.3f} on {len(left_out)} patients left out" if left_out else "nobody left out"
    )
    say(f"{settings.role}: pre-trained in {minutes(time.time() - started)}; {said}")
    return model
