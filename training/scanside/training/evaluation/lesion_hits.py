"""Detection: which lesions of the reference were found, and how many automatic ones are none."""

from dataclasses import dataclass

import numpy as np

from scanside.training.evaluation.overlap import Mask

MINIMUM_IOU = 0.1
"""An automatic lesion hits a reference lesion from this intersection over union (PANORAMA, picai_eval)."""


@dataclass(frozen=True)
class Hits:
    """Lesions counted.

    Attributes:
        lesions: In the reference.
        found: Reference lesions with a partner in the automatic mask.
        false_positives: Automatic lesions without a partner in the reference.
    """

    lesions: int
    found: int
    false_positives: int


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
    if not lesions or not candidates:
        return Hits(lesions, 0, candidates)
    sizes = np.bincount(first.ravel())[1:, None], np.bincount(second.ravel())[None, 1:]
    common = np.zeros((lesions, candidates))
    both = (first > 0) & (second > 0)
    np.add.at(common, (first[both] - 1, second[both] - 1), 1)
    iou = common / (sizes[0] + sizes[1] - common)
    # A pair is worth more than all overlaps together, so the number of pairs comes first.
    worth = np.where(iou >= minimum, min(lesions, candidates) + 1 + iou, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    found = int(np.count_nonzero(worth[rows, columns]))
    return Hits(lesions, found, candidates - found)
