"""Normalisation against nnU-Net's classes, bit by bit, on the strided views that cropping leaves."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nnunetv2.preprocessing.normalization import default_normalization_schemes as nnunet

from scanside.runtime.errors import InputError
from scanside.runtime.plan import Channel, Normalization
from scanside.runtime.stages.crop import Cropped, crop
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.volume import Geometry, Volume
from tests.support.phantoms import image
from tests.support.plans import plan

STATISTICS = {"mean": 310.123, "std": 75.5, "percentile_00_5": 140.25, "percentile_99_5": 480.1}
SCHEMES: dict[str, dict[str, Any]] = {
    "ZScoreNormalization": {},
    "CTNormalization": STATISTICS,
    "NoNormalization": {},
    "RescaleTo01Normalization": {},
    "RGBTo01Normalization": {},
}
TRANSPOSES = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)]


def cropped(
    data: npt.NDArray[np.float32], transpose: tuple[int, int, int], scheme: str, masked: bool
) -> tuple[Cropped, Any]:
    normalization = Normalization(scheme=scheme, use_mask=masked, **SCHEMES[scheme])  # type: ignore[arg-type]
    recipe = plan(
        channels=tuple(Channel(name=str(i), normalization=normalization) for i in range(len(data))),
        transpose_forward=transpose,
        transpose_backward=tuple(transpose.index(axis) for axis in range(3)),
    )
    return crop(Volume(data, Geometry(data.shape[1:], (1.0, 1.0, 1.0))), recipe), recipe  # type: ignore[arg-type]


@pytest.mark.parametrize("transpose", TRANSPOSES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_bits_of_nnunet(scheme: str, masked: bool, transpose: tuple[int, int, int]) -> None:
    data = image((21, 34, 29), channels=2, mean=120 if scheme.startswith("RGB") else 300, deviation=25)
    masked = masked and scheme == "ZScoreNormalization"
    record, recipe = cropped(data, transpose, scheme, masked)
    # The same layout in memory: a transposed, cropped view of a contiguous copy.
    view = data.copy().transpose(0, *(axis + 1 for axis in transpose))[(slice(None), *record.box)]
    seg = np.where(record.mask, 0, -1) if masked else np.zeros(view.shape[1:], np.int8)
    normaliser = getattr(nnunet, scheme)(use_mask_for_norm=masked, intensityproperties=STATISTICS)
    for channel in view:
        channel[...] = normaliser.run(channel, seg)
    result = normalise(record, recipe)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.view(np.uint32), view.view(np.uint32))


def test_outside_the_mask_nothing_changes() -> None:
    data = image((9, 12, 10), border=0)
    data[0, :, :, :3] = 0
    data[0, 0, 0, 0] = 5
    record, recipe = cropped(data, (0, 1, 2), "ZScoreNormalization", True)
    assert record.mask is not None and not record.mask.all()
    assert (normalise(record, recipe)[0][~record.mask] == 0).all()


@pytest.mark.parametrize("scheme", ["ZScoreNormalization", "RescaleTo01Normalization", "CTNormalization"])
def test_a_constant_image_stays_finite(scheme: str) -> None:
    record, recipe = cropped(np.full((1, 4, 5, 6), 300, np.float32), (0, 1, 2), scheme, False)
    assert np.isfinite(normalise(record, recipe)).all()


def test_an_empty_masked_image_is_left_alone_without_a_warning() -> None:
    record, recipe = cropped(np.zeros((1, 4, 5, 6), np.float32), (0, 1, 2), "ZScoreNormalization", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (normalise(record, recipe) == 0).all()


@pytest.mark.parametrize("value", [-1.0, 256.0])
def test_what_is_no_colour_is_refused(value: float) -> None:
    data = np.full((1, 4, 5, 6), value, np.float32)
    record, recipe = cropped(data, (0, 1, 2), "RGBTo01Normalization", False)
    with pytest.raises(InputError, match="8-bit"):
        normalise(record, recipe)
