"""The previous stage's labels as channels, against batchgenerators through nnunetv2: every label."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

from scanside.runtime.plan import Resampling
from scanside.runtime.stages.previous import one_hot, resample_labels
from tests.support.phantoms import logits as phantom_logits
from tests.support.plans import labels, plan
from tests.support.properties import examples

SHAPE = (9, 14, 12)
TARGETS = [(15, 21, 25), (5, 8, 9), (18, 28, 24), (9, 20, 12)]


def label_map(shape: tuple[int, ...] = SHAPE, count: int = 4, seed: int = 0) -> npt.NDArray[np.int16]:
    """Smooth labels −1 … count−2, as the crop leaves them."""
    return (phantom_logits(shape, count, seed).argmax(0) - 1).astype(np.int16)


def thick(axis: int | None) -> tuple[float, float, float]:
    z, y, x = (1.0, 1.1, 0.9) if axis is None else (5.0 if i == axis else 1.0 for i in range(3))
    return z, y, x


def theirs(
    of: npt.NDArray[np.int16], shape: tuple[int, ...], spacing: Any, how: Resampling
) -> npt.NDArray[Any]:
    seg = of[None].astype(np.float32)
    if how.method == "torch":
        return resample_torch_fornnunet(seg, shape, spacing, spacing, is_seg=True, num_threads=1)[0]
    return resample_data_or_seg_to_shape(
        seg, shape, spacing, spacing, is_seg=True, order=how.order, order_z=how.order_z,
        force_separate_z=how.force_separate_z,
    )[0]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize(("order", "order_z"), [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0)])
def test_default_resampling(order: int, order_z: int, axis: int | None, target: tuple[int, int, int]) -> None:
    how = Resampling(order=order, order_z=order_z)
    expected = theirs(label_map(), target, thick(axis), how)
    ours = resample_labels(label_map(), target, thick(axis), thick(axis), how)
    assert ours.dtype == np.int16
    np.testing.assert_array_equal(ours, expected)


@examples(80)
@given(
    st.tuples(*[st.integers(1, 10)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.sampled_from([None, 0, 1, 2]),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_any_shape_of_noise(shape, target, axis, count, seed) -> None:
    """Random labels: nearly every voxel is near a corner of three or more labels, and factors of two make ties."""
    noise = np.random.default_rng(seed).integers(-1, count, shape).astype(np.int16)
    expected = theirs(noise, target, thick(axis), Resampling(order=1))
    np.testing.assert_array_equal(
        resample_labels(noise, target, thick(axis), thick(axis), Resampling(order=1)), expected
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_torch_resampling(axis: int | None, target: tuple[int, int, int]) -> None:
    """Indicators × 1000 in float16: where two are equal after rounding, float32 noise may decide."""
    how = Resampling(method="torch", order=1)
    expected = theirs(label_map(), target, thick(axis), how)
    ours = resample_labels(label_map(), target, thick(axis), thick(axis), how)
    assert (ours != expected).mean() <= 1e-3


def test_no_resampling() -> None:
    assert resample_labels(label_map(), (3, 3, 3), thick(0), thick(0), Resampling(method="none")) is not None
    same = label_map()
    assert resample_labels(same, SHAPE, thick(0), thick(0), Resampling(order=1)) is same


def test_one_hot() -> None:
    recipe = plan(labels=labels(4), previous_stage="3d_lowres", previous_labels=(1, 2, 3))
    seg = theirs(label_map(count=5), (15, 21, 25), thick(None), Resampling(order=1))
    expected = convert_labelmap_to_one_hot(seg, [1, 2, 3], output_dtype=np.float32)
    ours = one_hot(label_map(count=5), (15, 21, 25), thick(None), thick(None), recipe)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)
