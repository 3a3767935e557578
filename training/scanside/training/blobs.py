"""A toy problem for the demonstration: bright blobs in a noisy ellipsoid. It is not anatomy and not a phantom."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LABELS = {"background": 0, "body": 1, "blob": 2}


@dataclass(frozen=True, eq=False)
class Toy:
    """An image (Z, Y, X) float32 and its true labels (Z, Y, X) uint8."""

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]


def make_toy(shape: tuple[int, int, int], seed: int) -> Toy:
    """A smooth grey ellipsoid with two to four brighter blobs, a bias field and noise, in an empty border."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    labels = np.zeros(shape, dtype=np.uint8)
    body = (grid / random.uniform(0.75, 0.9, size=(3, 1, 1, 1))) ** 2
    labels[body.sum(axis=0) < 1] = 1
    for _ in range(random.integers(2, 5)):
        centre = random.uniform(-0.45, 0.45, size=(3, 1, 1, 1))
        radius = random.uniform(0.14, 0.3, size=(3, 1, 1, 1))
        labels[((((grid - centre) / radius) ** 2).sum(axis=0) < 1) & (labels == 1)] = 2
    signal = ndimage.gaussian_filter(np.array([0.0, 300.0, 430.0])[labels], 0.7)
    bias = 1 + 0.15 * grid[random.integers(3)]
    noisy = np.abs(signal * bias + random.normal(0, 35, shape))
    image = np.where(labels > 0, np.round(noisy), np.round(np.abs(random.normal(0, 12, shape))))
    image[:2] = 0
    return Toy(image.astype(np.float32), labels)
