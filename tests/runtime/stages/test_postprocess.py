"""Keeping the largest component against nnU-Net's own function."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.postprocessing.remove_connected_components import (
    apply_postprocessing,
    remove_all_but_largest_component_from_segmentation,
)

from scanside.runtime.plan import KeepLargest
from scanside.runtime.stages.postprocess import postprocess
from tests.support.phantoms import logits as phantom_logits
from tests.support.properties import examples

STEPS: list[list[Any]] = [[1], [[1, 2]], [[1, 2, 3], 2], [3, 1, 2], [(1, 2)], [7]]
"""As postprocessing.json has them: `labels_or_regions` of each step."""


def theirs(mask: np.ndarray, steps: list[Any]) -> np.ndarray:
    functions = [remove_all_but_largest_component_from_segmentation] * len(steps)
    return apply_postprocessing(mask, functions, [{"labels_or_regions": step} for step in steps])


def ours(mask: np.ndarray, steps: list[Any]) -> np.ndarray:
    return postprocess(mask, tuple(KeepLargest(labels=tuple(np.atleast_1d(step).tolist())) for step in steps))


@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_structures(steps: list[Any]) -> None:
    mask = phantom_logits((12, 20, 18), 4, seed=2).argmax(0).astype(np.uint8)
    result = ours(mask, steps)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, theirs(mask, steps))


@examples(120)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.floats(0.02, 0.6),
    st.sampled_from(STEPS),
    st.integers(0, 999),
)
def test_noise(shape: tuple[int, int, int], density: float, steps: list[Any], seed: int) -> None:
    """Sparse noise has many components of equal size, diagonal neighbours and empty labels."""
    random = np.random.default_rng(seed)
    mask = np.where(random.random(shape) < density, random.integers(1, 4, shape), 0).astype(np.uint8)
    np.testing.assert_array_equal(ours(mask, steps), theirs(mask, steps))


def test_the_mask_given_is_not_changed() -> None:
    mask = np.zeros((1, 1, 6), np.uint8)
    mask[0, 0, [0, 1, 4]] = 1
    kept = ours(mask, [1])
    assert kept.tolist() == [[[1, 1, 0, 0, 0, 0]]]
    assert mask.sum() == 3


def test_equal_components_all_stay() -> None:
    mask = np.zeros((1, 1, 6), np.uint8)
    mask[0, 0, [0, 4]] = 2
    assert ours(mask, [2]).tolist() == mask.tolist()
