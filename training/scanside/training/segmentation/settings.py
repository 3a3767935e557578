"""Everything that can be chosen about training a segmenter, as one record that travels to the child processes."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from scanside.runtime.errors import InputError, UsageError
from scanside.training.cohort.table import ROLES, Patient

SMALL_LESION_MM = 20.0
"""Longest diameter below which a lesion is called small, mm."""
SMALL_LESION_FACTOR = 3
"""How many times as often a patient with a small lesion is drawn with `--small-lesions`."""

COMPACT = "compact"
DEFAULT = "default"
ALL = "all"
"""nnU-Net's name for a fold that trains on every patient."""
_FREE = ("device", "threads", "workers")
"""Settings that a resumed run may change: where it runs, not what it learns."""


def is_small(patient: Patient) -> bool:
    """Whether the patient's lesion is known to be small."""
    return patient.lesion_mm is not None and patient.lesion_mm < SMALL_LESION_MM


@dataclass(frozen=True)
class Settings:
    """How one role's segmenter is trained.

    Attributes:
        role: `t2w` or `dwi`: whose masks are learned.
        channels: Sequences that the network sees, all on the role's grid; the first one is the role's own.
        folds: Number of cross-validation folds; 1 is one network for all patients, which is pre-training.
        plans: `compact`, `default` (nnU-Net's) or the class name of an nnU-Net planner.
        configuration: `3d_fullres`, `3d_lowres` or `2d`.
        trainer: Class name of an nnU-Net trainer.
        optimizer: `adam` (nnU-Net's AdamW), `sgd` (nnU-Net's default), or None for what the trainer says.
        learning_rate: The first one; None keeps the trainer's.
        epochs, iterations, val_iterations: None keeps what the trainer says.
        foreground: Part of a batch that is centred on the lesion; None keeps the trainer's.
        minutes: Train each fold for this long instead of a number of epochs; the learning rate ends with the time.
        pretrained: Checkpoint whose weights a fold starts from; None starts from random ones.
        pretrained_sha256: Of that file.
        shift: How far a patch drawn for a lesion is moved at random, as a part of the patch; None keeps the lesion in
            its middle, as nnU-Net does.
        bfloat16: Compute forward and backward passes in bfloat16 on a CPU; weights, losses and the exported network
            stay float32.
        small_lesions: Draw patients with lesions below 20 mm three times as often.
        seed: Of folds, initial weights, patches and augmentation.
        device: `cpu` or `cuda`.
        threads: Of the network; None for one a core.
        workers: Processes for augmentation; 0 augments in the training process, reproducibly.
    """

    role: str
    channels: tuple[str, ...]
    folds: int = 5
    plans: str = COMPACT
    configuration: str = "3d_fullres"
    trainer: str = "nnUNetTrainer"
    optimizer: str | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    iterations: int | None = None
    val_iterations: int | None = None
    minutes: float | None = None
    pretrained: str | None = None
    pretrained_sha256: str | None = None
    foreground: float | None = None
    shift: float | None = None
    bfloat16: bool = False
    small_lesions: bool = False
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"There is no role '{self.role}'; choose from {', '.join(ROLES)}.")
        allowed = ("t2w",) if self.role == "t2w" else ("dwi", "b0", "adc")
        if not self.channels or set(self.channels) - set(allowed) or self.channels[0] != self.role:
            raise UsageError(
                f"The channels {','.join(self.channels)} do not fit the role {self.role}: it sees {self.role} "
                f"first, then any of {', '.join(allowed[1:]) or 'nothing else'}."
            )
        if len(set(self.channels)) != len(self.channels):
            raise UsageError(f"The channels {','.join(self.channels)} name a sequence twice.")
        if self.folds < 1:
            raise UsageError("There is no training of fewer than one fold.")
        if self.minutes is not None and (self.minutes <= 0 or self.epochs is not None):
            raise UsageError(
                "A training ends after --epochs or after --minutes, more than none of them; choose one."
            )
        if self.device not in ("cpu", "cuda"):
            raise UsageError(f"There is no device '{self.device}' to train on; choose cpu or cuda.")
        if self.bfloat16 and self.device != "cpu":
            raise UsageError("--bfloat16 is for a CPU; on a GPU nnU-Net mixes its precisions itself.")
        if self.optimizer not in (None, "adam", "sgd"):
            raise UsageError(f"There is no optimizer '{self.optimizer}'; choose adam or sgd.")
        if self.foreground is not None and not 0 <= self.foreground <= 1:
            raise UsageError("--foreground is a part of the batch, between 0 and 1.")
        if self.shift is not None and not 0 <= self.shift < 0.5:
            raise UsageError(
                "--shift is a part of the patch, from 0 to below 0.5, so that the lesion stays inside."
            )

    @property
    def dataset(self) -> str:
        """Name of the nnU-Net dataset."""
        return f"Dataset{ROLES.index(self.role) + 1:03d}_{self.role}"

    @property
    def dataset_id(self) -> int:
        """Number of the nnU-Net dataset."""
        return ROLES.index(self.role) + 1

    @property
    def fold_names(self) -> tuple[str, ...]:
        """nnU-Net's names of the folds: 0, 1 and so on, or `all`."""
        return tuple(map(str, range(self.folds))) if self.folds > 1 else (ALL,)

    @property
    def plans_name(self) -> str | None:
        """Identifier under which nnU-Net keeps the plans; None leaves it to the planner."""
        return "scansideCompactPlans" if self.plans == COMPACT else None


def save(settings: Settings, path: Path) -> None:
    """Write settings as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(settings), indent=1) + "\n")


def recorded(settings: Settings) -> dict[str, Any]:
    """Settings as the record of an experiment holds them: a pre-trained network by name and hash, not by where it lies.

    Its name is `<trainer>__<plans>__<configuration>/fold_<fold>/<checkpoint>`, as nnU-Net lays a results folder out, or
    `segmenters/<role>/<fold>.onnx`, as a bundle does.
    """
    known = asdict(settings)
    if settings.pretrained is not None:
        known["pretrained"] = "/".join(Path(settings.pretrained).parts[-3:])
    return known


def load(path: Path) -> Settings:
    """Read settings written by `save`.

    Raises:
        InputError: If the file is not that.
    """
    try:
        document = json.loads(path.read_text())
        return Settings(**{**document, "channels": tuple(document["channels"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold the settings of a training ({error}).") from error


def difference(mine: Settings, theirs: Settings) -> str | None:
    """What keeps one training from continuing another, in words, or None."""
    for field in fields(Settings):
        a, b = getattr(mine, field.name), getattr(theirs, field.name)
        if field.name not in _FREE and a != b:
            return f"{field.name} is {a}, and was {b}"
    return None
