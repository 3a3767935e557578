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
    roots = np.minimum(roots, np.percentile(roots, _TRIM[1]))
    split = _otsu(roots)
    if split is None:
        return np.ones(values.shape, dtype=bool)
    while (lower := _otsu(roots[roots <= split[0]])) and lower[1] > max(split[1], _NOISE):
        split = lower
    components, _ = ndimage.label(roots > split[0])
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = components == sizes.argmax()
    return _between(largest, 1) & _between(largest, 2)


def _between(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Everything from the first to the last True along an axis."""
    before = np.logical_or.accumulate(mask, axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return np.asarray(before & after)


def block_means(
    data: npt.NDArray[np.float32], spacing: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Means over blocks of about `BLOCK` within slices; what does not fill a block at the far border is left out."""
    depth, *sizes = data.shape
    y, x = (
        min(size, max(1, round(BLOCK / spacing))) for size, spacing in zip(sizes, spacing[1:], strict=True)
    )
    rows, columns = sizes[0] // y, sizes[1] // x
    blocks = data[:, : rows * y, : columns * x].reshape(depth, rows, y, columns, x)
    return blocks.mean(axis=(2, 4), dtype=np.float64)


def _otsu(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """The threshold with the largest variance between two classes, and its part of the whole variance.

    None for one grey value.
    """
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return None
    counts, edges = np.histogram(values, _BINS, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / above  # the lowest and highest bin are never empty
    between = below * above * (means[1] - means[0]) ** 2
    best = int(np.argmax(between))
    whole = float((counts * (centres - sums[-1] / values.size) ** 2).sum()) * values.size
    return float(edges[best + 1]), float(between[best]) / whole
