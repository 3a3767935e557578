"""Logits on the network's grid → labels on the image's grid, without ever holding full-resolution logits.

nnU-Net resamples the logits of all classes to full resolution and takes the argmax, which for many classes costs
minutes and tens of gigabytes. Here labels are first settled where all corners of an interpolation cell agree
beyond rounding (`decide.certain`), and only the remaining boundary voxels are interpolated, with scipy's exact
order of operations, so that the labels are bit-identical.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.plan import Plan
from scanside.runtime.stages import linear
from scanside.runtime.stages.decide import (
    REGION_THRESHOLD,
    UNSURE,
    Codes,
    certain,
    code_values,
    decide,
    decide_probabilities,
    probabilities_of,
)
from scanside.runtime.stages.float16 import decode_half, largest_half
from scanside.runtime.stages.resample import (
    Shape,
    Spacing,
    nearest_index,
    resample_image,
    separate_axis,
)

Logits = npt.NDArray[np.float16]
_CHUNK = 262_144
"""Boundary voxels interpolated at a time: bounds the work space to a few tens of MB."""
_LINEAR_NOISE = 1e-5
"""Float32 linear interpolation moves a logit by less than this part of the largest one."""


@dataclass(frozen=True)
class Axis:
    """Where each target index of an axis lies between two source indices, and the weights of both."""

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    weight_lower: npt.NDArray[np.floating]
    weight_upper: npt.NDArray[np.floating]


def label(logits: Logits, shape: Shape, current: Spacing, new: Spacing, plan: Plan) -> Codes:
    """Label values on the image's grid.

    Args:
        logits: (K, z, y, x) float16, finite, on the network's grid.
        shape: Shape of the box on the image's grid, network axis order.
        current, new: Spacing of the network's and of the image's grid, mm.

    Returns:
        `shape` uint16.

    Source: nnU-Net v2 `export_prediction.py:convert_predicted_logits_to_segmentation_with_correct_shape`.
    """
    how = plan.resampling_probabilities
    if how.method == "none" or logits.shape[1:] == shape:
        return np.concatenate([decide(slab, plan.labels) for slab in _slabs(logits)])
    axis = separate_axis(current, new, how.force_separate_z)
    if how.method == "torch" or (how.order == 1 and (axis is None or how.order_z == 0)):
        return _label_certified(logits, linear_axes(logits.shape[1:], shape, axis, how.method), plan)
    return _label_by_channel(logits, shape, current, new, plan)


def label_with_probabilities(
    logits: Logits, shape: Shape, current: Spacing, new: Spacing, plan: Plan
) -> tuple[Codes, Float32]:
    """Labels and (K, *shape) float32 probabilities. Memory is that of all classes at full resolution."""
    how = plan.resampling_probabilities
    axis = separate_axis(current, new, how.force_separate_z)
    if how.method == "none" or logits.shape[1:] == shape:
        full = decode_half(logits)
    elif how.method == "torch" or (how.order == 1 and (axis is None or how.order_z == 0)):
        axes = linear_axes(logits.shape[1:], shape, axis, how.method)
        full = _interpolate_all(logits, shape, axes, how.method)
    else:
        full = np.stack([_resampled_channel(channel, shape, current, new, plan) for channel in logits])
    probabilities = probabilities_of(full, plan.labels)
    return decide_probabilities(probabilities, plan.labels), probabilities


def _slabs(logits: Logits) -> Iterator[Float32]:
    """The logits as float32, some rows of the first spatial axis at a time."""
    rows = max(1, 4_000_000 // max(1, logits[:, 0].size))
    for start in range(0, logits.shape[1], rows):
        yield decode_half(logits[:, start : start + rows])


def linear_axes(source_shape: tuple[int, ...], shape: Shape, apart: int | None, method: str) -> list[Axis]:
    """How linear resampling of (z, y, x) `source_shape` to `shape` reads each axis; `apart` is taken nearest."""
    axes = []
    for index, (size_in, size_out) in enumerate(zip(source_shape, shape, strict=True)):
        if index == apart or size_in == size_out:
            nearest = linear.nearest_exact_index if method == "torch" else nearest_index
            source = nearest(size_in, size_out) if size_in != size_out else np.arange(size_in)
            axes.append(Axis(source, source, np.ones(size_out), np.zeros(size_out)))
        elif method == "torch":
            lower, upper, weight = linear.taps(size_in, size_out)
            axes.append(Axis(lower, upper, 1 - weight, weight))
        else:
            axes.append(_scipy_axis(size_in, size_out))
    return axes


def _scipy_axis(size_in: int, size_out: int) -> Axis:
    """Coordinates and weights of `scipy.ndimage.zoom`, order 1: the coordinate itself is not clamped."""
    coordinates = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    lower = np.floor(coordinates)
    weight_lower = 1 - (coordinates - lower)
    last = size_in - 1
    return Axis(
        np.clip(lower, 0, last).astype(np.intp),
        np.clip(lower + 1, 0, last).astype(np.intp),
        weight_lower,
        1 - weight_lower,
    )


def _label_certified(logits: Logits, axes: list[Axis], plan: Plan) -> Codes:
    noise = _rounding_noise(logits, plan.resampling_probabilities.method)
    codes = np.concatenate([certain(slab, plan.labels, noise) for slab in _slabs(logits)])
    for index, axis in enumerate(axes):
        below = np.take(codes, axis.lower, index)
        if axis.lower is not axis.upper:
            below[below != np.take(codes, axis.upper, index)] = UNSURE
        codes = below
    flat = codes.reshape(-1)
    unsure = np.flatnonzero(flat == UNSURE)
    flat[unsure] = 0
    flat = code_values(plan.labels)[flat]
    for start in range(0, unsure.size, _CHUNK):
        where = unsure[start : start + _CHUNK]
        values = _interpolate(
            logits, np.unravel_index(where, codes.shape), axes, plan.resampling_probabilities.method
        )
        flat[where] = decide(values, plan.labels)
    return flat.reshape(codes.shape)


def _rounding_noise(logits: Logits, method: str) -> float:
    """Two float16 units in the last place of the largest logit (float32 noise for the torch method)."""
    largest = largest_half(logits)
    if method == "torch":
        return _LINEAR_NOISE * largest
    return 2 * float(np.spacing(np.float16(largest)))


def _interpolate(
    logits: Logits, voxels: tuple[npt.NDArray[np.intp], ...], axes: list[Axis], method: str
) -> Float32:
    """Logits at target voxels: (K, n) float32, holding float16 values unless the method is `torch`.

    The order of multiplications and additions is scipy's (`NI_ZoomShift`): corners in C order, each value
    multiplied by the weights axis by axis.
    """
    active = [i for i, axis in enumerate(axes) if axis.lower is not axis.upper]
    exact = np.float32 if method == "torch" else np.float64
    total = np.zeros((logits.shape[0], voxels[0].size), dtype=exact)
    for corner in np.ndindex(*(2,) * len(active)):
        choice = dict(zip(active, corner, strict=True))
        source = tuple(
            (axis.upper if choice.get(i) else axis.lower)[voxels[i]] for i, axis in enumerate(axes)
        )
        value: npt.NDArray[Any] = decode_half(logits[:, source[0], source[1], source[2]]).astype(exact)
        for i in active:
            weights = axes[i].weight_upper if choice[i] else axes[i].weight_lower
            value *= weights[voxels[i]]
        total += value
    if method == "torch":
        return total.astype(np.float32, copy=False)
    return total.astype(np.float16).astype(np.float32)


def _interpolate_all(logits: Logits, shape: Shape, axes: list[Axis], method: str) -> Float32:
    """What `_interpolate` gives for every voxel of `shape`, bit for bit: (K, *shape) float32, some rows at a time."""
    active = [i for i, axis in enumerate(axes) if axis.lower is not axis.upper]
    exact = np.float32 if method == "torch" else np.float64
    wide = decode_half(logits)
    full = np.empty((len(logits), *shape), dtype=np.float32)
    rows = max(1, _CHUNK // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], rows):
        parts = slice(start, start + rows), slice(None), slice(None)
        total = np.zeros(full[:, parts[0]].shape, dtype=exact)
        for corner in np.ndindex(*(2,) * len(active)):
            choice = dict(zip(active, corner, strict=True))
            value: npt.NDArray[Any] = wide
            for i, (axis, part) in enumerate(zip(axes, parts, strict=True)):
                value = np.take(value, (axis.upper if choice.get(i) else axis.lower)[part], i + 1)
            value = value.astype(exact)
            for i in active:
                weights = axes[i].weight_upper if choice[i] else axes[i].weight_lower
                value *= weights[parts[i]].reshape(-1, *(1,) * (2 - i))
            total += value
        full[:, parts[0]] = total if method == "torch" else total.astype(np.float16)
    return full


def _label_by_channel(logits: Logits, shape: Shape, current: Spacing, new: Spacing, plan: Plan) -> Codes:
    """For spline orders where corners do not bound the result: one class at a time, keeping the best."""
    channels = (_resampled_channel(channel, shape, current, new, plan) for channel in logits)
    if plan.labels.regions_class_order is not None:
        mask = np.zeros(shape, dtype=np.uint16)
        for channel, value in zip(channels, plan.labels.regions_class_order, strict=True):
            mask[channel > REGION_THRESHOLD] = value
        return mask
    best = next(channels)
    mask = np.zeros(shape, dtype=np.uint16)
    for value, channel in enumerate(channels, start=1):
        mask[channel > best] = value
        np.maximum(best, channel, out=best)
    return mask


def _resampled_channel(channel: Logits, shape: Shape, current: Spacing, new: Spacing, plan: Plan) -> Float32:
    """One class at full resolution, rounded to float16 as nnU-Net stores it, as float32."""
    wide = decode_half(channel)[None].astype(np.float64)
    resampled = resample_image(wide, shape, current, new, plan.resampling_probabilities)[0]
    return resampled.astype(np.float16).astype(np.float32)
