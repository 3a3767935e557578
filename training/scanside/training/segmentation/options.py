"""The options of `train segment` and `train pretrain`, and what they are where nobody chose: a recipe per machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.errors import BackendError
from scanside.training.segmentation.settings import COMPACT, DEFAULT, Settings

Cohort = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort folder.")]
Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="EXPERIMENT", help="Experiment folder to make or go on with.")
]
Role = Annotated[str, typer.Option(metavar="NAME", help="t2w or dwi: whose masks are learned.")]
Channels = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="Sequences that the network sees, such as dwi,adc; default: the role's."
    ),
]
Folds = Annotated[int, typer.Option(metavar="N", min=2, help="Cross-validation folds.")]
Plans = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="compact (small, for CPUs), default (nnU-Net's), or an nnU-Net planner such as nnUNetPlannerResEncM. "
        "Without it: compact on a CPU, default on a GPU.",
    ),
]
Configuration = Annotated[
    str, typer.Option(metavar="NAME", help="nnU-Net configuration: 3d_fullres, 3d_lowres or 2d.")
]
Trainer = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS",
        help="nnU-Net trainer; default nnUNetTrainer, with compact plans nnUNetTrainerNoMirroring.",
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="sgd or adam, nnU-Net's of each; default: the trainer's; compact: adam."
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="The first one; default: the trainer's 0.01; compact: 0.002, pretrained 0.0005."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="E", min=1, help="Default: the trainer's 1000; compact: 200, pretrained 40; or see --minutes."
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="M",
        help="Train every network for this long instead of a number of epochs; the learning rate ends with the time.",
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(metavar="I", min=1, help="A training epoch's; default: the trainer's 250; compact: 30."),
]
ValIterations = Annotated[
    int | None,
    typer.Option(metavar="I", min=1, help="An epoch's for the pseudo Dice; default: 50; compact: 5."),
]
Foreground = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        min=0,
        max=1,
        help="Part of the patches drawn for a lesion; default 0.33; compact: 0.5.",
    ),
]
Shift = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        min=0,
        help="How far these are moved off the lesion, as a part of the patch; default 0; compact: 0.4.",
    ),
]
Bfloat16 = Annotated[
    bool | None,
    typer.Option(
        "--bfloat16/--float32",
        help="Train in bfloat16 on a CPU, nearly twice as fast; default: where the processor has it.",
    ),
]
SmallLesions = Annotated[
    bool,
    typer.Option("--small-lesions", help="Draw patients with lesions below 20 mm three times as often."),
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--pretrained",
        metavar="PATH",
        help="Start from these weights, with their plans: a checkpoint, an nnU-Net results folder, an experiment of "
        "`train pretrain`, or a network of a bundle.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="S", min=0, help="Of folds, weights, patches, augmentation.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Threads of the network; default one a core.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Processes for augmentation; 0 (the default on a CPU) augments in the training process, reproducibly.",
    ),
]
Precisions = Annotated[
    str, typer.Option(metavar="LIST", help="Precisions of the exported bundle: fp32, or fp32,mixed.")
]
NoResubstitution = Annotated[
    bool,
    typer.Option(
        "--no-resubstitution",
        help="Skip the masks of training patients by networks that saw them; only the report wants them.",
    ),
]
NoTest = Annotated[
    bool,
    typer.Option(
        "--no-test",
        help="Leave the test patients sealed: no mask of them yet; --resume without this option writes them.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be trained and how long it would take here, and leave nothing behind.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted training; finished steps are skipped.")
]


def choose(
    *,
    role: str,
    channels: str | None = None,
    folds: int = 1,
    plans: str | None = None,
    configuration: str = "3d_fullres",
    trainer: str | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    iterations: int | None = None,
    val_iterations: int | None = None,
    foreground: float | None = None,
    shift: float | None = None,
    bfloat16: bool | None = None,
    small_lesions: bool = False,
    pretrained: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    workers: int | None = None,
) -> Settings:
    """Settings of a training: what was chosen, and where nothing was, the recipe for this machine.

    On a CPU that is the compact plan with its own values, in bfloat16 if the processor has it; on a GPU it is
    nnU-Net's own defaults.

    Raises:
        UsageError: If choices do not go together.
        BackendError: If a GPU is asked for and there is none.
    """
    if device == "cuda":
        _require_cuda()
    plans = plans or (COMPACT if device == "cpu" else DEFAULT)
    small = plans == COMPACT
    gentle = pretrained is not None
    length = 40 if gentle else 200
    return Settings(
        role=role,
        channels=tuple(part.strip() for part in channels.split(",")) if channels else (role,),
        folds=folds,
        plans=plans,
        configuration=configuration,
        trainer=trainer or ("nnUNetTrainerNoMirroring" if small else "nnUNetTrainer"),
        optimizer=optimizer or ("adam" if small else None),
        learning_rate=learning_rate or ((0.0005 if gentle else 0.002) if small else None),
        epochs=epochs or (length if small and minutes is None else None),
        iterations=iterations or (30 if small else None),
        val_iterations=val_iterations or (5 if small else None),
        foreground=foreground if foreground is not None else (0.5 if small else None),
        shift=shift if shift is not None else (0.4 if small else None),
        bfloat16=bfloat16 if bfloat16 is not None else device == "cpu" and has_bfloat16(),
        pretrained=str(pretrained) if pretrained else None,
        workers=workers if workers is not None else (0 if device == "cpu" else min(12, os.cpu_count() or 1)),
        minutes=minutes, small_lesions=small_lesions, seed=seed, device=device, threads=threads,
    )  # fmt: skip


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, so that training in it pays.

    PyTorch computes bfloat16 on every processor; without instructions for it, more slowly than float32.
    """
    import torch

    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch finds no CUDA GPU here; train with --device cpu, or install a CUDA build of it."
        )
