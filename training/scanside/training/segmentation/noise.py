"""Iterations of a training on noise: what they cost, before there is preprocessed data."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

WARM_UP, MEASURED = 2, 3


class Noise:
    """A dataset as nnU-Net's loader wants it: one case of noise, with a lesion of a few voxels in its middle."""

    def __init__(self, channels: int, shape: tuple[int, ...]) -> None:
        self.identifiers = ["noise"]
        self._image = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
        self._labels = np.zeros((1, *shape), np.int16)
        self._labels[0][tuple(slice(size // 2, size // 2 + 2) for size in shape)] = 1

    def load_case(
        self, identifier: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16], None, dict[str, Any]]:
        """Image (C, Z, Y, X), labels (1, Z, Y, X), no earlier stage, and where the lesion's voxels are."""
        return self._image, self._labels, None, {"class_locations": {1: np.argwhere(self._labels)}}


def train_on_noise(trainer: Any) -> tuple[float, float]:
    """Seconds of an iteration of training and of one of validation, with loading and augmentation.

    Args:
        trainer: An initialised nnU-Net trainer without worker processes; its weights are changed.
    """
    configuration = trainer.configuration_manager
    shape = tuple(round(size) for size in configuration.median_image_size_in_voxels)
    noise = Noise(trainer.num_input_channels, shape)
    trainer.get_tr_and_val_datasets = lambda: (noise, noise)
    trainer.dataset_class = Noise
    training, validation = trainer.get_dataloaders()
    trainer.network.train()
    iteration = _seconds(lambda: trainer.train_step(next(training)))
    with torch.no_grad():
        trainer.network.eval()
        return iteration, _seconds(lambda: trainer.validation_step(next(validation)))


def _seconds(step: Any) -> float:
    for _ in range(WARM_UP):
        step()
    started = time.perf_counter()
    for _ in range(MEASURED):
        step()
    return (time.perf_counter() - started) / MEASURED
