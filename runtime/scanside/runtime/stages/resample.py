"""nnU-Net's image resampling as separable linear operators.

skimage's `resize` with a spline is the same linear map on every line of an axis. Written as a matrix an axis and
applied in float64 it agrees with the reference to 1e-14 before the cast to float32, several times faster.

Source: nnU-Net v2 `preprocessing/resampling/default_resampling.py` and `resample_torch.py`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import InputError
from scanside.runtime.plan import Plan, Resampling
from scanside.runtime.stages.linear import resample_linear

ANISOTROPY_THRESHOLD = 3
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
Matrix = npt.NDArray[np.float64]
_SLAB_VALUES = 4_000_000
"""Values of float64 work space that one slab may take, about 32 MB."""


def target_spacing(plan: Plan, spacing: Spacing) -> Spacing:
    """The network's spacing for an image of `spacing` (both network axis order): a 2d plan keeps the first axis."""
    if len(plan.spacing) == 2:
        return (spacing[0], *plan.spacing)
    return plan.spacing


def resampled_shape(shape: Shape, spacing: Spacing, target: Spacing) -> Shape:
    """Shape after resampling; rounds half to even, as Python and nnU-Net do.

    Raises:
        InputError: If the image is so thin that nothing would be left along an axis.
    """
    sizes = [round(old / new * size) for old, new, size in zip(spacing, target, shape, strict=True)]
    if min(sizes) < 1:
        extent = " × ".join(f"{old * size:.3g}" for old, size in zip(spacing, shape, strict=True))
        wanted = " × ".join(f"{new:.3g}" for new in target)
        raise InputError(
            f"The image covers only {extent} mm, less than half a voxel of the network's {wanted} mm; "
            "check its voxel spacing."
        )
    return sizes[0], sizes[1], sizes[2]


def separate_axis(current: Spacing, new: Spacing, force: bool | None) -> int | None:
    """The axis that is resampled apart because it is much coarser than the others, or None.

    Source: `determine_do_sep_z_and_axis`.
    """
    if force is False:
        return None
    if force or max(current) / min(current) > ANISOTROPY_THRESHOLD:
        reference = current
    elif max(new) / min(new) > ANISOTROPY_THRESHOLD:
        reference = new
    else:
        return None
    coarse = [axis for axis in range(3) if max(reference) / reference[axis] == 1]
    return coarse[0] if len(coarse) == 1 else None


def resample_image(
    data: npt.NDArray[Any], shape: Shape, current: Spacing, new: Spacing, how: Resampling
) -> npt.NDArray[Any]:
    """Resample every channel of (C, z, y, x) to `shape`. The input comes back untouched if it has that shape.

    Args:
        data: (C, z, y, x), float32 (images) or float64 (logits); the result has the same dtype.
        current, new: Spacing before and after, mm; they only decide whether an axis is taken apart.
    """
    if how.method == "none" or data.shape[1:] == shape:
        return data
    axis = separate_axis(current, new, how.force_separate_z)
    if how.method == "torch":
        return resample_linear(data, shape, axis)
    out = np.empty((data.shape[0], *shape), dtype=data.dtype)
    for channel, result in zip(data, out, strict=True):
        if axis is None:
            _resize(channel, result, how.order)
        else:
            _resize_apart(channel, result, axis, how)
    return out


@lru_cache(maxsize=64)
def operator(size_in: int, size_out: int, order: int) -> Matrix:
    """(size_out, size_in) float64 matrix of `scipy.ndimage.zoom` along one axis (mode nearest, grid mode)."""
    from scipy import ndimage

    lines = np.eye(size_in)
    zoomed = [
        ndimage.zoom(line, size_out / size_in, order=order, mode="nearest", grid_mode=True) for line in lines
    ]
    return np.stack(zoomed, axis=1)


def nearest_index(size_in: int, size_out: int) -> npt.NDArray[np.intp]:
    """Source index of each target index for order 0: floor(c + 0.5), bit-identical to `map_coordinates`."""
    coordinates = float(size_in) / size_out * (np.arange(size_out) + 0.5) - 0.5
    return np.clip(np.floor(coordinates + 0.5), 0, size_in - 1).astype(np.intp)


def _resize(channel: npt.NDArray[np.floating], result: npt.NDArray[np.floating], order: int) -> None:
    """Separable resize of one 3-D array into `result`, clipped to the input's range as skimage does."""
    low, high = float(channel.min()), float(channel.max())
    along_z, along_y, along_x = (
        None if n_in == n_out else operator(n_in, n_out, order)
        for n_in, n_out in zip(channel.shape, result.shape, strict=True)
    )
    _, rows, columns = channel.shape
    plane_values = max(rows, result.shape[1]) * max(columns, result.shape[2])
    step = max(1, _SLAB_VALUES // plane_values)
    flat = (
        np.ascontiguousarray(channel, np.float64).reshape(len(channel), -1) if along_z is not None else None
    )
    for start in range(0, result.shape[0], step):
        stop = min(start + step, result.shape[0])
        if along_z is not None and flat is not None:
            slab = (along_z[start:stop] @ flat).reshape(stop - start, rows, columns)
        else:
            slab = channel[start:stop].astype(np.float64)
        result[start:stop] = np.clip(_in_plane(slab, along_y, along_x), low, high)


def _in_plane(slab: Matrix, along_y: Matrix | None, along_x: Matrix | None) -> Matrix:
    if along_x is not None:
        slab = slab @ along_x.T
    if along_y is not None:
        slab = along_y @ slab
    return slab


def _resize_apart(
    channel: npt.NDArray[np.floating], result: npt.NDArray[np.floating], axis: int, how: Resampling
) -> None:
    """In plane with `order`, clipped slice by slice; then along the coarse axis with `order_z`."""
    slices, target = np.moveaxis(channel, axis, 0), np.moveaxis(result, axis, 0)
    count_in, count_out = slices.shape[0], target.shape[0]
    if how.order_z == 0 or count_in == count_out:
        index = nearest_index(count_in, count_out) if count_in != count_out else np.arange(count_in)
        previous, plane = -1, None
        for position, source in enumerate(index):
            if source != previous:
                plane, previous = _resize_slice(slices[source], target.shape[1:], how.order), int(source)
            target[position] = plane
        return
    planes = np.stack([_resize_slice(plane, target.shape[1:], how.order) for plane in slices])
    along = operator(count_in, count_out, how.order_z)
    target[...] = np.tensordot(along, planes, axes=1)


def _resize_slice(plane: npt.NDArray[np.floating], shape: Sequence[int], order: int) -> Matrix:
    wide = plane.astype(np.float64)
    along_y, along_x = (
        None if n_in == n_out else operator(n_in, n_out, order)
        for n_in, n_out in zip(plane.shape, shape, strict=True)
    )
    return np.clip(_in_plane(wide, along_y, along_x), wide.min(), wide.max())
