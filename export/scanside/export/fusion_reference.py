"""The reference of a mask that two sequences decide: the rule written out, by other means than the runtime's.

Gauss filter as a sum in float64, interpolation and components by SimpleITK.
"""

import numpy as np
import SimpleITK as sitk

from scanside.runtime.arrays import Float32, Float64, Mask, Uint8
from scanside.runtime.images.write import to_itk
from scanside.runtime.manifest import Fusion
from scanside.runtime.plan import Plan
from scanside.runtime.study.fusion import EDGE
from scanside.runtime.volume import Geometry

_OUTSIDE = -1.0


def reference_mask(
    own: tuple[Float32, Geometry], other: tuple[Float32, Geometry], fusion: Fusion, plan: Plan
) -> tuple[Uint8, float]:
    """What a fusion makes of two segmenters' probabilities.

    Args:
        own, other: Probabilities (Z, Y, X) and where they lie.
        plan: Of the own segmenter: its label, and whether only the largest component stays.

    Returns:
        The mask, and how near the sum of any voxel comes to its limit.
    """
    blurred = _blurred(np.clip(other[0], EDGE, 1 - EDGE).astype(np.float64), other[1], fusion.blur_mm)
    empty = to_itk(np.zeros(own[1].shape), own[1])
    seen = sitk.GetArrayFromImage(
        sitk.Resample(to_itk(blurred, other[1]), empty, sitk.Transform(), sitk.sitkLinear, _OUTSIDE)
    )
    alone, acquired = _log_odds(np.clip(own[0], EDGE, 1 - EDGE).astype(np.float64)), seen >= 0
    with np.errstate(invalid="ignore"):
        total = np.where(acquired, alone + fusion.weight * _log_odds(seen) - fusion.limit, alone)
    found = total > 0
    if plan.postprocessing:
        found = _largest(found)
    return (found * plan.labels.foreground[0]).astype(np.uint8), float(np.abs(total).min())


def _blurred(probability: Float64, grid: Geometry, blur_mm: float) -> Float64:
    """A Gauss filter cut at four standard deviations; beyond the image it is mirrored."""
    for axis, step in enumerate(grid.spacing):
        sigma = blur_mm / step
        reach = int(4 * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-9)) ** 2)
        width = [(reach, reach) if one == axis else (0, 0) for one in range(3)]
        padded = np.pad(probability, width, mode="symmetric")
        size = probability.shape[axis]
        shifted = (np.take(padded, np.arange(start, start + size), axis) for start in range(2 * reach + 1))
        probability = sum(w * part for w, part in zip(weights / weights.sum(), shifted, strict=True))
    return probability


def _log_odds(probability: Float64) -> Float64:
    return np.asarray(np.log(probability / (1 - probability)))


def _largest(found: Mask) -> Mask:
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8)), True)
    return np.asarray(sitk.GetArrayFromImage(sitk.RelabelComponent(parts)) == 1)
