"""Is this an image of a patient at all, and how noisy? Looked at on pixels, since headers say nothing of it."""

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Mask
from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.body import block_means, block_sizes, body_mask
from scanside.runtime.remark import Remark
from scanside.runtime.study.records import SequenceImage
from scanside.runtime.volume import Volume

LOW_SNR = 3.0
"""Below this results are warned of."""
NO_SIGNAL = 2.0
"""Rayleigh noise alone has a mean of 1.91 standard deviations. (Not a limit by itself: with fat suppressed and b high,
most of a body may be as dark, and the lesion is not.)"""
NO_LIKENESS, LITTLE_LIKENESS = 0.2, 0.4
"""Neighbouring slices of a patient correlate with 0.8 to 0.99 (tests/runtime/study/test_checks.py), of noise with 0.0
± 0.05, interpolated or not. The second limit is for images below `NO_SIGNAL`: coils shade noise, slice after slice."""
_NEGATIVE, _DEEP = 0.01, -0.1
"""Part of the voxels that may lie below a tenth of the bright ones, with a minus: filters ring, but magnitudes are
positive. (A distortion-corrected T2 of Canon has 0.9 % negative voxels and none as deep; a phase image has 18 %.)"""


def check_picture(image: SequenceImage, body: Mask | None = None) -> list[str]:
    """Refuse a T2WI, DWI or low-b image that shows no patient; warn of a noisy one.

    Args:
        body: (Z, Y, X), of `body_of`, where it is known already.

    Raises:
        InputError: If slices within the stack are empty, values are no magnitudes, or there is nothing but noise.
    """
    what, data = f"{image.name} ({image.series})", image.volume.data[0]
    _refuse_empty_slices(data, what)
    if data.min() < 0 and _deep_part(data) > _NEGATIVE:
        raise InputError(
            f"{what} has {float((data < 0).mean()):.0%} negative values, which no magnitude image has; give the "
            "magnitude images, not phase or real ones."
        )
    likeness, snr = likeness_of_slices(image.volume), signal_to_noise(image.volume, body)
    if likeness < (LITTLE_LIKENESS if snr < NO_SIGNAL else NO_LIKENESS):
        raise InputError(
            f"{what} shows nothing but noise (signal-to-noise {snr:.1f}, neighbouring slices correlate with "
            f"{likeness:.2f}); repeat the series, or check that coil and sequence were right."
        )
    if snr < LOW_SNR:
        noisy = f"{image.name} is noisy (signal-to-noise about {snr:.1f}); results may be unreliable."
        return [Remark(noisy, "noisy")]
    return []


def signal_to_noise(volume: Volume, body: Mask | None = None) -> float:
    """A hint: median signal of the body over the noise, from differences that anatomy hardly shows; inf without noise.

    Args:
        body: (Z, Y, X), of `body_of`, where it is known already.

    Source: Immerkær, Comput. Vis. Image Underst. 64, 300 (1996): the in-plane difference of two Laplacians.
    """
    data = volume.data[0]
    if body is None:
        body = body_of(volume)
    details = []
    for plane, inside in zip(data, body, strict=True):  # a slice's float64 stays in the cache
        # Second differences along both axes are the kernel [1 -2 1; -2 4 -2; 1 -2 1].
        across = np.diff(np.pad(plane.astype(np.float64), 1, mode="edge"), 2, axis=0)
        details.append(np.abs(np.diff(across, 2, axis=1)[inside]))
    noise = float(np.median(np.concatenate(details), overwrite_input=True)) / 0.6745 / 6.0
    signal = float(np.median(data[body].astype(np.float64), overwrite_input=True))
    return signal / noise if noise > 0 else float("inf")


def body_of(volume: Volume) -> Mask:
    """The body in the first channel, (Z, Y, X), found in blocks of about 4 mm as for radiomics.

    Pixels at the far borders that fill no block are left out.
    """
    data = volume.data[0]
    mask = body_mask(block_means(data, volume.geometry.spacing))
    for axis, pixels in enumerate(block_sizes(data.shape, volume.geometry.spacing), start=1):
        mask = np.repeat(mask, pixels, axis)
    rest = [(0, whole - part) for whole, part in zip(data.shape, mask.shape, strict=True)]
    return np.pad(mask, rest)


def _deep_part(data: npt.NDArray[np.float32]) -> float:
    """Part of the voxels that are far below 0, measured by the bright ones."""
    bright = float(np.percentile(data, 99))
    return float((data < _DEEP * max(bright, 0)).mean())


def likeness_of_slices(volume: Volume) -> float:
    """Median correlation of neighbouring slices, in blocks of 4 mm; 1 for a single slice.

    Noise is new in every slice, however it was filtered within them; a body goes on.
    """
    blocks = block_means(volume.data[0], volume.geometry.spacing)
    flat = blocks.reshape(len(blocks), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1)
    pairs = lengths[1:] * lengths[:-1]
    alike = (flat[1:] * flat[:-1]).sum(axis=1)[pairs > 0] / pairs[pairs > 0]
    return float(np.median(alike)) if alike.size else 1.0


def _refuse_empty_slices(data: npt.NDArray[np.float32], what: str) -> None:
    """Empty slices at an end may be padding; one in the middle has lost its pixels."""
    empty = data.max(axis=(1, 2)) == data.min(axis=(1, 2))
    filled = np.flatnonzero(~empty)
    lost = np.flatnonzero(empty[filled[0] : filled[-1]]) + filled[0] if filled.size else empty[:0]
    if len(lost):
        raise InputError(
            f"{what} has {len(lost)} empty slice(s) among the others, the first is number {lost[0] + 1} of "
            f"{len(data)}; send the series again."
        )
