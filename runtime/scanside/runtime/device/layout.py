"""How a device goes through an image: which tiles are summed together, and which rows of the result they decide.

Pure arithmetic on shapes; nothing here touches a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scanside.runtime.device.lines import Line, line, weights_of
from scanside.runtime.plan import Plan, Resampling
from scanside.runtime.stages.label import linear_axes
from scanside.runtime.stages.resample import Shape, Spacing, separate_axis
from scanside.runtime.stages.slide import Tiling, tiling


@dataclass(frozen=True)
class Window:
    """The rows of the first axis whose sums the device holds at a time.

    Attributes:
        base: First of these rows.
        starts: First rows of the tiles that are added.
        end: Rows before it are finished after these tiles.
        first, last: Rows of the result that are decided then, `last` excluded.
    """

    base: int
    starts: tuple[int, ...]
    end: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Layout:
    """One image on the device.

    Attributes:
        tiles: Where the tiles lie.
        lines: From padded sums to the result, an axis each.
        shape: (z, y, x) of the result.
    """

    tiles: Tiling
    lines: tuple[Line, Line, Line]
    shape: Shape

    @property
    def least_depth(self) -> int:
        """The fewest rows of sums: a tile's, and one more, since interpolation needs the last finished row."""
        return min(self.tiles.patch[0] + 1, self.tiles.padded[0])

    def sums(self, folds: int, depth: int) -> int:
        """Arrays of sums that are held with `depth` rows: one for the mean and one for the fold at hand; in slabs one a
        fold, since the rows that the next slab goes on with are each fold's own."""
        return min(folds, 2) if depth >= self.tiles.padded[0] else folds

    def windows(self, depth: int) -> Iterator[Window]:
        """The windows, in order, of sums with `depth` rows."""
        starts, padded = self.tiles.starts[0], self.tiles.padded[0]
        first = at = base = 0
        while at < len(starts):
            stop = at + 1
            while stop < len(starts) and starts[stop] + self.tiles.patch[0] <= base + depth:
                stop += 1
            end = starts[stop] if stop < len(starts) else padded
            last = self._decided(end)
            yield Window(base, starts[at:stop], end, first, last)
            at, first, base = stop, last, max(0, end - 1)

    def _decided(self, end: int) -> int:
        """Rows of the result that need no row of the sums from `end` on."""
        along = self.lines[0]
        if along.matrix is None:
            return int(np.clip(end - along.start, 0, along.size))
        last_read = along.matrix.shape[1] - 1 - np.argmax(along.matrix[:, ::-1] != 0, axis=1)
        return int(np.searchsorted(last_read, end))


def linear(how: Resampling, current: Spacing, new: Spacing) -> bool:
    """Whether logits are resampled linearly (a coarse axis apart to the nearest), as nnU-Net does by default."""
    if how.method != "default":
        return True
    return how.order == 1 and (separate_axis(current, new, how.force_separate_z) is None or how.order_z == 0)


def layout(plan: Plan, image: Shape, shape: Shape, current: Spacing, new: Spacing, step: float) -> Layout:
    """Lay an image out whose logits are resampled linearly.

    Args:
        image: Shape on the network's grid.
        shape: Shape of the result on the image's grid.
        current, new: Spacing of the network's and of the image's grid, mm.
    """
    how, tiles = plan.resampling_probabilities, tiling(image, plan.patch_size, step)
    axes = linear_axes(image, shape, separate_axis(current, new, how.force_separate_z), how.method)
    z, y, x = (
        line(weights_of(axis, below, padded))
        for axis, below, padded in zip(axes, tiles.pad_below, tiles.padded, strict=True)
    )
    return Layout(tiles, (z, y, x), shape)
