"""The sliding window: tiles, mirror variants, Gaussian weights and float16 accumulation.

Source: nnU-Net v2 `inference/sliding_window_prediction.py` and `predict_from_raw_data.py`; the accumulation
reproduces its CPU path bit by bit, given the same network outputs.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Labels, Plan
from scanside.runtime.stages.body import Body
from scanside.runtime.stages.float16 import HALF_MAX, encode_half, exceeds_half, round_to_half

Network = Callable[[Float32], Float32]
"""(1, C, *patch) float32 → (1, K, *patch) float32, a fresh array."""
Progress = Callable[[int, int], None]
GAUSSIAN_PEAK = 10.0
_CACHED = 32_768
"""Values added at a time: few enough that the work space stays in the cache, enough that calls cost little."""
CERTAIN = 20.0
"""Logit of background where nothing was computed, and minus that of everything else: a probability of 1 in float32."""


@dataclass(frozen=True)
class Tiling:
    """Where the tiles lie. A 2-D network has tiles of one row along the first axis.

    Attributes:
        patch: (z, y, x) tile shape.
        padded: Shape of the image padded to at least one tile.
        pad_below: Voxels added before the image along each axis.
        starts: Tile starts along each axis, ascending.
    """

    patch: tuple[int, int, int]
    padded: tuple[int, int, int]
    pad_below: tuple[int, int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return math.prod(len(starts) for starts in self.starts)

    def holds(self, body: Body, start: tuple[int, int, int], shape: tuple[int, ...]) -> bool:
        """Whether the tile at `start` holds something of the body in an image of `shape`."""
        first = tuple(at - below for at, below in zip(start, self.pad_below, strict=True))
        last = tuple(at + length for at, length in zip(first, self.patch, strict=True))
        return body.touches(first, last, shape)

    def held(self, body: Body, shape: tuple[int, ...]) -> int:
        """Number of tiles that hold something of the body."""
        return sum(self.holds(body, (z, y, x), shape) for z, y, x in itertools.product(*self.starts))


def tiling(shape: tuple[int, ...], patch_size: tuple[int, ...], step: float) -> Tiling:
    """Lay tiles over an image of `shape` (network axis order).

    Args:
        patch_size: Two or three sizes.
        step: Largest step between tiles as a part of the tile, 0 < step ≤ 1.
    """
    patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)
    missing = [max(0, tile - size) for size, tile in zip(shape, patch, strict=True)]
    padded = [size + extra for size, extra in zip(shape, missing, strict=True)]
    starts = [
        tuple(range(size)) if len(patch_size) == 2 and axis == 0 else _tile_starts(size, tile, step)
        for axis, (size, tile) in enumerate(zip(padded, patch, strict=True))
    ]
    return Tiling(
        (patch[0], patch[1], patch[2]),
        (padded[0], padded[1], padded[2]),
        (missing[0] // 2, missing[1] // 2, missing[2] // 2),
        (starts[0], starts[1], starts[2]),
    )


@lru_cache(maxsize=4)
def gaussian_weights(patch_size: tuple[int, ...]) -> Float32:
    """Gaussian importance map of a tile, float32 holding float16 values, peak 10.

    nnU-Net casts with torch, which rounds float64 → float32 → float16; numpy would round once.
    """
    from scipy import ndimage

    impulse = np.zeros(patch_size)
    impulse[tuple(size // 2 for size in patch_size)] = 1
    weights = ndimage.gaussian_filter(impulse, [size / 8 for size in patch_size], 0, mode="constant", cval=0)
    weights /= weights.max() / GAUSSIAN_PEAK
    half = weights.astype(np.float32).astype(np.float16)
    half[half == 0] = half[half > 0].min()
    return half.astype(np.float32)


def slide(
    data: Float32,
    network: Network,
    plan: Plan,
    step: float,
    mirror: bool,
    progress: Progress,
    body: Body | None = None,
) -> npt.NDArray[np.float16]:
    """Logits of the whole image.

    Args:
        data: (C, z, y, x) float32, normalised and resampled.
        step: Tile step as a part of the tile; 0.5 is nnU-Net's.
        mirror: Average over all mirror variants that the plan allows.
        progress: Called with (tiles done, tiles in all).
        body: Only tiles that it touches are computed; None for all.

    Returns:
        (K, z, y, x) float16.

    Raises:
        CaseError: If the network gives NaN or values beyond float16, where nnU-Net stops as well.
    """
    tiles = tiling(data.shape[1:], plan.patch_size, step)
    weights = gaussian_weights(plan.patch_size).reshape(tiles.patch)
    axes = plan.mirror_axes if mirror else ()
    logits = np.empty((plan.labels.heads, *data.shape[1:]), dtype=np.float16)
    rows = _Rows(plan.labels, tiles, weights, logits)
    done = 0
    for z in tiles.starts[0]:
        rows.advance(z)
        for y, x in itertools.product(*tiles.starts[1:]):
            if body is None or tiles.holds(body, (z, y, x), data.shape[1:]):
                tile = cut(data, tiles, (z, y, x))
                if plan.dimension == 2:
                    tile = tile[:, :, 0]
                rows.add(_predict(network, tile, axes).reshape(-1, *tiles.patch), y, x)
            done += 1
            progress(done, tiles.count)
    rows.advance(tiles.padded[0])
    return logits


def average_folds(total: Float32 | None, logits: npt.NDArray[np.float16]) -> Float32:
    """Running sum over folds with nnU-Net's float16 rounding after each addition; start with None."""
    addend = logits.astype(np.float32)
    if total is None:
        return addend
    total += addend
    _round(total, "folds")
    return total


def finish_average(total: Float32, folds: int) -> npt.NDArray[np.float16]:
    """The float16 mean of `folds` summed with `average_folds`."""
    if folds > 1:
        total /= folds
        _round(total, "folds")
    return encode_half(total)


class _Rows:
    """Accumulators for the rows of the first axis that the tiles at hand touch; finished rows are divided by
    their weights and written out, so full-size float accumulators never exist."""

    def __init__(
        self, labels: Labels, tiles: Tiling, weights: Float32, logits: npt.NDArray[np.float16]
    ) -> None:
        self._sums = np.zeros((labels.heads + 1, tiles.patch[0], *tiles.padded[1:]), dtype=np.float32)
        self._tiles, self._weights, self._logits = tiles, weights, logits
        self._first, self._planes = 0, max(1, _CACHED // math.prod(tiles.patch[1:]))
        overlap = math.prod(
            max(sum(s <= at < s + tile for s in starts) for at in starts)
            for starts, tile in zip(tiles.starts, tiles.patch, strict=True)
        )
        self._background = np.full(labels.heads + 1, -CERTAIN, np.float32)
        self._background[-1] = 1  # the weight
        if not labels.has_regions:
            self._background[0] = CERTAIN
        self._safe = HALF_MAX / (GAUSSIAN_PEAK * overlap)

    def add(self, prediction: Float32, y: int, x: int) -> None:
        """Add one tile's (K, *patch) prediction, which is overwritten, and its weights."""
        peak = max(float(prediction.max()), -float(prediction.min()))
        if math.isnan(peak):
            raise CaseError(
                "The network returned NaN for this image; check the model and the image intensities."
            )
        may_overflow = not peak < self._safe
        prediction *= self._weights
        _, height, width = self._tiles.patch
        window = self._sums[:, :, y : y + height, x : x + width]
        for channel in range(len(window)):
            addend = prediction[channel] if channel < len(prediction) else self._weights
            for first in range(0, len(addend), self._planes):
                part = window[channel, first : first + self._planes]
                total = part + addend[first : first + self._planes]
                if may_overflow and exceeds_half(total):
                    raise CaseError(
                        f"The network's outputs reach {peak:.3g}, beyond what nnU-Net's float16 sums can hold; "
                        "the image intensities are probably not what the model was trained on."
                    )
                round_to_half(total)
                part[...] = total

    def advance(self, z: int) -> None:
        """Finish and write out all rows before `z`; further tiles start there."""
        count = z - self._first
        if count <= 0:
            return
        depth = self._sums.shape[1]
        for row in range(min(count, depth)):
            self._write(self._first + row, self._sums[:, row])
        if count < depth:
            for row in range(depth - count):  # one by one: a whole copy would be the peak of memory
                self._sums[:, row] = self._sums[:, row + count]
        self._sums[:, max(0, depth - count) :] = 0
        self._first = z

    def _write(self, padded_row: int, sums: Float32) -> None:
        below, (_, depth, height, width) = self._tiles.pad_below, self._logits.shape
        row = padded_row - below[0]
        if not 0 <= row < depth:
            return
        inside = sums[:, below[1] : below[1] + height, below[2] : below[2] + width]
        if not inside[-1].all():  # no tile was computed there
            inside[:, inside[-1] == 0] = self._background[:, None]
        mean = inside[:-1] / inside[-1]
        _round(mean, "tiles")
        self._logits[:, row] = encode_half(mean)


def _round(values: Float32, what: str) -> None:
    if exceeds_half(values):
        raise CaseError(
            f"The mean logits over {what} exceed float16, where nnU-Net stops as well; check the model."
        )
    round_to_half(values)


def _tile_starts(size: int, tile: int, step: float) -> tuple[int, ...]:
    count = math.ceil((size - tile) / (tile * step)) + 1
    actual = (size - tile) / (count - 1) if count > 1 else 0.0
    return tuple(int(np.round(actual * index)) for index in range(count))


def cut(data: Float32, tiles: Tiling, start: tuple[int, int, int]) -> Float32:
    """One (1, C, *patch) tile, zero where it reaches over the image's edge."""
    tile = np.zeros((1, data.shape[0], *tiles.patch), dtype=np.float32)
    source, target = within(tiles, start, data.shape[1:])
    tile[0][target] = data[source]
    return tile


def within(
    tiles: Tiling, start: tuple[int, int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of (C, z, y, x) `shape` that the tile at `start` covers, and the part of the tile that it fills."""
    source, target = [slice(None)], [slice(None)]
    for at, below, length, size in zip(start, tiles.pad_below, tiles.patch, shape, strict=True):
        first, last = max(0, at - below), min(size, at - below + length)
        source.append(slice(first, last))
        target.append(slice(first + below - at, last + below - at))
    return tuple(source), tuple(target)


def _predict(network: Network, tile: Float32, mirror_axes: tuple[int, ...]) -> Float32:
    """Mean over the mirror variants, in nnU-Net's order, of one tile: (K, *patch)."""
    total = network(tile)
    axes = [axis + 2 for axis in mirror_axes]
    variants = [c for size in range(1, len(axes) + 1) for c in itertools.combinations(axes, size)]
    for flipped in variants:
        total += np.flip(network(np.ascontiguousarray(np.flip(tile, flipped))), flipped)
    if variants:
        total /= len(variants) + 1
    return total[0]
