"""How far a lesion stands out from the tissue around it."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

NEAR_MM, FAR_MM = 2.0, 10.0
"""The surroundings of a lesion: this far from its edge."""
LIMITS = (0.0, 1.0, 2.0, 3.0, np.inf)
"""Bands of contrast that are looked at on their own."""


def contrast(
    image: npt.NDArray[np.float32], lesion: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> float:
    """How far a lesion's mean lies from that of its surroundings, in standard deviations of the surroundings.

    Args:
        image, lesion: (Z, Y, X).
        spacing: (Z, Y, X), mm.
    """
    distance = ndimage.distance_transform_edt(~lesion, sampling=spacing)
    around = image[(distance > NEAR_MM) & (distance <= FAR_MM)].astype(np.float64)
    return float(abs(image[lesion].mean(dtype=np.float64) - around.mean()) / around.std())


def band(value: float) -> str:
    """The name of the band of a contrast: `contrast 1 to 2`, `contrast from 3`."""
    low, high = next((low, high) for low, high in pairwise(LIMITS) if value < high)
    return f"contrast {low:g} to {high:g}" if np.isfinite(high) else f"contrast from {low:g}"
