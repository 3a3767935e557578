"""An nnU-Net trainer with our choices set as its attributes, and small hooks around its methods.

The class stays nnU-Net's own, so that the checkpoint names a trainer that every nnU-Net can find.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from torch.nn import functional

from scanside.export.checkpoint import load_checkpoint
from scanside.export.network import find_trainer, load_weights
from scanside.training.segmentation.graph_weights import load_graph_weights
from scanside.training.segmentation.pretrained_bundle import GRAPH
from scanside.training.segmentation.schedule import spent, train_for
from scanside.training.segmentation.settings import ALL, SMALL_LESION_FACTOR, Settings

Send = Callable[[dict[str, Any]], None]
"""Receives what happens, as a JSON object."""


def _adam(trainer: Any) -> Any:
    return find_trainer("nnUNetTrainerAdam").configure_optimizers(trainer)


def _sgd(trainer: Any) -> Any:
    return find_trainer("nnUNetTrainer").configure_optimizers(trainer)


UNTIL_TIME_IS_UP = 1_000_000
"""Epochs of a training that ends with its time, never reached."""

_OPTIMIZERS: dict[str | None, Callable[[Any], Any]] = {"adam": _adam, "sgd": _sgd}


def make_trainer(
    settings: Settings,
    fold: str,
    *,
    plans: Path,
    dataset: Path,
    resume: bool,
    small: Sequence[str],
    send: Send,
) -> Any:
    """A trainer ready for `run_training`.

    Args:
        fold: nnU-Net's name of it: a number or `all`.
        plans: nnU-Net's plans file.
        dataset: dataset.json.
        resume: The fold was begun before.
        small: Patients with small lesions, to be drawn more often.
    """
    number = 0 if fold == ALL else int(fold)
    seed_everything(settings.seed, number, 0)
    trainer = find_trainer(settings.trainer)(
        plans={**load_json(str(plans)), "continue_training": resume},
        configuration=settings.configuration,
        fold=ALL if fold == ALL else number,
        dataset_json=load_json(str(dataset)),
        device=torch.device(settings.device),
    )
    _set_attributes(trainer, settings)
    _hook_epochs(trainer, settings, number, send)
    _save_whole_or_not_at_all(trainer)
    if settings.shift:
        move_patches(trainer, settings.shift)
    if small:
        draw_more_often(trainer, small)
    trainer.initialize()
    if trainer.device.type == "cpu" and len(trainer.configuration_manager.patch_size) == 3:
        # The same numbers in another memory layout, which convolutions on a CPU prefer.
        trainer.network.to(memory_format=torch.channels_last_3d)
        normalise_in_layout(trainer.network)
    if settings.minutes is not None:
        train_for(trainer, 60 * settings.minutes)
    if settings.bfloat16:
        compute_in_bfloat16(trainer.network)
    return trainer


def _set_attributes(trainer: Any, settings: Settings) -> None:
    """What nnU-Net's trainers keep in attributes; what nobody chose stays the trainer's own."""
    for attribute, value in (
        ("initial_lr", settings.learning_rate),
        ("num_epochs", settings.epochs if settings.minutes is None else UNTIL_TIME_IS_UP),
        ("num_iterations_per_epoch", settings.iterations),
        ("num_val_iterations_per_epoch", settings.val_iterations),
        ("oversample_foreground_percent", settings.foreground),
    ):
        if value is not None:
            setattr(trainer, attribute, value)
    if settings.foreground is not None:
        # nnU-Net rounds the part of a batch to whole samples: of a batch of two, 0.33 and 0.66 are the same one.
        trainer.probabilistic_oversampling = True
    if settings.optimizer:
        trainer.configure_optimizers = lambda: _OPTIMIZERS[settings.optimizer](trainer)
    trainer.save_every = (
        5 if settings.minutes is not None else max(1, min(trainer.save_every, trainer.num_epochs // 20))
    )


def start_from(trainer: Any, checkpoint: Path) -> None:
    """Give an initialised trainer's network the weights of an earlier training.

    As nnU-Net's `-pretrained_weights`, and the segmentation layers too, which nnU-Net leaves out because labels may
    differ: here they are the same (see `pretrained.find_pretrained`). The checkpoint cannot run code. A graph holds no
    heads of deep supervision; these start from random weights.

    Args:
        checkpoint: A checkpoint of PyTorch, or a float32 graph of a bundle.

    Raises:
        InputError: If names or shapes of weights do not fit.
    """
    if checkpoint.suffix == GRAPH:
        load_graph_weights(trainer.network, checkpoint)
        return
    loaded = load_checkpoint(checkpoint)
    load_weights(trainer.network, loaded.weights, checkpoint.parent.name.removeprefix("fold_"))


def normalise_in_layout(network: torch.nn.Module) -> None:
    """Instance norms that keep channels innermost: the same sums, a sample at a time, without copies.

    PyTorch's instance norm turns such an image into the other layout and its result back, and in bfloat16 it converts
    to float32 and back too: a tenth of an iteration of the compact network.
    """

    def forward(norm: torch.nn.InstanceNorm3d, image: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [
                functional.batch_norm(sample, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
                for sample in torch.split(image, 1)
            ]
        )

    for module in network.modules():
        if type(module) is torch.nn.InstanceNorm3d and not module.track_running_stats:
            module.forward = partial(forward, module)  # type: ignore[method-assign]


def compute_in_bfloat16(network: torch.nn.Module) -> None:
    """Forward and backward passes in bfloat16 where PyTorch holds it safe; logits, weights and losses in float32.

    nnU-Net uses autocast on GPUs only. The compact network was 1.75 times as fast with it on a CPU with AVX512-BF16.
    """
    forward = network.forward

    def in_bfloat16(*args: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = forward(*args)
        if isinstance(logits, torch.Tensor):
            return logits.float()
        return [one.float() for one in logits]  # deep supervision

    network.forward = in_bfloat16


def seed_everything(seed: int, fold: int, epoch: int) -> None:
    """Seed every generator that nnU-Net draws from. Each epoch has its own seed, so that a resumed one repeats."""
    words = np.random.SeedSequence([seed, fold, epoch]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


def parameters(trainer: Any) -> int:
    """Number of weights, without nnU-Net's aliases."""
    return sum(weight.numel() for weight in trainer.network.parameters())


def _hook_epochs(trainer: Any, settings: Settings, fold: int, send: Send) -> None:
    start, end, plot = trainer.on_epoch_start, trainer.on_epoch_end, trainer.logger.plot_progress_png

    def on_epoch_start() -> None:
        seed_everything(settings.seed, fold, trainer.current_epoch + 1)
        start()

    def on_epoch_end() -> None:
        end()  # counts current_epoch up
        log = trainer.logger.get_value
        send(
            {
                "event": "epoch",
                "epoch": trainer.current_epoch,
                "epochs": _expected_epochs(trainer, settings),
                "loss": float(log("train_losses", step=-1)),
                "dice": float(log("mean_fg_dice", step=-1)),
                "seconds": float(
                    log("epoch_end_timestamps", step=-1) - log("epoch_start_timestamps", step=-1)
                ),
            }
        )

    def plot_now_and_then(*args: Any, **kwargs: Any) -> None:
        # The picture takes two seconds, which short epochs do not have; two points are no curve.
        done = trainer.current_epoch + 1
        if done % 10 == 0 or 2 < done == trainer.num_epochs:
            plot(*args, **kwargs)

    trainer.on_epoch_start, trainer.on_epoch_end = on_epoch_start, on_epoch_end
    trainer.logger.plot_progress_png = plot_now_and_then


def _expected_epochs(trainer: Any, settings: Settings) -> int:
    """How many epochs there will be: as many as were chosen, or as fit into the time."""
    if settings.minutes is None:
        return int(trainer.num_epochs)
    done = int(trainer.current_epoch)
    return max(done, round(done * 60 * settings.minutes / max(spent(trainer), 1e-3)))


def _save_whole_or_not_at_all(trainer: Any) -> None:
    """A checkpoint that was half-written when the machine stopped could not be resumed from."""
    save = trainer.save_checkpoint

    def save_checkpoint(filename: str) -> None:
        save(f"{filename}.part")
        if Path(f"{filename}.part").exists():
            Path(f"{filename}.part").replace(filename)

    trainer.save_checkpoint = save_checkpoint


def move_patches(trainer: Any, shift: float) -> None:
    """Patches drawn for a lesion hold it anywhere, not always in their middle, as nnU-Net's do.

    A small network that mostly sees such patches learns where the middle is, and then finds a lesion in the middle of
    every tile: out-of-fold Dice on the phantom was 0.05 while nnU-Net's pseudo Dice, on such patches, was 0.7.

    Args:
        shift: How far, as a part of the patch, in each direction; the same chance for every place.
    """
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    centred = nnUNetDataLoader.get_bbox
    reach = [max(1, int(shift * size)) for size in trainer.configuration_manager.patch_size]

    def get_bbox(self: Any, data_shape: Any, force_fg: bool, *rest: Any, **named: Any) -> Any:
        lower, upper = centred(self, data_shape, force_fg, *rest, **named)
        if not force_fg:
            return lower, upper
        moves = [int(np.random.randint(-most, most + 1)) for most in reach]
        return [a + m for a, m in zip(lower, moves, strict=True)], [
            a + m for a, m in zip(upper, moves, strict=True)
        ]

    nnUNetDataLoader.get_bbox = get_bbox  # of this process, which trains one fold and ends


def draw_more_often(trainer: Any, small: Sequence[str]) -> None:
    """nnU-Net's loader draws uniformly from the dataset's identifiers: name some of them more than once."""
    get, chosen = trainer.get_tr_and_val_datasets, set(small)

    def get_tr_and_val_datasets() -> tuple[Any, Any]:
        training, validation = get()
        training.identifiers = [
            name for name in training.identifiers for _ in range(SMALL_LESION_FACTOR if name in chosen else 1)
        ]
        return training, validation

    trainer.get_tr_and_val_datasets = get_tr_and_val_datasets
