"""Arrays in, arrays out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scanside.runtime.bundle import Bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.options import Options
from scanside.runtime.segmenter import Segmentation, Segmenter
from scanside.runtime.volume import Geometry, Volume, picture


def segment(
    model: Bundle | Segmenter,
    image: Volume | npt.ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    options: Options | None = None,
    probabilities: bool = False,
    listener: Listener = ignore,
) -> Segmentation:
    """Segment an image held in memory.

    Args:
        model: An opened bundle (its networks are opened for this call), or an opened segmenter.
        image: A `Volume`, or an array (C, Z, Y, X), or (Z, Y, X) for a model of one channel, of any real type; for a
            picture (C, Y, X) or (Y, X).
        spacing: (Z, Y, X) mm, of a picture (Y, X) mm; needed for an array.
        options: How to compute it; only with a bundle.
        probabilities: Also return (K, Z, Y, X) probabilities.
        listener: Receives the events.

    Returns:
        Mask (Z, Y, X), with Z = 1 for a picture, label volumes in ml (areas in mm² for a picture) and stage times.

    Raises:
        UsageError: If arguments contradict each other.
        InputError: If the image does not fit the model.
    """
    volume = image if isinstance(image, Volume) else _volume(image, spacing)
    if isinstance(model, Segmenter):
        if options is not None:
            raise UsageError("Options belong to open_segmenter when an opened segmenter is given.")
        return model.segment(volume, probabilities=probabilities, listener=listener)
    with open_segmenter(model, options) as segmenter:
        return segmenter.segment(volume, probabilities=probabilities, listener=listener)


def _volume(image: npt.ArrayLike, spacing: Sequence[float] | None) -> Volume:
    if spacing is None or len(spacing) not in (2, 3):
        raise UsageError("An array needs spacing=(z, y, x) in mm, that of a picture spacing=(y, x).")
    array, axes = np.asarray(image), len(spacing)
    if array.ndim not in (axes, axes + 1) or array.dtype.kind not in "iufb":
        wanted = "(C, Z, Y, X) or (Z, Y, X)" if axes == 3 else "(C, Y, X) or (Y, X)"
        raise InputError(
            f"With {axes} numbers of spacing an image is an array of real numbers of shape {wanted}, not "
            f"{array.dtype} of shape {array.shape}."
        )
    array = array if array.ndim == axes + 1 else array[None]
    mm = tuple(float(value) for value in spacing)
    if axes == 2:
        geometry = picture((array.shape[1], array.shape[2]), (mm[0], mm[1]))
        array = array[:, None]
    else:
        geometry = Geometry((array.shape[1], array.shape[2], array.shape[3]), (mm[0], mm[1], mm[2]))
    return Volume(np.ascontiguousarray(array, dtype=np.float32), geometry)
