"""Linear resampling in float32 with PyTorch's coordinates, for plans that name `resample_torch_fornnunet`.

Agrees with `torch.nn.functional.interpolate` (align_corners=False, no antialias) to float32 rounding.
"""

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32

Index = npt.NDArray[np.intp]


def taps(size_in: int, size_out: int) -> tuple[Index, Index, Float32]:
    """Lower index, upper index and weight of the upper one for each target index.

    Source: PyTorch `area_pixel_compute_source_index`, float32, negative coordinates set to 0.
    """
    coordinates = np.maximum(_source(size_in, size_out), 0)
    lower = np.minimum(np.floor(coordinates).astype(np.intp), size_in - 1)
    upper = np.minimum(lower + 1, size_in - 1)
    weight = np.clip(coordinates - lower.astype(np.float32), 0, 1).astype(np.float32)
    return lower, upper, weight


def nearest_exact_index(size_in: int, size_out: int) -> Index:
    """Source index of PyTorch's `nearest-exact`: the float32 coordinate plus one half, rounded once more."""
    position = (_source(size_in, size_out).astype(np.float64) + 0.5).astype(np.float32)
    return np.minimum(np.floor(position).astype(np.intp), size_in - 1)


def _source(size_in: int, size_out: int) -> Float32:
    """Source coordinates in float32. PyTorch's kernels multiply and add with one rounding (FMA)."""
    scale = np.float64(np.float32(size_in) / np.float32(size_out))
    return ((np.arange(size_out) + 0.5) * scale - 0.5).astype(np.float32)


def resample_linear(data: Float32, shape: tuple[int, int, int], apart: int | None) -> Float32:
    """(C, z, y, x) float32 to `shape`: linear along every axis but `apart`, which is nearest-exact."""
    for axis in (2, 1, 0):
        if axis == apart or data.shape[axis + 1] == shape[axis]:
            continue
        lower, upper, weight = taps(data.shape[axis + 1], shape[axis])
        weights = weight.reshape([-1 if i == axis + 1 else 1 for i in range(4)])
        below, above = np.take(data, lower, axis + 1), np.take(data, upper, axis + 1)
        below *= 1 - weights
        above *= weights
        below += above
        data = below
    if apart is not None and data.shape[apart + 1] != shape[apart]:
        data = np.take(data, nearest_exact_index(data.shape[apart + 1], shape[apart]), apart + 1)
    return np.ascontiguousarray(data)
