"""Overlap and volume of two masks."""

from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import Mask


@dataclass(frozen=True)
class Overlap:
    """How much of two masks lies on each other.

    Attributes:
        dice: 2·|A∩B| / (|A|+|B|); 1 where both are empty, 0 where one is.
        iou: |A∩B| / |A∪B|; likewise.
        reference_ml, automatic_ml: Volume of each mask, ml.
    """

    dice: float
    iou: float
    reference_ml: float
    automatic_ml: float

    @property
    def volume_error_ml(self) -> float:
        """Automatic minus reference volume, ml."""
        return self.automatic_ml - self.reference_ml

    @property
    def relative_volume_error(self) -> float:
        """Volume error as a part of the reference volume; NaN where the reference is empty and the mask is not."""
        if self.reference_ml == 0:
            return 0.0 if self.automatic_ml == 0 else float("nan")
        return self.volume_error_ml / self.reference_ml


def overlap(reference: Mask, automatic: Mask, spacing: tuple[float, float, float]) -> Overlap:
    """Overlap of two masks on one grid.

    Args:
        reference: (Z, Y, X) bool.
        automatic: (Z, Y, X) bool.
        spacing: (Z, Y, X), mm.

    Raises:
        ValueError: If the shapes differ.
    """
    if reference.shape != automatic.shape:
        raise ValueError(f"masks of shape {reference.shape} and {automatic.shape} are not on one grid")
    first, second, common = _counts(reference, automatic)
    both = first + second
    voxel_ml = float(np.prod(spacing)) / 1000.0
    return Overlap(
        dice=_dice(first, second, common),
        iou=common / (both - common) if both else 1.0,
        reference_ml=first * voxel_ml,
        automatic_ml=second * voxel_ml,
    )


def dice(first: Mask, second: Mask) -> float:
    """2·|A∩B| / (|A|+|B|) of two masks of one shape; 1 where both are empty."""
    return _dice(*_counts(first, second))


def _counts(first: Mask, second: Mask) -> tuple[int, int, int]:
    """Voxels of each, and of both together."""
    one, other, common = (int(np.count_nonzero(mask)) for mask in (first, second, first & second))
    return one, other, common


def _dice(first: int, second: int, common: int) -> float:
    return 2 * common / (first + second) if first + second else 1.0
