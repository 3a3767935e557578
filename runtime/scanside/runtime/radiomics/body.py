"""Grey values of arbitrary units → standard deviations: z-score over the patient's body.

MR signal has no unit: the same tissue differs between scanners and coils. Over the whole image a z-score would depend
on how much air the field of view holds; over the body it does not. (Scaling by a reference tissue, muscle or spleen,
would need a mask of it, which nothing here gives; Nyúl's histogram must be fitted to a cohort, inside folds.)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.radiomics.config import Normalise
from scanside.runtime.volume import Volume

BLOCK = 4.0
"""mm: within slices pixels are averaged over blocks of about this size. Noise, which differs between scanners, is then
little in the deviation, and the body is found in a tenth of the voxels."""
_BINS = 256
_NOISE = 0.71
"""Otsu's separability above which there are two classes: on square roots, Rayleigh noise alone has 0.64 to 0.70."""
_TRIM = (1.0, 99.0)
"""Percentiles of the body between which mean and standard deviation are taken: no spike, no vessel flash."""


@dataclass(frozen=True)
class Scaling:
    """`(value - mean) / deviation * scale`, then cut off at ±`limit`."""

    mean: float
    deviation: float
    scale: float
    limit: float | None

    def apply(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The scaled values, a new array."""
        scaled = (values - self.mean) / self.deviation
        if self.limit is not None:
            scaled = np.clip(scaled, -self.limit, self.limit)
        return scaled * self.scale


def scaling(volume: Volume, how: Normalise) -> Scaling | None:
    """How the first channel of an image is normalised, or None when all its grey values are one.

    `image` is pyradiomics' `normalize` (sample standard deviation over all voxels). `none` changes nothing.
    """
    if how.method == "none":
        return Scaling(0.0, 1.0, how.scale, how.outliers)
    if how.method == "image":
        values = volume.data[0].astype(np.float64).ravel()
        mean, deviation = float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else 0.0
    else:
        values = block_means(volume.data[0], volume.geometry.spacing)
        inside = values[body_mask(values)]
        low, high = np.percentile(inside, _TRIM)
        inside = inside[(inside >= low) & (inside <= high)]
        mean, deviation = float(inside.mean()), float(inside.std())
    if not deviation > 0:
        return None
    return Scaling(mean, deviation, how.scale, how.outliers)


def body_mask(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The body in a magnitude image, (Z, Y, X): True inside; everything, where nothing stands out.

    Otsu's threshold on square roots (with them noise is about as wide in tissue as in air). Where fluid or liver is so
    bright that the threshold falls between tissues, the darker class is split again, as long as that separates
    better than the split before and better than it would separate noise. Then the largest component and, within slices,
    what lies between two of its parts both in its row and in its column: fat that is suppressed, air in the bowel.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    roots = np.sqrt(np.clip(values, 0, None))
    ordered = np.sort(roots, axis=None)  # once for the percentile and every histogram
    brightest = np.percentile(ordered, _TRIM[1])
    roots, ordered = np.minimum(roots, brightest), np.minimum(ordered, brightest)
    split = _otsu(ordered)
    if split is None:
        return np.ones(values.shape, dtype=bool)
    while (lower := _otsu(ordered[: np.searchsorted(ordered, split[0], "right")])) and (
        lower[1] > max(split[1], _NOISE)
    ):
        split = lower
    components, _ = ndimage.label(roots > split[0])
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = components == sizes.argmax()
    return _between(largest, 1) & _between(largest, 2)


def _between(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Everything from the first to the last True along an axis."""
    size = mask.shape[axis]
    first = np.expand_dims(mask.argmax(axis), axis)
    last = size - 1 - np.expand_dims(np.flip(mask, axis).argmax(axis), axis)
    last = np.where(mask.any(axis, keepdims=True), last, -1)
    place = np.arange(size).reshape([-1 if other == axis else 1 for other in range(mask.ndim)])
    return np.asarray((place >= first) & (place <= last))


def block_sizes(shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, int]:
    """Pixels of a block, (y, x), in an image of (Z, Y, X) with a spacing in mm."""
    y, x = (
        min(size, max(1, round(BLOCK / spacing)))
        for size, spacing in zip(shape[1:], spacing[1:], strict=True)
    )
    return y, x


def block_means(
    data: npt.NDArray[np.float32], spacing: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Means over blocks of about `BLOCK` within slices; what does not fill a block at the far border is left out."""
    y, x = block_sizes(data.shape, spacing)
    rows, columns = data.shape[1] // y, data.shape[2] // x
    data = data[:, : rows * y, : columns * x]
    lines = data[:, ::y].astype(np.float64)  # strided sums are several times faster than a mean over two axes
    for row in range(1, y):
        lines += data[:, row::y]
    blocks = lines[:, :, ::x].copy()
    for column in range(1, x):
        blocks += lines[:, :, column::x]
    blocks /= y * x
    return blocks


def _otsu(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """The threshold with the largest variance between two classes, and its part of the whole variance.

    Of sorted values; None for one grey value.
    """
    low, high = float(values[0]), float(values[-1])
    if not high > low:
        return None
    edges = np.linspace(low, high, _BINS + 1)
    counts = np.diff([*np.searchsorted(values, edges[:-1]), values.size])  # numpy.histogram's
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / above  # the lowest and highest bin are never empty
    between = below * above * (means[1] - means[0]) ** 2
    best = int(np.argmax(between))
    whole = float((counts * (centres - sums[-1] / values.size) ** 2).sum()) * values.size
    return float(edges[best + 1]), float(between[best]) / whole
