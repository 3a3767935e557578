"""nnU-Net's intensity normalisations on a device: those of `stages/normalise.py`, with sums in float64."""

from collections.abc import Callable

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.plan import Normalization, Plan
from scanside.runtime.stages.normalise import EPSILON, refuse_other_colours

_Scheme = Callable[[Arrays, Array, Array | None, Normalization], None]


def normalise(arrays: Arrays, image: Array, mask: Array | None, plan: Plan) -> None:
    """Normalise every channel of (C, z, y, x) float32 in place.

    Args:
        mask: (z, y, x) bool on the device where a channel is normalised inside alone.

    Raises:
        InputError: If the image does not hold what a scheme takes.
    """
    for channel, recipe in zip(image, plan.channels, strict=True):
        scheme = recipe.normalization
        SCHEMES[scheme.scheme](arrays, channel, mask if scheme.use_mask else None, scheme)


def _zscore(arrays: Arrays, image: Array, mask: Array | None, scheme: Normalization) -> None:
    kind = arrays.xp.float64
    if mask is None:
        image -= float(image.mean(dtype=kind))
        image /= max(float((image * image).mean(dtype=kind)) ** 0.5, EPSILON)
        return
    count = int(mask.sum())
    if count:  # an all-zero image has no inside
        mean = float((image * mask).sum(dtype=kind)) / count
        inside = (image - mean) * mask
        deviation = (float((inside * inside).sum(dtype=kind)) / count) ** 0.5
        inside /= max(deviation, EPSILON)
        image[...] = arrays.xp.where(mask, inside, image)


def _ct(arrays: Arrays, image: Array, mask: Array | None, scheme: Normalization) -> None:
    assert scheme.mean is not None and scheme.std is not None
    arrays.xp.maximum(image, scheme.percentile_00_5, out=image)
    arrays.xp.minimum(image, scheme.percentile_99_5, out=image)
    image -= scheme.mean
    image /= max(scheme.std, EPSILON)


def _none(arrays: Arrays, image: Array, mask: Array | None, scheme: Normalization) -> None:
    return


def _rescale(arrays: Arrays, image: Array, mask: Array | None, scheme: Normalization) -> None:
    image -= float(image.min())
    image /= max(float(image.max()), EPSILON)


def _rgb(arrays: Arrays, image: Array, mask: Array | None, scheme: Normalization) -> None:
    refuse_other_colours(float(image.min()), float(image.max()))
    image /= 255.0


SCHEMES: dict[str, _Scheme] = {
    "ZScoreNormalization": _zscore,
    "CTNormalization": _ct,
    "NoNormalization": _none,
    "RescaleTo01Normalization": _rescale,
    "RGBTo01Normalization": _rgb,
}
