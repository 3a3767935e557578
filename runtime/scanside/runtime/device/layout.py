"""What a device is given for one image: where tiles go, which rows are finished when, how they are resampled.

Pure arithmetic on shapes; nothing here touches a device.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.label import Axis, linear_axes
from scanside.runtime.stages.resample import Shape, Spacing, separate_axis
from scanside.runtime.stages.slide import Tiling, tiling

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The rows of the first axis that are finished together, and the output rows that they decide.

    Attributes:
        start: First row of the tiles at hand. The sums on the device begin one row before it.
        step: Rows that are finished when these tiles are done.
        first, last: Output rows, `last` excluded.
        along_z: (rows, depth) weights of the output rows; rows beyond `last - first` are zero.
    """

    start: int
    step: int
    first: int
    last: int
    along_z: Float


@dataclass(frozen=True, eq=False)
class Layout:
    """One image on the device.

    Attributes:
        sums: (K+1, D, Y, X): logits times weights and, last, the weights, of the rows at hand. D is one more than the
            tile's rows: the last finished row stays, since interpolation needs it.
        labels: (z, y, x) of the result.
        along_y, along_x: Weights of the output columns; padding has none.
    """

    tiles: Tiling
    sums: tuple[int, int, int, int]
    labels: Shape
    along_y: Float
    along_x: Float
    sweeps: tuple[Sweep, ...]

    @property
    def rows(self) -> int:
        """Most output rows of a sweep."""
        return int(self.sweeps[0].along_z.shape[0])


def linear(plan: Plan, current: Spacing, new: Spacing) -> bool:
    """Whether the plan resamples logits linearly (a coarse axis apart to the nearest), as nnU-Net does by default."""
    how = plan.resampling_probabilities
    if how.method != "default":
        return True
    return how.order == 1 and (separate_axis(current, new, how.force_separate_z) is None or how.order_z == 0)


def layout(plan: Plan, image: Shape, shape: Shape, current: Spacing, new: Spacing, step: float) -> Layout:
    """Lay an image out.

    Args:
        image: Shape on the network's grid.
        shape: Shape of the result on the image's grid.
        current, new: Spacing of the network's and of the image's grid, mm.

    Raises:
        CaseError: If the plan's resampling of logits is not linear.
    """
    if not linear(plan, current, new):
        raise CaseError(
            "This model does not resample its logits linearly, which is all that the device's graphs do; "
            "use --device cpu."
        )
    how, tiles = plan.resampling_probabilities, tiling(image, plan.patch_size, step)
    axes = linear_axes(image, shape, separate_axis(current, new, how.force_separate_z), how.method)
    along = [
        _matrix(axis, below, padded)
        for axis, below, padded in zip(axes, tiles.pad_below, tiles.padded, strict=True)
    ]
    depth = tiles.patch[0] + 1
    sums = (plan.labels.heads + 1, depth, *tiles.padded[1:])
    return Layout(tiles, sums, shape, along[1], along[2], tuple(_sweeps(tiles, along[0], depth)))


def _matrix(axis: Axis, below: int, padded: int) -> Float:
    """(out, padded) float32 weights of one axis."""
    rows = np.arange(len(axis.lower))
    weights = np.zeros((len(rows), padded))
    weights[rows, axis.lower + below] += axis.weight_lower
    weights[rows, axis.upper + below] += axis.weight_upper
    return weights.astype(np.float32)


def _sweeps(tiles: Tiling, along_z: Float, depth: int) -> Iterator[Sweep]:
    last_read = along_z.shape[1] - 1 - np.argmax(along_z[:, ::-1] != 0, axis=1)
    ends = (*tiles.starts[0][1:], tiles.padded[0])
    counts = [
        int(np.searchsorted(last_read, end)) for end in ends
    ]  # output rows that need no row from `end` on
    most = max(last - first for first, last in itertools.pairwise((0, *counts)))
    for start, end, (first, last) in zip(
        tiles.starts[0], ends, itertools.pairwise((0, *counts)), strict=True
    ):
        weights = np.zeros((max(most, 1), depth), np.float32)
        begin = max(start - 1, 0)  # there is no row before the first
        part = along_z[first:last, begin : start + depth - 1]
        weights[: last - first, begin - start + 1 : begin - start + 1 + part.shape[1]] = part
        yield Sweep(start, end - start, first, last, weights)


@dataclass(frozen=True)
class Memory:
    """Device memory of one image, bytes, known before it is run.

    Attributes:
        buffers: Arrays that live for the whole image.
        workspace: Most that a graph around the network needs beside them: all its intermediate results at once.
        network: What the network's runs need, as the caller states it.
    """

    buffers: int
    workspace: int
    network: int

    @property
    def total(self) -> int:
        """The ceiling."""
        return self.buffers + self.workspace + self.network


def memory(plan: Plan, on: Layout, batch: int, network_per_tile: int = 0) -> Memory:
    """What an image takes with `batch` mirror variants at a time."""
    patch, heads = math.prod(on.tiles.patch), plan.labels.heads
    sums, (_, depth, height, width) = math.prod(on.sums), on.sums
    _, out_y, out_x = on.labels
    tile, logits = plan.input_channels * patch, heads * patch
    matrices = on.rows * depth + on.along_y.size + on.along_x.size
    voxels = on.rows * out_y * out_x
    buffers = 4 * (2 * sums + tile + batch * (tile + logits) + 2 * patch + matrices) + voxels
    flips = 2 * len(plan.mirror_axes)
    mirror = 4 * flips * batch * tile
    add = 4 * (flips * batch * logits + 3 * (logits + patch) + sums)
    mean = 4 * (2 * heads * depth + heads * depth + 2 * depth) * height * width
    resampled = 4 * heads * on.rows * (2 * height * width + out_y * width + out_y * out_x)
    finish = mean + resampled + voxels * (8 if not plan.labels.has_regions else 8 * heads + 9)
    return Memory(buffers, max(mirror, add, finish), batch * network_per_tile)


def fitting_batch(
    plan: Plan, on: Layout, mirror: bool, limit: int | None, network_per_tile: int = 0
) -> tuple[int, Memory]:
    """The most mirror variants at a time that stay below the limit, and the ceiling that they have.

    Args:
        limit: Bytes; None for no limit.

    Raises:
        CaseError: If one at a time is too much.
    """
    batch = 2 ** len(plan.mirror_axes) if mirror else 1
    while True:
        needed = memory(plan, on, batch, network_per_tile)
        if limit is None or needed.total <= limit:
            return batch, needed
        if batch == 1:
            raise CaseError(
                f"This image needs {needed.total / 2**30:.2f} GiB of device memory, above the limit of "
                f"{limit / 2**30:.2f} GiB; free memory on the device, or use --device cpu."
            )
        batch //= 2
