"""The sliding window and the labels on a device: tiles, mirror variants, weighted sums, resampling, decision.

Sums are nnU-Net's own, as `stages/slide.py` computes them: mirror variants in float32 in the reference's order, then
float16, rounded after every tile, division and fold. Logits are resampled in float32 and rounded to float16,
where `stages/label.py` rounds from float64.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.device.layout import Layout, Window
from scanside.runtime.device.lines import Lines, decision_bytes, rows_at_a_time
from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.decide import REGION_THRESHOLD, Codes
from scanside.runtime.stages.slide import Progress, gaussian_weights, within

Network = Callable[[Array, Array], None]
"""`image` (N, C, *patch) → `logits` (N, K, *patch), both float32, C-contiguous, on the device; `logits` is filled."""
Flips = tuple[slice, ...]


@dataclass(frozen=True)
class _Job:
    """One run of a tile.

    Attributes:
        start: Where the tile lies.
        flips: Which axes of the patch are reversed.
        first, last: Whether it is the first, the last variant of its tile.
    """

    start: tuple[int, int, int]
    flips: Flips
    first: bool
    last: bool


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
        self._variants = variants(plan, mirror)
        self._batch = xp.zeros((batch, plan.input_channels, *patch), "float32")
        self._logits = xp.zeros((batch, heads, *patch), "float32")
        apart = batch % len(self._variants) != 0
        self._tile = xp.zeros((heads, *on.tiles.patch), "float32") if apart else None
        plane, kept = on.tiles.padded[1:], on.sums(len(networks), depth)
        self._sums = [xp.zeros((heads, depth, *plane), "float16") for _ in range(kept)]
        self._weight = xp.zeros((depth, *plane), "float16")
        weights = gaussian_weights(patch).reshape(on.tiles.patch)
        self._addend = arrays.upload(weights.astype(np.float16))
        self._factor = self._addend.astype("float32")
        self._factor /= len(self._variants)  # a power of two: exact
        self._lines = Lines.on(arrays, on.lines)
        self._rounded = plan.resampling_probabilities.method != "torch"  # whose results stay in float32
        self._extremes: list[Array] = []
        self._total: Array = None
        self._base = self._mean_until = 0

    def labels(self, progress: Progress) -> Codes:
        """Labels of the whole image, the mean over all networks: (z, y, x), uint8 or uint16.

        Raises:
            CaseError: If a network gives values that are not finite, or beyond float16, where nnU-Net stops as well.
        """
        labels: Codes = np.zeros(self._on.shape, self._plan.labels.mask_dtype)
        done, count = 0, len(self._networks) * self._on.tiles.count
        for window in self._on.windows(self._weight.shape[0]):
            self._move(window.base)
            starts = list(itertools.product(window.starts, *self._on.tiles.starts[1:]))
            jobs = [self._job(start, index) for start in starts for index in range(len(self._variants))]
            for fold, network in enumerate(self._networks):
                sums = self._of(fold)
                for first in range(0, len(jobs), len(self._batch)):
                    some = jobs[first : first + len(self._batch)]
                    self._run(network, some)
                    self._add(some, sums, weigh=fold == 0)
                    progress(done + (first + len(some)) // len(self._variants), count)
                done += len(starts)
                self._divide(sums, fold, window.end)
            self._mean_until = window.end
            self._decide(window, labels)
        if not np.isfinite(self._arrays.download(self._arrays.xp.stack(self._extremes))).all():
            raise CaseError(
                "The network returned values that are not finite in nnU-Net's float16 for this image; check the model, "
                "its precision and the image intensities."
            )
        return labels

    def _job(self, start: tuple[int, int, int], index: int) -> _Job:
        return _Job(start, self._variants[index], index == 0, index == len(self._variants) - 1)

    def _of(self, fold: int) -> Array:
        """Sums of a fold. Where the whole image is held, those after the first take turns in one array."""
        if len(self._sums) == len(self._networks):
            return self._sums[fold]
        if fold > 1:
            self._sums[1][...] = 0
        return self._sums[min(fold, 1)]

    def _move(self, base: int) -> None:
        """Let the sums begin at another row: those before it are forgotten, and as many are new.

        In steps, since a copy within one array must not overlap itself.
        """
        gone, depth = base - self._base, self._weight.shape[0]
        if gone <= 0:
            return
        for sums in (*self._sums, self._weight[None]):
            for row in range(0, depth - gone, gone):
                count = min(gone, depth - gone - row)
                sums[:, row : row + count] = sums[:, row + gone : row + gone + count]
            sums[:, max(0, depth - gone) :] = 0
        self._base = base

    def _run(self, network: Network, jobs: list[_Job]) -> None:
        """Run one batch. A place without a job keeps what it held."""
        for place, job in zip(self._batch, jobs, strict=False):
            place[...] = 0
            source, target = within(self._on.tiles, job.start, self._image.shape[1:])
            self._volume(place, job.flips)[target] = self._image[source]
        network(self._batch, self._logits)

    def _volume(self, values: Array, flips: Flips) -> Array:
        """A view of (channels, *patch), flipped, with three spatial axes."""
        return values[(slice(None), *(None,) * (3 - len(flips)), *flips)]

    def _add(self, jobs: list[_Job], sums: Array, weigh: bool) -> None:
        """Mean over a tile's variants times weights, added to the window that the tile has in the sums."""
        depth, height, width = self._on.tiles.patch
        for values, job in zip(self._logits, jobs, strict=False):
            turned = self._volume(values, job.flips)
            if not job.first:
                self._total += turned
            elif self._tile is None:
                self._total = turned
            else:
                self._total = self._tile
                self._total[...] = turned
            if not job.last:
                continue
            self._total *= self._factor
            row, (_, y, x) = job.start[0] - self._base, job.start
            place = slice(row, row + depth), slice(y, y + height), slice(x, x + width)
            window = sums[(slice(None), *place)]
            window += self._total
            if weigh:
                weight = self._weight[place]
                weight += self._addend

    def _divide(self, sums: Array, fold: int, end: int) -> None:
        """Make means of the sums of the rows before `end`, which no tile will touch again; then the mean over folds."""
        rows = slice(max(self._mean_until - self._base, 0), end - self._base)
        means, first = sums[:, rows], self._sums[0][:, rows]
        means /= self._weight[rows]
        if fold:
            first += means
        if fold == len(self._networks) - 1:
            if fold:
                first /= len(self._networks)
            self._extremes += [first.min(), first.max()]

    def _decide(self, window: Window, labels: Codes) -> None:
        """Labels of the rows that the window decides, some at a time."""
        a_row = decision_bytes(self._on.lines, self._weight.shape[1:], self._rounded)
        rows = rows_at_a_time(a_row)
        for first in range(window.first, window.last, rows):
            last = min(first + rows, window.last)
            labels[first:last] = self._arrays.download(self._decided(first, last))

    def _decided(self, first: int, last: int) -> Array:
        """As `stages.decide.decide`, head by head, so that work space does not grow with them."""
        xp, labels = self._arrays.xp, self._plan.labels
        codes = xp.zeros((last - first, *self._on.shape[1:]), labels.mask_dtype)
        best = None
        for index, channel in enumerate(self._sums[0]):
            values = self._lines.rows(self._arrays, channel, first, last, self._base)
            if self._rounded:
                values = values.astype("float16", copy=False)
            if labels.regions_class_order is not None:
                codes[values > REGION_THRESHOLD] = labels.regions_class_order[index]
            elif best is None:
                best = values
            else:
                codes[values > best] = index
                best = xp.maximum(best, values)
        return codes


def variants(plan: Plan, mirror: bool) -> list[Flips]:
    """Every combination of mirror axes in nnU-Net's order, as slices of the patch's axes; the first reverses none."""
    axes = plan.mirror_axes if mirror else ()
    combined = [chosen for size in range(len(axes) + 1) for chosen in itertools.combinations(axes, size)]
    return [
        tuple(slice(None, None, -1 if axis in chosen else None) for axis in range(plan.dimension))
        for chosen in combined
    ]
