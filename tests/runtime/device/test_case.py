"""A whole case on a device, on numpy, against the runtime's own stages in a row: shapes and spacings go together."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from scanside.runtime.device.case import Device, How, label_case
from scanside.runtime.plan import Resampling
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.label import label
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.resample import resample_image, resampled_shape
from scanside.runtime.stages.slide import slide
from tests.support.phantoms import smooth, volume
from tests.support.plans import plan
from tests.support.strict_arrays import OnDevice, StrictArrays

PATCH = (8, 12, 10)
FIELD = np.stack([smooth(PATCH, seed) for seed in (1, 2, 3)])[None]


def run(tiles: Any) -> Any:
    """A network of three heads, different at every place."""
    return (4 * np.tanh(tiles.sum(1, keepdims=True) * FIELD + FIELD)).astype(np.float32)


def on_device(image: Any, logits: Any) -> None:
    logits[...] = run(np.asarray(image)).view(OnDevice)


KINDS: dict[str, dict[str, Any]] = {
    "splines": {},
    "torch": {
        "resampling_data": Resampling(method="torch"),
        "resampling_probabilities": Resampling(method="torch"),
    },
    "none": {
        "resampling_data": Resampling(method="none"),
        "resampling_probabilities": Resampling(method="none"),
    },
    "thick slices": {"spacing": (4.0, 1.0, 1.2)},
}


@pytest.mark.parametrize("name", KINDS)
def test_labels_are_those_of_the_stages(name: str) -> None:
    """Method `none` was cut into the tiles of a grid that the image was never brought to."""
    recipe = plan(**{"patch_size": PATCH, "mirror_axes": (1,), **KINDS[name]})
    given = volume((14, 26, 22), (1.9, 0.9, 1.0) if name != "thick slices" else (5.0, 0.9, 1.0), seed=3)
    cropped, target = crop(given, recipe), recipe.spacing
    device = Device(StrictArrays(), [on_device], lambda batch: 0, 8)
    how = How(0.5, True, lambda stage: nullcontext(), lambda done, total: None)
    found = label_case(crop(given, recipe), recipe, device, how)
    assert found is not None

    shape = resampled_shape(cropped.shape, cropped.spacing, target)
    image = resample_image(normalise(cropped, recipe), shape, cropped.spacing, target, recipe.resampling_data)
    sums = slide(image, run, recipe, 0.5, True, lambda *_: None)
    wanted = label(sums, cropped.shape, target, cropped.spacing, recipe)
    assert found.labels.shape == wanted.shape and len(np.unique(wanted)) > 1
    assert (found.labels != wanted).sum() == 0
