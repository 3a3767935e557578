"""nnU-Net's postprocessing: keep the largest component. Source: `postprocessing/remove_connected_components.py`."""

import numpy as np
import numpy.typing as npt

from scanside.runtime.plan import KeepLargest


def postprocess(
    mask: npt.NDArray[np.unsignedinteger], steps: tuple[KeepLargest, ...]
) -> npt.NDArray[np.unsignedinteger]:
    """Apply the steps in order to a (Z, Y, X) mask; returns a new array if anything is removed.

    Of the union of a step's labels only the largest 26-connected component stays, or all of that size.
    """
    from scipy import ndimage

    for step in steps:
        chosen = np.isin(mask, step.labels)
        components, count = ndimage.label(chosen, structure=np.ones((3, 3, 3)))
        if count < 2:
            continue
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        keep = sizes == sizes.max()
        mask = np.where(chosen & ~keep[components], np.zeros((), mask.dtype), mask)
    return mask
