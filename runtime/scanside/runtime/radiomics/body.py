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
from scanside.runtime.volume import Geometry, Volume

PITCH = 4.0
"""mm: within slices the body is looked at on every n-th pixel, about this far apart. A mean needs no more."""
_BINS = 256
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
        values = _sparse(volume.data[0], volume.geometry)
        inside = values[body_mask(values)]
        low, high = np.percentile(inside, _TRIM)
        inside = inside[(inside >= low) & (inside <= high)]
        mean, deviation = float(inside.mean()), float(inside.std())
    if not deviation > 0:
        return None
    return Scaling(mean, deviation, how.scale, how.outliers)


def body_mask(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The body in a magnitude image, (Z, Y, X): True inside; everything, where nothing stands out.

    Otsu's threshold on square roots (with them noise is about as wide in tissue as in air, and bright fluid or fat does
    not draw the threshold up between tissues), the largest component, holes within slices filled.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    roots = np.sqrt(np.clip(values, 0, None))
    roots = np.minimum(roots, np.percentile(roots, _TRIM[1]))
    threshold = _otsu(roots)
    if threshold is None:
        return np.ones(values.shape, dtype=bool)
    components, _ = ndimage.label(roots > threshold)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = components == sizes.argmax()
    return np.stack([ndimage.binary_fill_holes(part) for part in largest])


def _sparse(data: npt.NDArray[np.float32], geometry: Geometry) -> npt.NDArray[np.float64]:
    _, y, x = (max(1, int(PITCH / spacing)) for spacing in geometry.spacing)
    return data[:, ::y, ::x].astype(np.float64)


def _otsu(values: npt.NDArray[np.float64]) -> float | None:
    """The threshold between two classes of largest between-class variance; None for one grey value."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return None
    counts, edges = np.histogram(values, _BINS, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    difference = (
        sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    )  # the lowest and highest bin are never empty
    return float(edges[1:-1][np.argmax(below * above * difference**2)])
