"""Cubic B-splines on a grid along the same axes as the image: one axis after the other.

ITK weights 64 coefficients for every new voxel, whatever the grid. Axis by axis they are 4, and an axis that keeps its
places costs nothing. The values are ITK's to 1e-10 where ITK cuts a sum off at the image's border, elsewhere to 1e-14.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from scanside.runtime.arrays import Float64

_BORDER = 1e-6
"""Voxels: so near to the image's far border rounding decides whether ITK has a value there."""


def spline(values: Float64, positions: Sequence[Float64]) -> Float64 | None:
    """Values of the cubic spline through an image, mirrored at its borders; 0 outside of them, as ITK has it.

    Args:
        values: (Z, Y, X).
        positions: Where along z, y and x, in voxels.

    Returns:
        One value for each triple of positions; None where rounding decides what ITK would give.
    """
    ends = [size - 0.5 for size in values.shape]
    if any(np.abs(where - end).min() < _BORDER for where, end in zip(positions, ends, strict=True)):
        return None
    for axis, where in enumerate(positions):
        if np.array_equal(where, np.rint(where)) and where.max() < values.shape[axis]:
            values = np.take(values, where.astype(np.intp), axis)
        else:
            values = _along(axis, values, where)
    return np.ascontiguousarray(values)


def _along(axis: int, values: Float64, where: Float64) -> Float64:
    """Source: Unser, IEEE Signal Process. Mag. 16(6), 22 (1999)."""
    size = values.shape[axis]
    shape = [-1 if other == axis else 1 for other in range(3)]
    coefficients = ndimage.spline_filter1d(values, 3, axis, mode="mirror")
    total: Float64 = np.zeros(())
    for offset in (-1, 0, 1, 2):
        index = np.floor(where).astype(np.intp) + offset
        far = np.abs(where - index)
        weight = np.where(far < 1, 2 / 3 - far**2 + far**3 / 2, np.clip(2 - far, 0, None) ** 3 / 6)
        weight[(where < -0.5) | (where > size - 0.5)] = 0
        index = np.abs(index)
        index = np.clip(np.minimum(index, 2 * (size - 1) - index), 0, None)
        total = total + np.take(coefficients, index, axis) * weight.reshape(shape)
    return total
