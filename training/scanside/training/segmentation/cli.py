"""`scanside train segment`. torch and nnunetv2 are imported only when the command runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from scanside.export.precisions import parse_precisions
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import BackendError

PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript")


def segment(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort folder.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="EXPERIMENT", help="Experiment folder to make or go on with."),
    ],
    role: Annotated[str, typer.Option(metavar="NAME", help="t2w or dwi: whose masks are learned.")],
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Sequences that the network sees, such as dwi,adc; default: the role's."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(metavar="N", min=2, help="Cross-validation folds.")] = 5,
    plans: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="compact (small, for CPUs), default (nnU-Net's), or an nnU-Net planner such as nnUNetPlannerResEncM.",
        ),
    ] = "compact",
    configuration: Annotated[
        str, typer.Option(metavar="NAME", help="nnU-Net configuration: 3d_fullres, 3d_lowres or 2d.")
    ] = "3d_fullres",
    trainer: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="nnU-Net trainer; default nnUNetTrainer, with compact plans nnUNetTrainerNoMirroring.",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="sgd or adam, nnU-Net's of each; default: the trainer's; compact: adam."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="X", help="The first one; default: the trainer's 0.01; compact: 0.002."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="E", min=1, help="Default: the trainer's 1000; compact: 200.")
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(metavar="I", min=1, help="A training epoch's; default: the trainer's 250; compact: 30."),
    ] = None,
    val_iterations: Annotated[
        int | None,
        typer.Option(metavar="I", min=1, help="An epoch's for the pseudo Dice; default: 50; compact: 5."),
    ] = None,
    foreground: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Part of the patches drawn for a lesion; default 0.33; compact: 0.5.",
        ),
    ] = None,
    shift: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            help="How far these are moved off the lesion, as a part of the patch; default 0; compact: 0.4.",
        ),
    ] = None,
    bfloat16: Annotated[
        bool,
        typer.Option("--bfloat16", help="Train in bfloat16, on CPUs that have it nearly twice as fast."),
    ] = False,
    small_lesions: Annotated[
        bool,
        typer.Option("--small-lesions", help="Draw patients with lesions below 20 mm three times as often."),
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="Of folds, weights, patches, augmentation.")
    ] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of the network; default one a core.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Processes for augmentation; 0 (the default on a CPU) augments in the training process, reproducibly.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="LIST", help="Precisions of the exported bundle: fp32, or fp32,mixed.")
    ] = "fp32",
    no_resubstitution: Annotated[
        bool,
        typer.Option(
            "--no-resubstitution",
            help="Skip the masks of training patients by networks that saw them; only the report wants them.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training; finished steps are skipped.")
    ] = False,
) -> None:
    """Train nnU-Net on a cohort's training patients, export it with proof, and write every patient's mask.

    Example: scanside train segment cohort -o experiment --role t2w --folds 3
    """
    require_extra("export", *PACKAGES)
    from scanside.training.cohort.orientation import cohort_orientation
    from scanside.training.cohort.table import read_cohort
    from scanside.training.experiment import start_experiment
    from scanside.training.segmentation.settings import COMPACT, Settings
    from scanside.training.segmentation.train import train_segmenter

    precisions = parse_precisions(precision)
    small = plans == COMPACT
    settings = Settings(
        role=role,
        channels=tuple(part.strip() for part in channels.split(",")) if channels else (role,),
        folds=folds,
        plans=plans,
        configuration=configuration,
        trainer=trainer or ("nnUNetTrainerNoMirroring" if small else "nnUNetTrainer"),
        optimizer=optimizer or ("adam" if small else None),
        learning_rate=learning_rate or (0.002 if small else None),
        epochs=epochs or (200 if small else None),
        iterations=iterations or (30 if small else None),
        val_iterations=val_iterations or (5 if small else None),
        foreground=foreground if foreground is not None else (0.5 if small else None),
        shift=shift if shift is not None else (0.4 if small else None),
        bfloat16=bfloat16,
        small_lesions=small_lesions,
        seed=seed,
        device=device,
        threads=threads,
        workers=workers if workers is not None else (0 if device == "cpu" else min(12, os.cpu_count() or 1)),
    )
    if device == "cuda":
        _require_cuda()
    table = read_cohort(cohort)
    how = cohort_orientation(table)
    experiment = start_experiment(
        out, cohort, synthetic=table.synthetic, orientation=how, phantom_version=table.phantom_version
    )
    print(
        train_segmenter(
            table,
            experiment,
            settings,
            resume=resume,
            precisions=precisions,
            resubstitution=not no_resubstitution,
        )
    )


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch finds no CUDA GPU here; train with --device cpu, or install a CUDA build of it."
        )
