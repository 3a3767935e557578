"""PyTorch's linear and nearest-exact resampling in numpy against PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from torch.nn import functional as F

from scanside.runtime.plan import Resampling
from scanside.runtime.stages.linear import nearest_exact_index, resample_linear
from scanside.runtime.stages.resample import resample_image
from tests.support.phantoms import smooth
from tests.support.properties import examples

sizes = st.integers(1, 24)
shapes = st.tuples(sizes, sizes, sizes)


@examples(60)
@given(shapes, shapes, st.integers(0, 1000))
def test_trilinear(shape: tuple[int, int, int], target: tuple[int, int, int], seed: int) -> None:
    data = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(data)[None], target, mode="trilinear")[0].numpy()
    ours = resample_linear(data, target, None)
    assert ours.dtype == np.float32 and ours.flags.c_contiguous
    np.testing.assert_allclose(ours, expected, atol=2e-6 * np.abs(data).max())


def test_nearest_exact_index_for_every_pair_of_sizes() -> None:
    for size_in in range(1, 61):
        line = torch.arange(size_in, dtype=torch.float32)[None, None]
        for size_out in range(1, 121):
            expected = F.interpolate(line, size_out, mode="nearest-exact")[0, 0].numpy().astype(int)
            np.testing.assert_array_equal(nearest_exact_index(size_in, size_out), expected)


@pytest.mark.parametrize("axis", [0, 1, 2, None])
@pytest.mark.parametrize("target", [(9, 17, 21), (5, 11, 13), (12, 11, 8)])
def test_resample_torch_fornnunet(axis: int | None, target: tuple[int, int, int]) -> None:
    data = np.stack([smooth((7, 13, 16), seed) for seed in range(3)])
    current = tuple(6.0 if i == axis else 1.0 + 0.1 * i for i in range(3))
    new = tuple(5.0 if i == axis else 0.9 + 0.1 * i for i in range(3))
    expected = resample_torch_fornnunet(data.copy(), target, current, new, is_seg=False, num_threads=1)
    ours = resample_image(data, target, current, new, Resampling(method="torch", order=1))  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, expected, atol=3e-6)


def test_same_shape_is_untouched() -> None:
    data = smooth((3, 4, 5, 6), 0)
    assert resample_linear(data, (4, 5, 6), None) is data or np.array_equal(
        resample_linear(data, (4, 5, 6), None), data
    )
