"""Image resampling by operators against nnU-Net's own function (skimage and map_coordinates)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from skimage.transform import resize

from scanside.runtime.errors import InputError
from scanside.runtime.plan import Resampling
from scanside.runtime.stages.resample import (
    nearest_index,
    operator,
    resample_image,
    resampled_shape,
    separate_axis,
    target_spacing,
)
from tests.support.phantoms import smooth
from tests.support.plans import plan
from tests.support.properties import examples

ISOTROPIC = (1.0, 1.1, 0.9)
sizes = st.integers(1, 22)
shapes = st.tuples(sizes, sizes, sizes)
millimetres = st.sampled_from([0.5, 0.7, 0.75, 1.0, 1.2, 1.25, 3.0, 3.6, 5.0, 7.5])
spacings = st.tuples(millimetres, millimetres, millimetres)


def thick(axis: int) -> tuple[float, float, float]:
    return tuple(5.0 if i == axis else 1.0 for i in range(3))  # type: ignore[return-value]


def reference(data: np.ndarray, shape: tuple[int, ...], current, new, how: Resampling) -> np.ndarray:
    return resample_data_or_seg_to_shape(
        data.copy(),
        shape,
        current,
        new,
        is_seg=False,
        order=how.order,
        order_z=how.order_z,
        force_separate_z=how.force_separate_z,
    )


@examples(120)
@given(
    shapes, shapes, st.integers(0, 3), st.integers(0, 1), st.sampled_from([None, 0, 1, 2]), st.integers(0, 99)
)
def test_any_shape(shape, target, order, order_z, axis, seed) -> None:
    """Float64 in, float64 out, so that nothing is hidden by the last rounding."""
    data = np.random.default_rng(seed).normal(300, 80, (1, *shape))
    spacing = ISOTROPIC if axis is None else thick(axis)
    how = Resampling(order=order, order_z=order_z)
    expected = reference(data, target, spacing, spacing, how)
    ours = resample_image(data, target, spacing, spacing, how)
    np.testing.assert_allclose(ours, expected, rtol=1e-6 if order > 1 else 1e-12)


@pytest.mark.parametrize("order_z", [0, 1, 3])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_every_order_along_every_axis(axis: int | None, order: int, order_z: int) -> None:
    data = np.stack([300 + 80 * smooth((12, 15, 18), seed) for seed in range(2)]).astype(np.float64)
    spacing = ISOTROPIC if axis is None else thick(axis)
    how = Resampling(order=order, order_z=order_z)
    expected = reference(data, (17, 11, 23), spacing, spacing, how)
    ours = resample_image(data, (17, 11, 23), spacing, spacing, how)
    assert np.abs(ours - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("shape", [(31, 25, 28), (14, 30, 16)])
def test_float32_images_have_the_same_bits(axis: int | None, shape: tuple[int, int, int]) -> None:
    """Both compute in float64; a difference of 1e-14 there changes about one float32 in ten million."""
    data = np.stack([300 + 80 * smooth((22, 26, 24), seed) for seed in range(2)])
    spacing = ISOTROPIC if axis is None else thick(axis)
    expected = reference(data, shape, spacing, spacing, Resampling())
    ours = resample_image(data, shape, spacing, spacing, Resampling())
    assert ours.dtype == expected.dtype == np.float32
    assert (ours != expected).sum() == 0


def test_a_transposed_view_gives_the_same() -> None:
    data = np.stack([smooth((9, 11, 13), seed) for seed in range(2)]).transpose(0, 3, 1, 2)[:, 1:, :, 2:]
    expected = reference(data, (15, 9, 10), ISOTROPIC, ISOTROPIC, Resampling())
    np.testing.assert_array_equal(
        resample_image(data, (15, 9, 10), ISOTROPIC, ISOTROPIC, Resampling()), expected
    )


def test_the_result_stays_in_the_range_of_the_input() -> None:
    """Cubic splines overshoot at edges; skimage clips to the whole image, per slice where an axis is apart."""
    data = np.zeros((1, 8, 12, 12), dtype=np.float32)
    data[:, 2:5, 3:9, 3:9] = 100
    data[:, 6] = 7
    for spacing in (ISOTROPIC, thick(0)):
        ours = resample_image(data, (8, 19, 20), spacing, spacing, Resampling())
        np.testing.assert_allclose(
            ours, reference(data, (8, 19, 20), spacing, spacing, Resampling()), atol=1e-5
        )
        assert ours.min() >= 0 and ours.max() <= 100


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_operator_is_skimage_on_a_line(order: int) -> None:
    line = np.random.default_rng(0).normal(size=17)
    for size in (1, 2, 5, 16, 17, 18, 40):
        expected = resize(line, (size,), order, mode="edge", anti_aliasing=False, clip=False)
        ours = line if size == 17 else operator(17, size, order) @ line
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_nearest_index_is_map_coordinates() -> None:
    for size_in in range(1, 40):
        data = np.arange(size_in, dtype=np.float64).reshape(1, size_in, 1, 1)
        for size_out in range(1, 60):
            expected = reference(data, (size_out, 1, 1), thick(0), thick(0), Resampling(order=1))
            np.testing.assert_array_equal(nearest_index(size_in, size_out), expected[0, :, 0, 0])


@examples(300)
@given(spacings, spacings, st.sampled_from([None, True, False]))
def test_which_axis_is_apart(current, new, force) -> None:
    apart, axis = determine_do_sep_z_and_axis(force, current, new)
    assert separate_axis(current, new, force) == (axis if apart else None)


@examples(300)
@given(st.tuples(*[st.integers(1, 300)] * 3), spacings, spacings)
def test_the_new_shape(shape, spacing, target) -> None:
    expected = tuple(compute_new_shape(shape, spacing, target))
    if min(expected) < 1:
        with pytest.raises(InputError, match="half a voxel"):
            resampled_shape(shape, spacing, target)
    else:
        assert resampled_shape(shape, spacing, target) == expected


def test_half_a_voxel_rounds_to_even() -> None:
    assert resampled_shape((5, 7, 9), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)) == (2, 4, 4)


def test_a_2d_plan_keeps_the_slices() -> None:
    flat = plan(spacing=(0.8, 0.7), patch_size=(8, 8))
    assert target_spacing(flat, (6.0, 1.0, 1.0)) == (6.0, 0.8, 0.7)
    assert target_spacing(plan(), (6.0, 1.0, 1.0)) == (1.0, 1.0, 1.0)


def test_nothing_to_do_returns_the_very_array() -> None:
    data = smooth((1, 4, 5, 6), 0)
    assert resample_image(data, (4, 5, 6), ISOTROPIC, thick(0), Resampling()) is data
    assert resample_image(data, (9, 9, 9), ISOTROPIC, thick(0), Resampling(method="none")) is data
