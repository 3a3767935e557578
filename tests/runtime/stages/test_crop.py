"""Cropping to the non-zero box and back against nnU-Net's own functions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

from scanside.runtime.plan import Channel, Labels, Normalization, Plan
from scanside.runtime.stages.crop import crop, restore, restore_probabilities
from scanside.runtime.volume import Geometry, Volume
from tests.support.phantoms import image
from tests.support.plans import REGIONS, labels, plan
from tests.support.properties import examples

TRANSPOSES = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1), (2, 1, 0)]


def recipe(transpose: tuple[int, int, int], *, masked: bool = True, of: Labels | None = None) -> Plan:
    scheme = Normalization(scheme="ZScoreNormalization", use_mask=masked)
    return plan(
        channels=(Channel(name="a", normalization=scheme),),
        transpose_forward=transpose,
        transpose_backward=tuple(transpose.index(axis) for axis in range(3)),
        labels=of or labels(3),
    )


def volume(data: npt.NDArray[np.float32]) -> Volume:
    return Volume(data, Geometry(data.shape[1:], (3.0, 1.0, 2.0)))  # type: ignore[arg-type]


def theirs(
    data: npt.NDArray[np.float32], transpose: tuple[int, int, int], seg: npt.NDArray[Any] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], list[list[int]]]:
    axes = [0, *(axis + 1 for axis in transpose)]
    return crop_to_nonzero(
        data.copy().transpose(axes), None if seg is None else seg[None].transpose(axes).copy()
    )


@pytest.mark.parametrize("transpose", TRANSPOSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_crop(transpose: tuple[int, int, int], channels: int) -> None:
    data = image((11, 17, 13), channels=channels, seed=channels, border=3)
    expected, seg, box = theirs(data, transpose)
    cropped = crop(volume(data), recipe(transpose))
    np.testing.assert_array_equal(cropped.data, expected)
    assert cropped.data.strides == expected.strides, "the memory layout decides the last bits of a mean"
    assert [[s.start, s.stop] for s in cropped.box] == box
    np.testing.assert_array_equal(cropped.mask, seg[0] >= 0)
    assert cropped.spacing == tuple((3.0, 1.0, 2.0)[axis] for axis in transpose)
    assert cropped.full_shape == tuple((11, 17, 13)[axis] for axis in transpose)


def test_the_image_is_not_changed() -> None:
    data = image((6, 8, 7))
    source = volume(data.copy())
    crop(source, recipe((0, 1, 2))).data[...] = 7
    np.testing.assert_array_equal(source.data, data)


def test_an_empty_image_keeps_its_extent() -> None:
    data = np.zeros((1, 4, 5, 6), np.float32)
    expected, _, _ = theirs(data, (0, 1, 2))
    cropped = crop(volume(data), recipe((0, 1, 2)))
    assert cropped.data.shape == expected.shape == (1, 4, 5, 6)
    assert cropped.mask is not None and not cropped.mask.any()


def test_without_masked_channels_no_mask_is_made() -> None:
    assert crop(volume(image((6, 8, 7))), recipe((0, 1, 2), masked=False)).mask is None


@pytest.mark.parametrize("transpose", TRANSPOSES)
@pytest.mark.parametrize("masked", [True, False])
def test_the_previous_stage(transpose: tuple[int, int, int], masked: bool) -> None:
    """Labels of the previous stage count as inside even where the image is zero."""
    data = image((11, 17, 13), border=3)
    previous = np.random.default_rng(0).integers(0, 3, (11, 17, 13)).astype(np.uint8)
    expected, seg, _ = theirs(data, transpose, previous.astype(np.float32))
    cropped = crop(volume(data), recipe(transpose, masked=masked), previous)
    np.testing.assert_array_equal(cropped.data, expected)
    np.testing.assert_array_equal(cropped.previous, seg[0])
    np.testing.assert_array_equal(cropped.mask, seg[0] >= 0)


@examples(80)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.floats(0.02, 0.9), st.integers(0, 999))
def test_any_pattern_of_zeros(shape: tuple[int, int, int], density: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = np.where(random.random((2, *shape)) < density, 1, 0).astype(np.float32)
    expected, seg, box = theirs(data, (0, 1, 2))
    cropped = crop(volume(data), recipe((0, 1, 2)))
    np.testing.assert_array_equal(cropped.data, expected)
    np.testing.assert_array_equal(cropped.mask, seg[0] >= 0)
    assert [[s.start, s.stop] for s in cropped.box] == box


@pytest.mark.parametrize("transpose", TRANSPOSES)
def test_restore_undoes_crop(transpose: tuple[int, int, int]) -> None:
    """A label is put exactly where its voxel came from."""
    data = image((11, 17, 13), border=3)
    which = recipe(transpose)
    cropped = crop(volume(data), which)
    restored = restore(cropped.data[0].astype(np.uint16) % 3, cropped, which)
    assert restored.shape == (11, 17, 13) and restored.dtype == np.uint8 and restored.flags.c_contiguous
    np.testing.assert_array_equal(restored, data[0].astype(int) % 3)


@pytest.mark.parametrize("transpose", TRANSPOSES)
def test_restore_against_nnunet(transpose: tuple[int, int, int]) -> None:
    data = image((11, 17, 13), border=3)
    which = recipe(transpose)
    cropped = crop(volume(data), which)
    inside = np.random.default_rng(0).integers(0, 3, cropped.data.shape[1:]).astype(np.uint16)
    full = np.zeros(cropped.full_shape, np.uint8)
    full = insert_crop_into_image(full, inside, [[s.start, s.stop] for s in cropped.box])
    np.testing.assert_array_equal(
        restore(inside, cropped, which), full.transpose([transpose.index(axis) for axis in range(3)])
    )


@pytest.mark.parametrize("of", [labels(3), REGIONS], ids=["labels", "regions"])
def test_probabilities_outside_the_box(of: Labels) -> None:
    data = image((11, 17, 13), border=3)
    which = recipe((2, 0, 1), of=of)
    cropped = crop(volume(data), which)
    inside = np.random.default_rng(0).random((3, *cropped.data.shape[1:])).astype(np.float32)
    restored = restore_probabilities(inside, cropped, which)
    assert restored.shape == (3, 11, 17, 13) and restored.dtype == np.float32
    assert (restored[1:, 0] == 0).all()
    assert (restored[0, 0] == (0 if of.has_regions else 1)).all()
    assert restored.sum() == pytest.approx(
        inside.sum() + (0 if of.has_regions else data[0].size - inside[0].size), rel=1e-5
    )


def test_many_labels_need_sixteen_bits() -> None:
    for count, dtype in ((255, np.uint8), (256, np.uint16)):
        which = recipe((0, 1, 2), of=labels(count))
        cropped = crop(volume(image((6, 8, 7))), which)
        assert restore(np.zeros(cropped.data.shape[1:], np.uint16), cropped, which).dtype == dtype
