"""nnU-Net's intensity normalisations, in float32 as nnU-Net computes them.

Source: nnU-Net v2 `preprocessing/normalization/default_normalization_schemes.py`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Mask
from scanside.runtime.errors import InputError
from scanside.runtime.plan import Normalization, Plan
from scanside.runtime.stages.crop import Cropped

Image = npt.NDArray[np.float32]
EPSILON = 1e-8


def normalise(cropped: Cropped, plan: Plan) -> Image:
    """Normalise every channel in place, before resampling, and return the (C, z, y, x) float32 array."""
    for index, channel in enumerate(plan.channels):
        scheme = channel.normalization
        with np.errstate(over="ignore", invalid="ignore"):  # refused below, in words
            _SCHEMES[scheme.scheme](cropped.data[index], cropped.mask if scheme.use_mask else None, scheme)
    return cropped.data


def _zscore(image: Image, mask: Mask | None, scheme: Normalization) -> None:
    if mask is None:
        mean, deviation = _finite(image.mean()), _finite(image.std())
        image -= mean
        image /= max(deviation, EPSILON)
        return
    inside = image[mask]
    if inside.size:  # an all-zero image has no inside
        image[mask] = (inside - _finite(inside.mean())) / max(_finite(inside.std()), EPSILON)


def _finite(value: np.floating[Any]) -> Any:
    """The value, where float32 can hold it; beyond, nnU-Net's division would give zeros or NaN without a word."""
    if not np.isfinite(value):
        raise InputError(
            "The image holds values so large (beyond 1e18) that they cannot be normalised in float32; look for a "
            "damaged voxel, or export the image again."
        )
    return value


def _ct(image: Image, mask: Mask | None, scheme: Normalization) -> None:
    assert scheme.mean is not None and scheme.std is not None
    np.clip(image, scheme.percentile_00_5, scheme.percentile_99_5, out=image)
    image -= scheme.mean
    image /= max(scheme.std, EPSILON)


def _none(image: Image, mask: Mask | None, scheme: Normalization) -> None:
    return


def _rescale(image: Image, mask: Mask | None, scheme: Normalization) -> None:
    image -= image.min()
    image /= np.clip(_finite(image.max()), a_min=EPSILON, a_max=None)


def _rgb(image: Image, mask: Mask | None, scheme: Normalization) -> None:
    refuse_other_colours(float(image.min()), float(image.max()))
    image /= 255.0


def refuse_other_colours(low: float, high: float) -> None:
    """Raise InputError where an image of 8-bit colours holds other values."""
    if low < 0 or high > 255:
        raise InputError(
            f"The model was trained on 8-bit colour values, but the image holds {low:g} to {high:g}; "
            "give it the picture as it was trained."
        )


_SCHEMES: dict[str, Callable[[Image, Mask | None, Normalization], None]] = {
    "ZScoreNormalization": _zscore,
    "CTNormalization": _ct,
    "NoNormalization": _none,
    "RescaleTo01Normalization": _rescale,
    "RGBTo01Normalization": _rgb,
}
