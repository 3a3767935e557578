"""nnU-Net's image resampling on a device: every kind that `stages/resample.py` knows, some rows at a time."""

import math
from collections.abc import Sequence

import numpy as np

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.device.lines import Line, Lines, bytes_a_row, line, rows_at_a_time, weights_of
from scanside.runtime.plan import Resampling
from scanside.runtime.stages.label import linear_axes
from scanside.runtime.stages.resample import Shape, Spacing, nearest_index, operator, separate_axis


def resample(
    arrays: Arrays, image: Array, shape: Shape, current: Spacing, new: Spacing, how: Resampling
) -> Array:
    """Resample every channel of (C, z, y, x) float32; an image that has the shape comes back itself.

    Args:
        current, new: Spacing before and after, mm; they only decide whether an axis is taken apart.
    """
    if how.method == "none" or image.shape[1:] == shape:
        return image
    axis = separate_axis(current, new, how.force_separate_z)
    out = arrays.xp.empty((image.shape[0], *shape), "float32")
    if how.method == "torch":
        axes = linear_axes(image.shape[1:], shape, axis, "torch")
        lines = Lines.on(
            arrays,
            [line(weights_of(one, 0, size)) for one, size in zip(axes, image.shape[1:], strict=True)],
        )
        for channel, result in zip(image, out, strict=True):
            _whole(arrays, channel, result, lines, clipped=False)
    elif axis is None:
        lines = Lines.on(arrays, _splines(image.shape[1:], shape, how.order))
        for channel, result in zip(image, out, strict=True):
            _whole(arrays, channel, result, lines, clipped=True)
    else:
        for channel, result in zip(image, out, strict=True):
            slices = arrays.xp.moveaxis(channel, axis, 0)
            _apart(arrays, slices, arrays.xp.moveaxis(result, axis, 0), how)
    return out


def work_bytes(image: Shape, shape: Shape, current: Spacing, new: Spacing, how: Resampling) -> int:
    """Most bytes beside image and result."""
    if how.method == "none" or image == shape:
        return 0
    axis = separate_axis(current, new, how.force_separate_z)
    if axis is None or how.method == "torch":
        axis, apart = 0, False
    else:
        apart = how.order_z != 0 and image[axis] != shape[axis]
    plane, result = _others(image, axis), _others(shape, axis)
    a_row = bytes_a_row(plane, result) + 4 * math.prod(plane)
    rows = min(shape[axis], rows_at_a_time(a_row))
    matrices = 4 * sum(a * b for a, b in zip(image, shape, strict=True))
    slices = 4 * max(image[axis], shape[axis]) * math.prod(result) if apart else 0
    return rows * a_row + 2 * matrices + slices


def _whole(arrays: Arrays, channel: Array, result: Array, lines: Lines, clipped: bool) -> None:
    """One channel along all three axes; clipped to its range as skimage does."""
    low, high = (channel.min(), channel.max()) if clipped else (None, None)
    rows = lines.at_a_time(channel.shape[1:])
    for first in range(0, result.shape[0], rows):
        last = min(first + rows, result.shape[0])
        part = lines.rows(arrays, channel, first, last)
        if clipped:
            part = arrays.xp.minimum(arrays.xp.maximum(part, low), high)
        result[first:last] = part


def _apart(arrays: Arrays, slices: Array, result: Array, how: Resampling) -> None:
    """In plane, clipped slice by slice; then along the first axis, to the nearest slice or with a spline."""
    xp, (count, *plane), (wanted, *size) = arrays.xp, slices.shape, result.shape
    lines = Lines.on(arrays, [Line(count), *_splines(plane, size, how.order)])
    nearest = how.order_z == 0 or count == wanted
    source = nearest_index(count, wanted) if nearest and count != wanted else np.arange(count)
    target = result if nearest else xp.empty((count, *size), "float32")
    rows = lines.at_a_time((plane[0], plane[1]))
    for first in range(0, len(source), rows):
        chosen = arrays.upload(source[first : first + rows])
        given = xp.take(slices, chosen, 0)
        part = lines.rows(arrays, given, 0, len(given))
        low, high = given.min((1, 2), keepdims=True), given.max((1, 2), keepdims=True)
        target[first : first + rows] = xp.minimum(xp.maximum(part, low), high)
    if not nearest:
        along = arrays.upload(operator(count, wanted, how.order_z).astype("float32"))
        result[...] = (along @ target.reshape(count, -1)).reshape(wanted, *size)


def _splines(image: Sequence[int], shape: Sequence[int], order: int) -> list[Line]:
    return [
        Line(n_out) if n_in == n_out else line(operator(n_in, n_out, order))
        for n_in, n_out in zip(image, shape, strict=True)
    ]


def _others(shape: Shape, axis: int) -> tuple[int, int]:
    first, second = (size for index, size in enumerate(shape) if index != axis)
    return first, second
