"""From logits to label values, and where that decision is certain under linear interpolation.

Certainty is what makes the certified argmax of `label.py` exact: a linearly interpolated logit is a convex
combination of its corner logits, so where all corners agree by more than the rounding error can move them, the
interpolated voxel has the same label and need not be interpolated at all.
"""

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.plan import Labels
from scanside.runtime.stages.softmax import sigmoid, softmax

Codes = npt.NDArray[np.uint16]

UNSURE = np.uint16(65535)
REGION_THRESHOLD = np.float32(2.0**-24)
"""`sigmoid(x) > 0.5` in float32 holds for float16 logits x above this, not for x = 2^-24 itself."""
_REGION_CERTAIN = np.float32(2.0**-22)


def decide(logits: Float32, labels: Labels) -> Codes:
    """Label value of each voxel.

    Args:
        logits: (K, ...) float32.

    Returns:
        (...) uint16: argmax with the first index winning ties, or for regions the class of the last region in
        `regions_class_order` whose probability is above one half.

    Source: nnU-Net v2 `label_handling.py:convert_logits_to_segmentation`.
    """
    if labels.regions_class_order is None:
        return logits.argmax(axis=0).astype(np.uint16)
    mask = np.zeros(logits.shape[1:], dtype=np.uint16)
    for channel, value in zip(logits, labels.regions_class_order, strict=True):
        mask[channel > REGION_THRESHOLD] = value
    return mask


def decide_probabilities(probabilities: Float32, labels: Labels) -> Codes:
    """Label value of each voxel from softmax or sigmoid probabilities (used when these are saved)."""
    if labels.regions_class_order is None:
        return probabilities.argmax(axis=0).astype(np.uint16)
    mask = np.zeros(probabilities.shape[1:], dtype=np.uint16)
    for channel, value in zip(probabilities, labels.regions_class_order, strict=True):
        mask[channel > 0.5] = value
    return mask


def probabilities_of(logits: Float32, labels: Labels) -> Float32:
    """Softmax over axis 0, or sigmoid for regions, float32, with PyTorch's very bits. Overwrites `logits`."""
    return sigmoid(logits) if labels.has_regions else softmax(logits)


def margin(logits: Float32, labels: Labels) -> Float32:
    """How far each voxel is from another label: top-1 minus top-2 logit, or the smallest |logit| of a region."""
    if labels.has_regions:
        return np.abs(logits).min(axis=0)
    best, second = logits[0].copy(), np.full(logits.shape[1:], -np.inf, dtype=np.float32)
    for channel in logits[1:]:
        np.maximum(second, np.minimum(best, channel), out=second)
        np.maximum(best, channel, out=best)
    return best - second


def certain(logits: Float32, labels: Labels, noise: float) -> Codes:
    """A code per voxel such that a cell whose corners share one code other than UNSURE has that code's label.

    Args:
        logits: (K, ...) float32 on the network's grid.
        noise: What rounding may move the difference of two interpolated logits by.
    """
    if not labels.has_regions:
        codes = logits.argmax(axis=0).astype(np.uint16)
        codes[margin(logits, labels) <= noise] = UNSURE
        return codes
    codes = np.zeros(logits.shape[1:], dtype=np.uint16)
    for index, channel in enumerate(logits, start=1):
        # The last positive region decides, whatever the earlier ones are.
        codes[channel > 0] = UNSURE
        codes[channel > _REGION_CERTAIN + np.float32(noise)] = index
    return codes


def code_values(labels: Labels) -> Codes:
    """Look-up table from the codes of `certain` to label values."""
    if labels.regions_class_order is None:
        return np.arange(labels.heads, dtype=np.uint16)
    return np.array((0, *labels.regions_class_order), dtype=np.uint16)
