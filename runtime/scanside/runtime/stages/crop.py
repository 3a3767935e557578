"""Transpose to network axes, cut to the non-zero box, and put a mask back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.plan import Plan
from scanside.runtime.volume import Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Place:
    """Where a crop lies: all that putting labels back needs.

    Attributes:
        spacing: mm, in network axis order.
        full_shape: Shape before cropping, network axis order.
        box: Where the crop lies in the full shape.
    """

    spacing: tuple[float, float, float]
    full_shape: tuple[int, int, int]
    box: Box

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the crop."""
        z, y, x = (part.stop - part.start for part in self.box)
        return z, y, x


@dataclass(frozen=True, eq=False)
class Cropped(Place):
    """The part of the image that goes on.

    Attributes:
        data: (C, z, y, x) float32, a *view* into a private copy in network axis order. The view's memory layout
            decides the last bits of float32 means, so it must not be made contiguous.
        mask: (z, y, x) bool, filled non-zero mask in the box; None when no channel needs it.
        previous: (z, y, x) int16 labels of the previous stage with -1 outside the mask, or None.
    """

    data: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None
    previous: npt.NDArray[np.int16] | None

    @property
    def place(self) -> Place:
        """The place alone, which keeps no image alive."""
        return Place(self.spacing, self.full_shape, self.box)


def crop(volume: Volume, plan: Plan, previous: npt.NDArray[np.integer] | None = None) -> Cropped:
    """Cut to the box of voxels that are non-zero in any channel; an all-zero image keeps its full extent.

    Args:
        volume: The image, file axis order.
        previous: (Z, Y, X) mask of the previous stage on the same grid (cascade).

    Source: nnU-Net v2 `preprocessing/cropping/cropping.py` and `default_preprocessor.py:run_case_npy`.
    """
    from scipy import ndimage

    forward = plan.transpose_forward
    data = volume.data.copy().transpose(0, *(axis + 1 for axis in forward))
    nonzero = data[0] != 0
    for channel in data[1:]:
        nonzero |= channel != 0
    box = bounding_box(nonzero)
    mask = None
    if plan.needs_mask or previous is not None:
        # Filling holes cannot change the box, so it is skipped where only the box matters.
        mask = ndimage.binary_fill_holes(nonzero)[box]
    labels = None
    if previous is not None:
        assert mask is not None
        labels = previous.transpose(forward)[box].astype(np.int16)
        labels[(labels == 0) & ~mask] = -1
        # nnU-Net normalises over `seg >= 0`, where voxels labelled by the previous stage count as inside.
        mask = labels >= 0
    spacing = volume.geometry.spacing
    return Cropped(
        data=data[(slice(None), *box)],
        mask=mask,
        previous=labels,
        spacing=(spacing[forward[0]], spacing[forward[1]], spacing[forward[2]]),
        full_shape=nonzero.shape,
        box=box,
    )


def restore(labels: npt.NDArray[np.integer], place: Place, plan: Plan) -> npt.NDArray[np.unsignedinteger]:
    """Put labels of the box back into the full image, in file axis order.

    Args:
        labels: (z, y, x) in the box, network axis order.

    Returns:
        (Z, Y, X) uint8, or uint16 with 255 or more foreground labels; C-contiguous; 0 outside the box.
    """
    full = np.zeros(place.full_shape, dtype=plan.labels.mask_dtype)
    full[place.box] = labels
    return np.ascontiguousarray(full.transpose(plan.transpose_backward))


def restore_probabilities(
    probabilities: npt.NDArray[np.float32], place: Place, plan: Plan
) -> npt.NDArray[np.float32]:
    """Put (K, z, y, x) probabilities of the box back: outside it background is 1 and everything else 0.

    With regions there is no background channel and all are 0 outside.
    """
    full = np.zeros((probabilities.shape[0], *place.full_shape), dtype=np.float32)
    if not plan.labels.has_regions:
        full[0] = 1
    full[(slice(None), *place.box)] = probabilities
    return np.ascontiguousarray(full.transpose(0, *(axis + 1 for axis in plan.transpose_backward)))


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box around everything that is True; the whole array where nothing is."""
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, mask.shape[axis]))
    return slices[0], slices[1], slices[2]
