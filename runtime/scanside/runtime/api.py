"""Arrays in, arrays out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scanside.runtime.bundle import Bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Segmentation, Segmenter
from scanside.runtime.volume import Geometry, Volume


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
        image: A `Volume`, or an array (C, Z, Y, X), or (Z, Y, X) for a model of one channel, of any real type.
        spacing: (Z, Y, X) mm; needed for an array.
        options: How to compute it; only with a bundle.
        probabilities: Also return (K, Z, Y, X) probabilities.
        listener: Receives the events.

    Returns:
        Mask (Z, Y, X), label volumes in ml and stage times.

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
    array = np.asarray(image)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.dtype.kind not in "iufb":
        raise InputError(
            f"An image is an array of real numbers of shape (C, Z, Y, X) or (Z, Y, X), not {array.dtype} "
            f"of shape {array.shape}."
        )
    if spacing is None or len(spacing) != 3:
        raise UsageError("An array needs spacing=(z, y, x) in mm.")
    shape = (array.shape[1], array.shape[2], array.shape[3])
    geometry = Geometry(shape, (float(spacing[0]), float(spacing[1]), float(spacing[2])))
    return Volume(np.ascontiguousarray(array, dtype=np.float32), geometry)
