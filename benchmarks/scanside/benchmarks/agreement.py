"""Two label maps compared: differing voxels, Dice, and the margins that explain a difference."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from scanside.benchmarks.results import Margins
from scanside.runtime.arrays import LabelMask
from scanside.runtime.golden import EXACT

BOUND = EXACT.margin
"""Logit margin up to which a differing voxel counts as a rounding tie: the parity gate's own bound."""


def dice(
    mask: LabelMask, reference: LabelMask, names: Mapping[str, int | tuple[int, ...]]
) -> dict[str, float | None]:
    """Dice of each foreground label or region; None where it is in neither mask."""
    scores: dict[str, float | None] = {}
    for name, value in names.items():
        values = value if isinstance(value, tuple) else (value,)
        if values == (0,):
            continue
        ours, theirs = np.isin(mask, values), np.isin(reference, values)
        total = int(ours.sum()) + int(theirs.sum())
        scores[name] = 2 * int((ours & theirs).sum()) / total if total else None
    return scores


def margins(
    mask: LabelMask, reference: LabelMask, margin: npt.NDArray[np.float16], bound: float = BOUND
) -> Margins | None:
    """The reference's margins where the masks differ; None when they do not.

    Args:
        margin: (Z, Y, X): how far the reference's decision was from another label, logits.
        bound: Up to which a difference counts as explained.
    """
    values = margin[mask != reference].astype(np.float64)
    if not values.size:
        return None
    # A voxel outside the box that was segmented has no margin (inf); a difference there is never a tie.
    values = np.minimum(values, 1e9)
    return Margins(
        largest=float(values.max()),
        smallest=float(values.min()),
        bound=bound,
        explained=int((values <= bound).sum()),
    )
