"""`--dry-run`: what would be trained, and how long it would take on this machine, from measured iterations."""

import tempfile
from pathlib import Path
from typing import Any

from scanside.training.cohort.table import Cohort
from scanside.training.experiment import write_json
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.dataset import write_dataset
from scanside.training.segmentation.folds import make_folds, splits
from scanside.training.segmentation.process import run_step
from scanside.training.segmentation.progress import minutes, say
from scanside.training.segmentation.settings import Settings


def estimate_training(cohort: Cohort, settings: Settings) -> str:
    """Plan the training, measure a few of its iterations on noise, and say in words what it would be.

    Everything happens in a temporary folder. The images are read once, for nnU-Net's fingerprint.

    Raises:
        InputError, UsageError, CaseError: As the training itself.
    """
    patients = cohort.split("train")
    told: dict[str, Any] = {}

    def listen(message: dict[str, Any]) -> None:
        if message["event"] == "say":
            say(f"{settings.role}: {message['text']} …")
        else:
            told.update(message)

    with tempfile.TemporaryDirectory(prefix="scanside-estimate-") as name:
        folder = Path(name)
        recipe.save(settings, folder / "settings.json")
        raw = write_dataset(cohort, patients, settings, folder / "raw")
        if settings.folds > 1:
            write_json(raw / "splits_final.json", splits(make_folds(patients, settings.folds, settings.seed)))
        run_step(folder, settings, "estimate", listen)
    return in_words(settings, len(patients), told)


def in_words(settings: Settings, patients: int, told: dict[str, Any]) -> str:
    """What the measurement means.

    Args:
        told: The child's message: `parameters`, `patch`, `batch`, `spacing` (Z, Y, X; mm), `epochs`, `iterations`,
            `val_iterations` and the seconds of an `iteration` and of a `val_iteration`, each with its augmentation.
    """
    each = patients - patients // settings.folds if settings.folds > 1 else patients
    networks = f"{settings.folds} networks on about {each} of" if settings.folds > 1 else "one network on all"
    epoch = told["iterations"] * told["iteration"] + told["val_iterations"] * told["val_iteration"]
    if settings.minutes is None:
        seconds, length = epoch * told["epochs"], f"{told['epochs']} epochs"
    else:
        seconds = 60 * settings.minutes
        length = f"{minutes(seconds)}, about {max(1, round(seconds / epoch))} epochs"
    start = f"from the weights of {settings.pretrained}" if settings.pretrained else "from random weights"
    arithmetic = (
        "bfloat16"
        if settings.bfloat16
        else "nnU-Net's mixed precision"
        if settings.device == "cuda"
        else "float32"
    )
    patch, spacing = (" × ".join(f"{value:g}" for value in told[what]) for what in ("patch", "spacing"))
    return "\n".join(
        (
            f"{settings.role}: {networks} {patients} training patients, {told['parameters']:,} weights, {start}.",
            f"Patches of {patch} voxels at {spacing} mm, {told['batch']} at a time; {settings.trainer}, {arithmetic}, "
            f"on {settings.device}.",
            f"{length} of {told['iterations']} iterations; an iteration took {told['iteration']:.2f} s here just now.",
            f"About {minutes(seconds)} for each network, {minutes(seconds * settings.folds)} in all, without "
            "preprocessing and masks.",
        )
    )
