"""The memory of a case on a device, known before it is run; and what is given up where it does not fit."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scanside.runtime.device.layout import Layout
from scanside.runtime.device.lines import decision_bytes, rows_at_a_time
from scanside.runtime.device.resample import work_bytes
from scanside.runtime.plan import Plan
from scanside.runtime.stages.resample import Shape, Spacing

_FULL = 4 << 20
"""Voxels of a batch beyond which a larger one only takes memory: two tiles of 128³ fill a GPU (a judgement, not yet
measured on one)."""


@dataclass(frozen=True)
class Need:
    """What a case takes on the device, bytes.

    Attributes:
        batch: Tiles and mirror variants at a time.
        depth: Rows of the sums that are held at a time.
        prepare: Most while the image is normalised and resampled.
        label: Most while the network runs and labels are decided, without the network.
        network: What a run of the network takes between input and output.
    """

    batch: int
    depth: int
    prepare: int
    label: int
    network: int

    @property
    def total(self) -> int:
        """The ceiling, beside the networks' weights, which are there already."""
        return max(self.prepare, self.label + self.network)


@dataclass(frozen=True)
class Case:
    """What decides the need: shapes alone.

    Attributes:
        box: (z, y, x) of the cropped image.
        image: (z, y, x) on the network's grid.
        current, target: Spacing of both, mm.
        inside: A mask of the image comes along.
        mirror: Mirror variants are averaged.
        folds: Networks whose mean is taken.
    """

    plan: Plan
    box: Shape
    image: Shape
    current: Spacing
    target: Spacing
    inside: bool = False
    mirror: bool = False
    folds: int = 1

    @property
    def variants(self) -> int:
        """Runs of one tile through one network."""
        return 2 ** len(self.plan.mirror_axes) if self.mirror else 1


def need(case: Case, on: Layout, batch: int, depth: int, network: int) -> Need:
    """What a case takes with one choice of batch and depth."""
    plan, tiles, heads = case.plan, on.tiles, case.plan.labels.heads
    channels, voxels, box = len(plan.channels), math.prod(case.image), math.prod(case.box)
    image = 4 * plan.input_channels * voxels
    raw = 4 * channels * box + (box if case.inside else 0)
    resampled = 0 if case.box == case.image else 4 * channels * voxels
    work = work_bytes(case.box, case.image, case.current, case.target, plan.resampling_data)
    stages = len(plan.previous_labels)
    joined = 4 * channels * voxels + image + stages * voxels if stages else 0
    prepare = max(raw + (12 if case.inside else 4) * box, raw + resampled + work, joined)
    patch, plane = math.prod(tiles.patch), (tiles.padded[1], tiles.padded[2])
    sums = 2 * (heads * on.sums(case.folds, depth) + 1) * depth * math.prod(plane)
    apart = 4 * heads * patch if batch % case.variants else 0
    tiles_in_and_out = 4 * batch * (plan.input_channels + heads) * patch + 6 * patch + apart
    a_row = decision_bytes(on.lines, plane, plan.resampling_probabilities.method != "torch")
    decided = max(window.last - window.first for window in on.windows(depth))
    decide = min(rows_at_a_time(a_row), decided) * a_row
    matrices = 4 * sum(one.matrix.size for one in on.lines if one.matrix is not None)
    return Need(batch, depth, prepare, image + sums + tiles_in_and_out + decide + matrices, network)


def choices(on: Layout, variants: int, most: int) -> Iterator[tuple[int, int]]:
    """(batch, depth), the fastest first. Fewer rows of sums cost next to nothing, a smaller batch costs time."""
    tile, batch = math.prod(on.tiles.patch), 1
    while 2 * batch <= min(most, variants * on.tiles.count) and 2 * batch * tile <= _FULL:
        batch *= 2
    whole, least = on.tiles.padded[0], on.least_depth
    depths = sorted({max(least, whole >> power) for power in range(whole.bit_length())}, reverse=True)
    while batch:
        yield from ((batch, depth) for depth in depths)
        batch //= 2


def fitting(
    case: Case, on: Layout, most: int, limit: int | None, network: Callable[[int], int]
) -> Iterator[Need]:
    """The choices that stay within the limit, the best first; none where nothing does.

    Args:
        most: Largest batch that the networks take.
        limit: Bytes; None for no limit.
        network: Batch → bytes of a run.
    """
    for batch, depth in choices(on, case.variants, most):
        needed = need(case, on, batch, depth, network(batch))
        if limit is None or needed.total <= limit:
            yield needed
