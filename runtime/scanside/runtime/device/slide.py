"""The sliding window and the labels on a device: tiles, mirror variants, weighted sums, resampling, decision.

One thing differs from `stages/slide.py` and `stages/label.py` by design, and for the better: sums are float32, where
nnU-Net's are float16, so a voxel whose two best logits nearly tie may fall the other way. Devices are judged by the
policy for approximations, and say so.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.device.layout import Layout, Window
from scanside.runtime.device.lines import Lines
from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.decide import REGION_THRESHOLD, Codes
from scanside.runtime.stages.slide import Progress, gaussian_weights, within

Network = Callable[[Array, Array], None]
"""`image` (N, C, *patch) → `logits` (N, K, *patch), both float32, C-contiguous, on the device; `logits` is filled."""
Flips = tuple[slice, ...]


@dataclass(frozen=True)
class _Job:
    """One run of a tile: where it lies, and which axes of the patch are reversed."""

    start: tuple[int, int, int]
    flips: Flips


class Slide:
    """One image's way from the network's grid to labels."""

    def __init__(
        self,
        arrays: Arrays,
        image: Array,
        on: Layout,
        plan: Plan,
        networks: Sequence[Network],
        *,
        batch: int,
        depth: int,
        mirror: bool,
    ) -> None:
        """Allocate everything that lasts for the whole image.

        Args:
            image: (C, z, y, x) float32 on the device, normalised and resampled.
            networks: One a fold.
            batch: Tiles and mirror variants at a time.
            depth: Rows of sums at a time.
        """
        xp, patch, heads = arrays.xp, plan.patch_size, plan.labels.heads
        self._arrays, self._image, self._on, self._plan, self._networks = arrays, image, on, plan, networks
        self._batch = xp.zeros((batch, plan.input_channels, *patch), "float32")
        self._logits = xp.zeros((batch, heads, *patch), "float32")
        self._sums = xp.zeros((heads + 1, depth, *on.tiles.padded[1:]), "float32")
        self._variants = _variants(plan, mirror)
        weights = gaussian_weights(patch).reshape(on.tiles.patch)
        self._weights = arrays.upload(weights / np.float32(len(self._variants) * len(networks)))
        self._lines = Lines.on(arrays, on.lines)
        self._extremes: list[Array] = []
        self._base = self._mean_until = 0

    def labels(self, progress: Progress) -> Codes:
        """Labels of the whole image, the mean over all networks: (z, y, x), uint8 or uint16.

        Raises:
            CaseError: If a network gives values that are not finite.
        """
        labels: Codes = np.zeros(self._on.shape, self._plan.labels.mask_dtype)
        done = 0
        for window in self._on.windows(self._sums.shape[1]):
            self._move(window.base)
            starts = list(itertools.product(window.starts, *self._on.tiles.starts[1:]))
            jobs = [_Job(start, flips) for start in starts for flips in self._variants]
            for first in range(0, len(jobs), len(self._batch)):
                some = jobs[first : first + len(self._batch)]
                self._run(some)
                progress(done + (first + len(some)) // len(self._variants), self._on.tiles.count)
            done += len(starts)
            self._divide(window.end)
            self._decide(window, labels)
        if not np.isfinite(self._arrays.download(self._arrays.xp.stack(self._extremes))).all():
            raise CaseError(
                "The network returned values that are not finite for this image; check the model, its precision and "
                "the image intensities."
            )
        return labels

    def _move(self, base: int) -> None:
        """Let the sums begin at another row: those before it are forgotten, and as many are new.

        In steps, since a copy within one array must not overlap itself.
        """
        gone, depth = base - self._base, self._sums.shape[1]
        if gone <= 0:
            return
        for row in range(0, depth - gone, gone):
            count = min(gone, depth - gone - row)
            self._sums[:, row : row + count] = self._sums[:, row + gone : row + gone + count]
        self._sums[:, max(0, depth - gone) :] = 0
        self._base = base

    def _run(self, jobs: list[_Job]) -> None:
        """Run one batch through all networks and add it. A place without a job keeps what it held."""
        for place, job in zip(self._batch, jobs, strict=False):
            place[...] = 0
            source, target = within(self._on.tiles, job.start, self._image.shape[1:])
            self._volume(place, job.flips)[target] = self._image[source]
        for network in self._networks:
            network(self._batch, self._logits)
            self._add(jobs)

    def _volume(self, values: Array, flips: Flips) -> Array:
        """A view of (channels, *patch), flipped, with three spatial axes."""
        return values[(slice(None), *(None,) * (3 - len(flips)), *flips)]

    def _add(self, jobs: list[_Job]) -> None:
        """Logits times weights, added to the window that each tile has in the sums."""
        place, (depth, height, width) = 0, self._on.tiles.patch
        for (z, y, x), of_tile in itertools.groupby(jobs, lambda job: job.start):
            total, *others = (
                self._volume(values, job.flips)
                for values, job in zip(self._logits[place:], of_tile, strict=False)
            )
            for other in others:
                total += other
            total *= self._weights
            row = z - self._base
            window = self._sums[:, row : row + depth, y : y + height, x : x + width]
            window[:-1] += total
            window[-1] += self._weights * (1 + len(others))
            place += 1 + len(others)

    def _divide(self, end: int) -> None:
        """Make means of the sums of the rows before `end`, which no tile will touch again."""
        rows = self._sums[:, max(self._mean_until - self._base, 0) : end - self._base]
        means = rows[:-1]
        means /= rows[-1]
        self._extremes += [means.min(), means.max()]
        self._mean_until = end

    def _decide(self, window: Window, labels: Codes) -> None:
        """Labels of the rows that the window decides, some at a time."""
        rows = self._lines.at_a_time(self._sums.shape[2:])
        for first in range(window.first, window.last, rows):
            last = min(first + rows, window.last)
            labels[first:last] = self._arrays.download(self._decided(first, last))

    def _decided(self, first: int, last: int) -> Array:
        """As `stages.decide.decide`, head by head, so that work space does not grow with them."""
        xp, labels = self._arrays.xp, self._plan.labels
        codes = xp.zeros((last - first, *self._on.shape[1:]), labels.mask_dtype)
        best = None
        for index, channel in enumerate(self._sums[:-1]):
            values = self._lines.rows(self._arrays, channel, first, last, self._base)
            if labels.regions_class_order is not None:
                codes[values > REGION_THRESHOLD] = labels.regions_class_order[index]
            elif best is None:
                best = values
            else:
                codes[values > best] = index
                best = xp.maximum(best, values)
        return codes


def _variants(plan: Plan, mirror: bool) -> list[Flips]:
    """Every combination of mirror axes, as slices of the patch's axes; none is reversed in the first."""
    straight, reversed_ = slice(None), slice(None, None, -1)
    may = [
        (straight, reversed_) if mirror and axis in plan.mirror_axes else (straight,)
        for axis in range(plan.dimension)
    ]
    return list(itertools.product(*may))
