"""Detection: which lesions of the reference were found, and how many automatic ones are none."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Mask

MINIMUM_IOU = 0.1
"""An automatic lesion hits a reference lesion from this intersection over union (PANORAMA, picai_eval)."""


@dataclass(frozen=True)
class Hits:
    """Lesions counted.

    Attributes:
        lesions: In the reference.
        found: Reference lesions with a partner in the automatic mask.
        false_positives: Automatic lesions without a partner in the reference.
        candidates: Of each automatic lesion its voxels, and whether it has a partner; largest first.
    """

    lesions: int
    found: int
    false_positives: int
    candidates: tuple[tuple[int, bool], ...] = field(default=(), compare=False)


def lesion_hits(reference: Mask, automatic: Mask, minimum: float = MINIMUM_IOU) -> Hits:
    """Count hits between the lesions of two masks on one grid.

    A lesion is a component of voxels that touch at faces, edges or corners; none is too small to count. Lesions are
    paired one to one so that as many pairs as possible reach `minimum`, and their overlap is largest among these.

    Args:
        reference: (Z, Y, X) bool.
        automatic: (Z, Y, X) bool.
        minimum: Intersection over union from which a pair counts.
    """
    from scipy.ndimage import label
    from scipy.optimize import linear_sum_assignment

    touching = np.ones((3, 3, 3))
    first, lesions = label(reference, touching)
    second, candidates = label(automatic, touching)
    voxels = np.bincount(second.ravel())[1:]
    if not lesions or not candidates:
        return Hits(lesions, 0, candidates, _ranked(voxels, set()))
    sizes = np.bincount(first.ravel())[1:, None], voxels[None]
    common = np.zeros((lesions, candidates))
    both = (first > 0) & (second > 0)
    np.add.at(common, (first[both] - 1, second[both] - 1), 1)
    iou = common / (sizes[0] + sizes[1] - common)
    # A pair is worth more than all overlaps together, so the number of pairs comes first.
    worth = np.where(iou >= minimum, min(lesions, candidates) + 1 + iou, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    partners = set(columns[worth[rows, columns] > 0].tolist())
    return Hits(lesions, len(partners), candidates - len(partners), _ranked(voxels, partners))


def elsewhere(measured: Mask, reader: Mask) -> bool:
    """Whether what was measured is not the lesion that the reader outlined; both (Z, Y, X) bool."""
    if not measured.any():
        return False
    return int(np.count_nonzero(measured & reader)) < MINIMUM_IOU * int(np.count_nonzero(measured | reader))


def _ranked(voxels: npt.NDArray[np.intp], partners: set[int]) -> tuple[tuple[int, bool], ...]:
    order = np.argsort(-voxels, kind="stable").tolist()
    return tuple((int(voxels[index]), index in partners) for index in order)
