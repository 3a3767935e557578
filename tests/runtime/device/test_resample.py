"""Normalising and resampling on the device, on numpy, against the runtime's own stages."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from scanside.runtime.device import lines
from scanside.runtime.device.layout import layout
from scanside.runtime.device.memory import Case, need
from scanside.runtime.device.normalise import normalise
from scanside.runtime.device.resample import resample
from scanside.runtime.errors import InputError
from scanside.runtime.plan import Channel, Normalization, Resampling
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.normalise import normalise as on_host
from scanside.runtime.stages.resample import resample_image
from tests.support.phantoms import image, smooth, volume
from tests.support.plans import plan
from tests.support.strict_arrays import StrictArrays

CT = {"mean": 310.0, "std": 61.0, "percentile_00_5": 120.0, "percentile_99_5": 480.0}
SCHEMES: dict[str, dict[str, Any]] = {
    "z-score": {"scheme": "ZScoreNormalization"},
    "z-score inside": {"scheme": "ZScoreNormalization", "use_mask": True},
    "CT": {"scheme": "CTNormalization", **CT},
    "none": {"scheme": "NoNormalization"},
    "rescale": {"scheme": "RescaleTo01Normalization"},
    "rgb": {"scheme": "RGBTo01Normalization"},
}


@pytest.mark.parametrize("name", SCHEMES)
def test_every_normalisation(name: str) -> None:
    channel = Channel(name="MRI", normalization=Normalization(**SCHEMES[name]))
    recipe, given = plan(channels=(channel, channel)), volume((23, 31, 27), (1.0, 1.0, 1.0), channels=2)
    given.data.flags.writeable = True
    if name == "rgb":
        given.data[...] = np.clip(given.data / 3, 0, 255)
    cropped, arrays = crop(given, recipe), StrictArrays()
    found = arrays.upload(cropped.data)
    mask = None if cropped.mask is None else arrays.upload(cropped.mask)
    normalise(arrays, found, mask, recipe)
    wanted = on_host(cropped, recipe)
    assert np.abs(np.asarray(found) - wanted).max() <= 1e-6 * np.ptp(wanted)


def test_nothing_inside() -> None:
    """An image of zeros has no inside; a constant one has no deviation."""
    inside = Channel(name="MRI", normalization=Normalization(scheme="ZScoreNormalization", use_mask=True))
    arrays, shape = StrictArrays(), (1, 4, 5, 6)
    for channel, value, mask in ((inside, 0.0, False), (inside, 7.0, True), (plan().channels[0], 7.0, True)):
        found = arrays.upload(np.full(shape, value, np.float32))
        normalise(arrays, found, arrays.upload(np.full(shape[1:], mask)), plan(channels=(channel,)))
        assert not np.asarray(found).any()


def test_other_colours_are_refused() -> None:
    rgb = plan(channels=(Channel(name="R", normalization=Normalization(scheme="RGBTo01Normalization")),))
    arrays = StrictArrays()
    with pytest.raises(InputError, match="8-bit"):
        normalise(arrays, arrays.upload(image((4, 5, 6))), None, rgb)


ISO, COARSE = (1.0, 1.0, 1.0), (5.0, 1.0, 1.0)
KINDS: dict[str, tuple[dict[str, Any], tuple[float, float, float], tuple[float, float, float]]] = {
    "cubic up": ({}, ISO, (0.7, 0.8, 0.6)),
    "cubic down": ({}, ISO, (2.1, 1.7, 1.0)),
    "linear": ({"order": 1}, ISO, (0.7, 1.8, 1.3)),
    "nearest": ({"order": 0}, ISO, (0.7, 1.8, 1.3)),
    "quintic": ({"order": 5}, ISO, (0.9, 1.1, 1.3)),
    "coarse axis apart": ({}, COARSE, (4.0, 0.8, 1.2)),
    "coarse axis apart, as many slices": ({}, COARSE, (5.0, 0.8, 1.2)),
    "coarse axis apart, middle": ({}, (1.0, 5.0, 1.0), (0.8, 4.0, 1.2)),
    "coarse axis apart, last": ({}, (1.0, 1.0, 5.0), (0.8, 1.3, 3.0)),
    "coarse axis apart, linear along it": ({"order_z": 1}, COARSE, (4.0, 0.8, 1.2)),
    "coarse axis apart, cubic along the middle": ({"order_z": 3}, (1.0, 5.0, 1.0), (0.8, 4.0, 1.2)),
    "apart by force": ({"force_separate_z": True}, (1.2, 1.0, 1.0), (0.9, 0.8, 1.2)),
    "never apart": ({"force_separate_z": False}, COARSE, (4.0, 0.8, 1.2)),
    "torch": ({"method": "torch"}, ISO, (0.7, 1.8, 1.3)),
    "torch, coarse axis apart": ({"method": "torch"}, COARSE, (4.0, 0.8, 1.2)),
    "none": ({"method": "none"}, ISO, (0.7, 1.8, 1.3)),
    "same": ({}, ISO, ISO),
}


@pytest.mark.parametrize("rows", [1, lines.WORK], ids=["row by row", "at once"])
@pytest.mark.parametrize("name", KINDS)
def test_every_resampling(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 weights and products against the stages' float64: less than 1e-6 of the range."""
    monkeypatch.setattr(lines, "WORK", rows)
    fields, current, new = KINDS[name]
    how, source = Resampling(**fields), (11, 23, 19)
    z, y, x = (round(a / b * size) for a, b, size in zip(current, new, source, strict=True))
    given, arrays = np.stack([smooth(source, seed) for seed in (1, 2)]), StrictArrays()
    found = np.asarray(resample(arrays, arrays.upload(given), (z, y, x), current, new, how))
    wanted = resample_image(given, (z, y, x), current, new, how)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert np.abs(found - wanted).max() <= 1e-6 * np.ptp(given)


@pytest.mark.parametrize("name", ["z-score", "z-score inside"])
@pytest.mark.parametrize(
    ("spacing", "new"),
    [(ISO, (0.8, 0.9, 0.7)), (COARSE, (4.0, 0.8, 0.8)), (COARSE, (9.0, 2.0, 2.0)), (ISO, ISO)],
)
def test_memory_is_what_was_stated(name: str, spacing: Any, new: Any) -> None:
    channel = Channel(name="MRI", normalization=Normalization(**SCHEMES[name]))
    recipe = plan(channels=(channel,), spacing=new)
    cropped = crop(volume((30, 60, 60), spacing), recipe)
    z, y, x = (round(a / b * size) for a, b, size in zip(spacing, new, cropped.shape, strict=True))
    case = Case(recipe, cropped.shape, (z, y, x), spacing, new, recipe.needs_mask)
    stated = need(case, layout(recipe, (z, y, x), cropped.shape, new, spacing, 0.5), 1, 9, 0).prepare
    arrays = StrictArrays()

    def prepare() -> None:
        given = arrays.upload(cropped.data)
        mask = None if cropped.mask is None else arrays.upload(cropped.mask)
        normalise(arrays, given, mask, recipe)
        del mask
        resample(arrays, given, (z, y, x), spacing, new, recipe.resampling_data)

    prepare()  # matrices are made once
    tracemalloc.start()
    prepare()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * stated < peak < 1.02 * stated + 80_000  # numpy's own buffer for sums in float64
