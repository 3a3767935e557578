"""Resampling along one axis after the other, on a device: a matrix, or a slice where the axis only loses its padding.

nnU-Net's resamplings are linear maps of each line of an axis. Their weights are computed in float64 on the host, by the
functions of `stages/`, and rounded to float32; with float32 products a resampled image differs from the stages' own
by less than 1e-6 of its range (tests/runtime/device/test_resample.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.stages.label import Axis

WORK = 1 << 28
"""Bytes of work space that the rows resampled at a time may take: enough to fill a GPU, little beside a network."""


@dataclass(frozen=True, eq=False)
class Line:
    """How an axis is read.

    Attributes:
        size: Length of the result.
        matrix: (size, source) float32 weights; None where the result is a part of the source.
        start: First value of that part.
    """

    size: int
    matrix: npt.NDArray[np.float32] | None = None
    start: int = 0

    def reads(self, first: int, last: int) -> tuple[int, int]:
        """The source values, end excluded, that the results `first` to `last`, excluded, are made of."""
        if self.matrix is None:
            return self.start + first, self.start + last
        used = np.flatnonzero(self.matrix[first:last].any(axis=0))
        return int(used[0]), int(used[-1]) + 1


def line(weights: npt.NDArray[np.floating]) -> Line:
    """A line of (out, in) weights."""
    size, length = weights.shape
    start = int(np.argmax(weights[0] != 0))
    if start + size <= length and np.array_equal(weights, np.eye(size, length, start)):
        return Line(size, None, start)
    return Line(size, weights.astype(np.float32))


def weights_of(axis: Axis, below: int = 0, padded: int | None = None) -> npt.NDArray[np.float64]:
    """(out, padded) weights of a linear axis whose source begins `below` values into a padded one."""
    rows = np.arange(len(axis.lower))
    weights = np.zeros((len(rows), padded or int(axis.upper.max()) + 1))
    weights[rows, axis.lower + below] += axis.weight_lower
    weights[rows, axis.upper + below] += axis.weight_upper
    return weights


@dataclass(frozen=True, eq=False)
class Lines:
    """The three lines of a volume with their matrices on the device."""

    lines: tuple[Line, Line, Line]
    matrices: tuple[Array | None, Array | None, Array | None]

    @classmethod
    def on(cls, arrays: Arrays, lines: Sequence[Line]) -> "Lines":
        """Bring the matrices to the device, that of the last axis transposed."""
        z, y, x = lines
        up: list[Any] = [None if one.matrix is None else one.matrix for one in lines]
        up[2] = None if up[2] is None else up[2].T
        z_, y_, x_ = (None if one is None else arrays.upload(one) for one in up)
        return cls((z, y, x), (z_, y_, x_))

    def rows(self, arrays: Arrays, values: Array, first: int, last: int, base: int = 0) -> Array:
        """Rows `first` to `last`, excluded, of the result.

        Args:
            values: (n, Y, X): the source's rows from `base` on. Where nothing is multiplied the result has their dtype,
                else float32.
        """
        (z, y, x), (along_z, along_y, along_x) = self.lines, self.matrices
        low, high = z.reads(first, last)
        part = values[low - base : high - base]
        if not (along_z is along_y is along_x is None):
            part = part.astype("float32", copy=False)
        if along_z is not None:
            weights = arrays.xp.ascontiguousarray(along_z[first:last, low:high])
            part = (weights @ part.reshape(high - low, -1)).reshape(last - first, *values.shape[1:])
        rows = slice(y.start, y.start + y.size)
        part = part[:, rows] if along_y is None else arrays.xp.matmul(along_y, part)
        if along_x is None:
            return part[:, :, x.start : x.start + x.size]
        return (part.reshape(-1, part.shape[2]) @ along_x).reshape(last - first, y.size, x.size)

    def at_a_time(self, plane: tuple[int, int]) -> int:
        """Rows whose resampling stays within `WORK`, at least one.

        Args:
            plane: (Y, X) of the source.
        """
        return rows_at_a_time(bytes_a_row(plane, (self.lines[1].size, self.lines[2].size)))


def rows_at_a_time(bytes_a_row: int) -> int:
    """Rows that stay within `WORK`, at least one."""
    return max(1, WORK // bytes_a_row)


def bytes_a_row(plane: tuple[int, int], result: tuple[int, int], read: float = 0.0, kept: int = 7) -> int:
    """Bytes that a row of the result takes while it is made of (Y, X) → (y, x): two neighbouring products, or two
    arrays of the result.

    Args:
        read: Rows of the source that are there a second time.
        kept: Bytes a voxel of the result beside that.
    """
    (rows, columns), (out_y, out_x) = plane, result
    products = 4 * max(
        math.ceil((1 + read) * rows * columns),
        rows * columns + out_y * columns,
        out_y * columns + out_y * out_x,
        2 * out_y * out_x,
    )
    return products + kept * out_y * out_x


def decision_bytes(lines: tuple[Line, Line, Line], plane: tuple[int, int], rounded: bool) -> int:
    """Bytes that the labels of a row take while they are decided on.

    Args:
        plane: (Y, X) of the sums, which are float16; what is multiplied is there a second time, as float32.
        rounded: Results are rounded to float16, unlike those of torch's method.
    """
    along_z, size, voxel = lines[0], (lines[1].size, lines[2].size), 2 if rounded else 4
    kept = 2 * voxel + 1  # the best value so far, the one before, the label
    if all(one.matrix is None for one in lines):
        return (kept + voxel) * math.prod(size)
    read = along_z.matrix.shape[1] / along_z.size if along_z.matrix is not None else 0.0
    return bytes_a_row(plane, size, read, kept)
