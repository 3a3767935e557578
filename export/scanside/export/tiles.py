"""The tiles that a segmenter's network is given for an image: what a range audit and a calibration look at."""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scanside.runtime.images.orient import reorient
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.previous import one_hot
from scanside.runtime.stages.resample import resample_image, resampled_shape, target_spacing
from scanside.runtime.stages.slide import cut, tiling
from scanside.runtime.volume import Volume


def tiles(
    volume: Volume, plan: Plan, previous: npt.NDArray[np.unsignedinteger] | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """(1, C, *patch) float32 tiles of an image, normalised and resampled, without mirror variants.

    Args:
        previous: For the second stage of a cascade, the first one's mask on the grid of the image.
    """
    if plan.reorient:
        if previous is not None:
            as_image = Volume(previous[None].astype(np.float32), volume.geometry)
            previous = reorient(as_image, plan.reorient)[0].data[0].astype(previous.dtype)
        volume = reorient(volume, plan.reorient)[0]
    cropped = crop(volume, plan, previous)
    image = normalise(cropped, plan)
    target = target_spacing(plan, cropped.spacing)
    shape = resampled_shape(image.shape[1:], cropped.spacing, target)
    image = resample_image(image, shape, cropped.spacing, target, plan.resampling_data)
    if cropped.previous is not None:
        image = np.concatenate(
            [image, one_hot(cropped.previous, image.shape[1:], cropped.spacing, target, plan)]
        )
    layout = tiling(image.shape[1:], plan.patch_size, 0.5)
    for start in itertools.product(*layout.starts):
        yield cut(image, layout, start).reshape(1, -1, *plan.patch_size)
