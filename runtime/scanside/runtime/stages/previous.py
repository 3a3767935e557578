"""The previous stage's mask as further input channels of a cascade.

Source: nnU-Net v2 `default_preprocessor.py`, `data_iterators.py` and batchgenerators 0.25.4 `resize_segmentation`
(argmax over interpolated indicators, ties to the nearest neighbour's label). Older batchgenerators rounded each
indicator at 0.5 and differ in up to 2 % of boundary voxels; the parity report names the version compared with.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.plan import Plan, Resampling
from scanside.runtime.stages.linear import resample_linear
from scanside.runtime.stages.resample import Shape, Spacing, nearest_index, separate_axis

LabelMap = npt.NDArray[np.int16]
Scores = npt.NDArray[Any]


def one_hot(
    previous: LabelMap, shape: Shape, current: Spacing, new: Spacing, plan: Plan
) -> npt.NDArray[np.float32]:
    """(L, *shape) float32 indicators of `plan.previous_labels`, resampled to the network's grid.

    Args:
        previous: (z, y, x) labels in the box, -1 outside the non-zero mask, network axis order.
    """
    labels = resample_labels(previous, shape, current, new, plan.resampling_seg)
    return np.stack([labels == value for value in plan.previous_labels]).astype(np.float32)


def resample_labels(
    labels: LabelMap, shape: Shape, current: Spacing, new: Spacing, how: Resampling
) -> LabelMap:
    """Resample a label map with the plan's function for segmentations."""
    if how.method == "none" or labels.shape == shape:
        return labels
    axis = separate_axis(current, new, how.force_separate_z)
    if how.method == "torch":
        return _torch(labels, shape, axis)
    if axis is None:
        return _resize(labels, shape, how.order)
    slices = np.moveaxis(labels, axis, 0)
    plane_shape = tuple(size for i, size in enumerate(shape) if i != axis)
    planes = np.stack([_resize(plane, plane_shape, how.order) for plane in slices])
    if len(planes) != shape[axis]:
        planes = _along(planes, shape[axis], how.order_z)
    return np.moveaxis(planes, 0, axis)


def _along(planes: LabelMap, size: int, order: int) -> LabelMap:
    """Resample along the coarse (first) axis: nearest, or per label where more than half of it arrives."""
    from scipy import ndimage

    if order == 0:
        return planes[nearest_index(len(planes), size)]
    result = np.zeros((size, *planes.shape[1:]), dtype=planes.dtype)
    coordinates = float(len(planes)) / size * (np.arange(size) + 0.5) - 0.5
    grid = np.meshgrid(coordinates, *(np.arange(n, dtype=float) for n in planes.shape[1:]), indexing="ij")
    for value in np.unique(planes):
        score = ndimage.map_coordinates((planes == value).astype(float), grid, order=order, mode="nearest")
        result[np.round(score) > 0.5] = value
    return result


def _resize(labels: LabelMap, shape: Sequence[int], order: int) -> LabelMap:
    if order == 0:
        return _zoom(labels.astype(float), shape, 0).astype(labels.dtype)
    return _argmax(labels, lambda indicator: _zoom(indicator.astype(float), shape, order), shape)


def _argmax(
    labels: LabelMap, score: Callable[[npt.NDArray[np.bool_]], Scores], shape: Sequence[int]
) -> LabelMap:
    """The label with the largest interpolated indicator; a tie goes to the nearest neighbour if it is tied."""
    values = np.unique(labels)
    if values.size == 1:
        return np.full(shape, values[0], dtype=labels.dtype)
    nearest = _zoom(labels.astype(float), shape, 0).astype(labels.dtype)
    best = score(labels == values[0])
    winner = np.full(shape, values[0], dtype=labels.dtype)
    nearest_leads = (nearest == values[0]) & (best > 0)
    for value in values[1:]:
        challenger = score(labels == value)
        is_nearest = nearest == value
        nearest_leads |= (challenger == best) & (challenger > 0) & is_nearest
        better = challenger > best
        nearest_leads[better] = is_nearest[better]
        winner[better] = value
        np.maximum(best, challenger, out=best)
    winner[nearest_leads] = nearest[nearest_leads]
    return winner


def _zoom(image: npt.NDArray[np.float64], shape: Sequence[int], order: int) -> npt.NDArray[np.float64]:
    """`skimage.transform.resize` with mode edge and no anti-aliasing."""
    from scipy import ndimage

    factors = [1 / (n_in / n_out) for n_in, n_out in zip(image.shape, shape, strict=True)]
    zoomed: npt.NDArray[np.float64] = ndimage.zoom(
        image, factors, order=order, mode="nearest", grid_mode=True
    )
    return np.clip(zoomed, image.min(), image.max())


def _torch(labels: LabelMap, shape: Shape, apart: int | None) -> LabelMap:
    """`resample_torch_fornnunet` for segmentations: indicators × 1000 in float16, 700 decides at once."""
    values = np.unique(labels)
    in_plane = (
        shape if apart is None else tuple(labels.shape[i] if i == apart else n for i, n in enumerate(shape))
    )
    if labels.shape != in_plane:
        scores = np.stack(
            [
                resample_linear(
                    (labels == v).astype(np.float32)[None] * 1000,
                    (in_plane[0], in_plane[1], in_plane[2]),
                    None,
                )[0]
                for v in values
            ]
        ).astype(np.float16)
        labels = values[scores.argmax(axis=0)]
    if apart is not None:
        wide = labels.astype(np.float32)[None]
        labels = resample_linear(wide, shape, apart)[0].astype(np.int16)
    return labels
