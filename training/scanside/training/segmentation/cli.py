"""`scanside train segment`, `pretrain` and `fusion`. torch and nnunetv2 are imported when a command runs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scanside.export.precisions import parse_precisions
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError
from scanside.training.cohort.table import Cohort
from scanside.training.experiment import Experiment
from scanside.training.options import Jobs
from scanside.training.segmentation import options as given
from scanside.training.segmentation.progress import say
from scanside.training.segmentation.settings import Settings

PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript")


def segment(
    cohort: given.Cohort,
    out: given.Out,
    role: given.Role,
    channels: given.Channels = None,
    folds: given.Folds = 5,
    pretrained: given.Start = None,
    plans: given.Plans = None,
    configuration: given.Configuration = "3d_fullres",
    trainer: given.Trainer = None,
    optimizer: given.Optimizer = None,
    learning_rate: given.LearningRate = None,
    epochs: given.Epochs = None,
    minutes: given.Minutes = None,
    iterations: given.Iterations = None,
    val_iterations: given.ValIterations = None,
    foreground: given.Foreground = None,
    shift: given.Shift = None,
    bfloat16: given.Bfloat16 = None,
    small_lesions: given.SmallLesions = False,
    seed: given.Seed = 0,
    device: given.Device = "cpu",
    threads: given.Threads = None,
    workers: given.Workers = None,
    precision: given.Precisions = "fp32",
    no_resubstitution: given.NoResubstitution = False,
    no_test: given.NoTest = False,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
) -> None:
    """Train nnU-Net on a cohort's training patients, export it with proof, and write every patient's mask.

    Example: scanside train segment cohort -o experiment --role t2w --folds 3
    """
    require_extra("export", *PACKAGES)
    from scanside.training.segmentation.estimate import estimate_training
    from scanside.training.segmentation.train import train_segmenter

    precisions = parse_precisions(precision)
    settings = given.choose(
        role=role, channels=channels, folds=folds, plans=plans, configuration=configuration, trainer=trainer,
        optimizer=optimizer, learning_rate=learning_rate, epochs=epochs, minutes=minutes, iterations=iterations,
        val_iterations=val_iterations, foreground=foreground, shift=shift, bfloat16=bfloat16,
        small_lesions=small_lesions, pretrained=pretrained, seed=seed, device=device, threads=threads,
        workers=workers,
    )  # fmt: skip
    table, settings = _begin(cohort, settings)
    if dry_run:
        print(estimate_training(table, settings))
        return
    experiment = _experiment(out, table)
    bundle = train_segmenter(
        table, experiment, settings, resume=resume, precisions=precisions,
        resubstitution=not no_resubstitution, test=not no_test,
    )  # fmt: skip
    print(bundle)


def pretrain(
    cohort: given.Cohort,
    out: given.Out,
    role: given.Role,
    channels: given.Channels = None,
    pretrained: given.Start = None,
    plans: given.Plans = None,
    configuration: given.Configuration = "3d_fullres",
    trainer: given.Trainer = None,
    learning_rate: given.LearningRate = None,
    epochs: given.Epochs = None,
    minutes: given.Minutes = None,
    iterations: given.Iterations = None,
    val_iterations: given.ValIterations = None,
    foreground: given.Foreground = None,
    shift: given.Shift = None,
    bfloat16: given.Bfloat16 = None,
    small_lesions: given.SmallLesions = False,
    seed: given.Seed = 0,
    device: given.Device = "cpu",
    threads: given.Threads = None,
    workers: given.Workers = None,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
) -> None:
    """Train one network on all training patients of a cohort, for `train segment --pretrained` on other patients.

    The cohort's test patients are left out and measured, so that what it learned is known.

    Example: scanside train pretrain others -o pretrained --role t2w --minutes 120
    """
    require_extra("export", *PACKAGES)
    from scanside.training.segmentation.estimate import estimate_training
    from scanside.training.segmentation.pretrain import pretrain as pretrain_network

    settings = given.choose(
        role=role, channels=channels, plans=plans, configuration=configuration, trainer=trainer,
        learning_rate=learning_rate, epochs=epochs, minutes=minutes, iterations=iterations,
        val_iterations=val_iterations, foreground=foreground, shift=shift, bfloat16=bfloat16,
        small_lesions=small_lesions, pretrained=pretrained, seed=seed, device=device, threads=threads,
        workers=workers,
    )  # fmt: skip
    table, settings = _begin(cohort, settings)
    if dry_run:
        print(estimate_training(table, settings))
        return
    experiment = _experiment(out, table)
    print(pretrain_network(table, experiment, settings, resume=resume))


def fusion(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT", help="Experiment folder with both segmenters.")
    ],
    role: Annotated[str, typer.Option(metavar="ROLE", help="Whose masks are decided anew.")] = "t2w",
    other: Annotated[str, typer.Option(metavar="ROLE", help="Whose probabilities are added.")] = "dwi",
    jobs: Jobs = 1,
    threads: given.Threads = None,
) -> None:
    """Decide a sequence's masks together with another sequence's probabilities, where that is better out of fold.

    Blur, weight and limit are chosen on masks of networks that have not seen the patient. No network is trained.

    Example: scanside train fusion experiment --role t2w --other dwi
    """
    require_extra("train", "sklearn")
    from scanside.training.cohort.table import ROLES, read_cohort
    from scanside.training.experiment import open_experiment
    from scanside.training.segmentation.fusion import Settings as FusionSettings
    from scanside.training.segmentation.fusion import fuse_masks

    if role == other or not {role, other} <= set(ROLES):
        raise UsageError(
            f"--role {role} and --other {other} are not two sequences; choose from {', '.join(ROLES)}."
        )
    opened = open_experiment(experiment)
    print(fuse_masks(read_cohort(opened.cohort), opened, FusionSettings(role, other, jobs, threads), say))


def _experiment(out: Path, table: Cohort) -> Experiment:
    from scanside.training.cohort.orientation import cohort_orientation
    from scanside.training.experiment import start_experiment

    return start_experiment(
        out,
        table.path,
        synthetic=table.synthetic,
        orientation=cohort_orientation(table),
        phantom_version=table.phantom_version,
    )


def _begin(cohort: Path, settings: Settings) -> tuple[Cohort, Settings]:
    """The cohort, and the settings with the checked checkpoint in place of the path that was given for it."""
    from scanside.training.cohort.sizes import sized
    from scanside.training.cohort.table import read_cohort
    from scanside.training.experiment import cohort_hash
    from scanside.training.segmentation.pretrained import find_pretrained

    table = sized(read_cohort(cohort))
    if settings.pretrained is None:
        return table, settings
    start = find_pretrained(Path(settings.pretrained), settings, cohort_hash(cohort))
    return table, replace(settings, pretrained=str(start.checkpoint), pretrained_sha256=start.sha256)
