"""A role of a cohort: dataset, plan, folds, bundle and masks. Read this file first in this package."""

import time
from pathlib import Path
from typing import Any

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import UsageError
from scanside.training.cohort.table import Cohort
from scanside.training.experiment import Experiment
from scanside.training.segmentation import masks
from scanside.training.segmentation.folds import make_folds
from scanside.training.segmentation.fusion import undo as undo_fusion
from scanside.training.segmentation.networks import (
    model_folder,
    network_of,
    small_lesions,
    train_networks,
    training_of,
)
from scanside.training.segmentation.process import Steps
from scanside.training.segmentation.progress import Progress, minutes, say
from scanside.training.segmentation.settings import Settings, recorded


def train_segmenter(
    cohort: Cohort,
    experiment: Experiment,
    settings: Settings,
    *,
    resume: bool = False,
    precisions: tuple[FilePrecision, ...] = ("fp32",),
    resubstitution: bool = True,
    test: bool = True,
) -> Path:
    """Train a role's segmenter, export it, and write every patient's automatic mask.

    Every step leaves a file when it is done, so that with `resume` an interrupted run goes on where it stopped:
    inside a fold at the last checkpoint.

    Args:
        resume: Go on with what is in the folder.
        precisions: Of the exported bundle.
        resubstitution: Also segment the training patients with the final networks, which saw them.
        test: Also segment the test patients; without, they stay sealed until a later run with `resume`.

    Returns:
        The bundle.

    Raises:
        UsageError: If the folder holds a training with other settings, or the cohort is too small.
        OutputError: If the folder holds a training and `resume` is false.
        CaseError: If nnU-Net fails.
    """
    if settings.folds < 2:
        raise UsageError("Out-of-fold masks need at least 2 folds.")
    folder, started = experiment.segmentation(settings.role), time.time()
    patients = cohort.split("train")
    folds = make_folds(patients, settings.folds, settings.seed)
    with Steps(folder, settings) as steps:
        progress = train_networks(cohort, folder, settings, steps, resume=resume, folds=folds)
        model, bundle = model_folder(folder, settings), folder / "bundle"
        merged = _merged(model, settings)
        if not (merged / "postprocessing.json").exists():
            with progress.measure("out-of-fold masks"):
                _left_out_masks(cohort, folder, settings, model, folds, precisions)
            with progress.measure("postprocessing"):
                steps.run("postprocess", progress)
    if not bundle.exists():
        with progress.measure("export"):
            export_networks(cohort, settings, model, bundle, precisions, postprocessing="auto")
    with progress.measure("masks"):
        if undo_fusion(experiment, settings.role):
            say(
                f"{settings.role}: masks are the segmenter's own again; run `scanside train fusion` once more"
            )
        masks.out_of_fold(merged, patients, experiment.masks("cross-validated", settings.role))
        sealed, seen = cohort.split("test") if test else (), patients if resubstitution else ()
        for part, who in (("test", sealed), ("resubstitution", seen)):
            masks.bundle_masks(cohort, who, settings, bundle, experiment.masks(part, settings.role), say)
    results = _results(cohort, settings, model, bundle, progress, sealed=len(sealed), resume=resume)
    step = f"segment-{settings.role}"
    experiment.record(step, recorded(settings), seed=settings.seed, started=started, **results)
    say(f"{settings.role}: done in {minutes(time.time() - started)}; {_sentence(results['cross_validated'])}")
    return bundle


def _merged(model: Path, settings: Settings) -> Path:
    """Where nnU-Net puts the masks of all folds together."""
    return model / f"crossval_results_folds_{'_'.join(map(str, range(settings.folds)))}"


def _results(
    cohort: Cohort,
    settings: Settings,
    model: Path,
    bundle: Path,
    progress: Progress,
    *,
    sealed: int,
    resume: bool,
) -> dict[str, Any]:
    """What the record of the step says was reached.

    Args:
        sealed: Number of test patients that were segmented.
    """
    patients = cohort.split("train")
    return {
        "results_folder": str(model),
        "bundle": str(bundle),
        "network": network_of(model, settings, progress),
        "training": training_of(model, settings, progress),
        "cross_validated": masks.dice_by_size(_merged(model, settings), patients),
        "seconds_by_step": progress.steps,
        "patients": {"train": len(patients), "test": sealed, "small_lesions": len(small_lesions(cohort))},
        "resumed": resume,
    }


def _left_out_masks(
    cohort: Cohort,
    folder: Path,
    settings: Settings,
    model: Path,
    folds: dict[str, int],
    precisions: tuple[FilePrecision, ...],
) -> None:
    """Segment every training patient with the exported network of the fold that left the patient out."""
    draft = folder / "draft"
    if not draft.exists():
        export_networks(cohort, settings, model, draft, precisions, postprocessing="none")
    for fold in range(settings.folds):
        left_out = [patient for patient in cohort.split("train") if folds[patient.patient] == fold]
        out = model / f"fold_{fold}" / "validation"
        masks.bundle_masks(cohort, left_out, settings, draft, out, say, folds=(str(fold),))


def export_networks(
    cohort: Cohort,
    settings: Settings,
    model: Path,
    bundle: Path,
    precisions: tuple[FilePrecision, ...],
    *,
    postprocessing: str,
) -> None:
    """Export a role's networks behind the parity gate.

    Args:
        bundle: To be written.
        postprocessing: `auto` or `none`, as in `ExportOptions`.
    """
    from scanside.export.nnunet import ExportOptions, export_nnunet

    options = ExportOptions(
        folds=settings.fold_names,
        precisions=precisions,
        postprocessing=postprocessing,
        name=f"{cohort.name}-{settings.role}",
        intended_use=f"Research use only.{' Trained on synthetic images.' if cohort.synthetic else ''}",
        licence="Apache-2.0" if cohort.synthetic else "not stated",
    )
    export_nnunet(model, bundle, options, lambda words: say(f"{settings.role}: {words} …"))


def _sentence(results: dict[str, Any]) -> str:
    small = results["dice_lesions_below_20_mm"]
    beside = f", {small:.3f} for lesions below 20 mm" if small is not None else ""
    what = f"postprocessing: {', '.join(results['postprocessing']) or 'none'}"
    return (
        f"out-of-fold Dice {results['dice_postprocessed']:.3f} ({results['dice']:.3f} before {what}{beside})"
    )
