"""Labels without full-resolution logits against nnU-Net, which resamples every class and takes the argmax."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from scanside.runtime.plan import Labels, Plan, Resampling
from scanside.runtime.stages import label as label_stage
from scanside.runtime.stages.label import label, label_with_probabilities
from tests.support.phantoms import logits as phantom_logits
from tests.support.plans import REGIONS, labels, plan
from tests.support.properties import examples

pytestmark = pytest.mark.requirement("parity")

Logits = npt.NDArray[np.float16]
ISOTROPIC = (1.0, 1.1, 0.9)
GRID, FINER, COARSER = (11, 16, 14), (17, 23, 29), (7, 9, 10)


def thick(axis: int | None) -> tuple[float, float, float]:
    return ISOTROPIC if axis is None else tuple(5.0 if i == axis else 1.0 for i in range(3))  # type: ignore[return-value]


def manager(of: Labels) -> LabelManager:
    names = {name: list(v) if isinstance(v, tuple) else v for name, v in of.names.items()}
    return LabelManager(names, None if of.regions_class_order is None else list(of.regions_class_order))


def resampled(logits: Logits, shape: tuple[int, ...], spacing: Any, how: Resampling) -> npt.NDArray[Any]:
    """nnU-Net's full-resolution logits."""
    if how.method == "torch":
        tensor = torch.from_numpy(logits)
        return resample_torch_fornnunet(tensor, shape, spacing, spacing, num_threads=1).numpy()
    return resample_data_or_seg_to_shape(
        logits, shape, spacing, spacing, order=how.order, order_z=how.order_z,
        force_separate_z=how.force_separate_z,
    )  # fmt: skip


def expected_labels(logits: Logits, shape: tuple[int, ...], spacing: Any, recipe: Plan) -> npt.NDArray[Any]:
    full = resampled(logits, shape, spacing, recipe.resampling_probabilities)
    return np.asarray(manager(recipe.labels).convert_logits_to_segmentation(full))


@pytest.mark.parametrize("shape", [FINER, COARSER, GRID, (11, 30, 14), (22, 32, 28)])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("of", [labels(2), labels(3), labels(12), REGIONS], ids=["2", "3", "12", "regions"])
def test_linear_labels_are_identical(of: Labels, axis: int | None, shape: tuple[int, int, int]) -> None:
    logits = phantom_logits(GRID, of.heads, seed=of.heads)
    recipe = plan(labels=of)
    ours = label(logits, shape, thick(axis), thick(axis), recipe)
    assert ours.dtype == np.uint16
    np.testing.assert_array_equal(ours, expected_labels(logits, shape, thick(axis), recipe))


@examples(80)
@given(
    st.tuples(*[st.integers(1, 14)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.integers(2, 12),
    st.sampled_from([None, 0, 1, 2]),
    st.booleans(),
    st.sampled_from([1e-7, 1e-3, 1.0, 300.0]),
    st.integers(0, 99),
)
def test_any_shape_of_noise(shape, target, heads, axis, regions, scale, seed) -> None:
    """White noise leaves hardly a cell certain; the scales reach from subnormal to large float16."""
    of = REGIONS if regions else labels(heads)
    noise = np.random.default_rng(seed).normal(size=(of.heads, *shape))
    logits = (scale * noise).astype(np.float16)
    recipe = plan(labels=of)
    ours = label(logits, target, thick(axis), thick(axis), recipe)
    np.testing.assert_array_equal(ours, expected_labels(logits, target, thick(axis), recipe))


@pytest.mark.parametrize("axis", [None, 0, 2])
@pytest.mark.parametrize("of", [labels(2), labels(5), REGIONS], ids=["2", "5", "regions"])
def test_ties_made_on_purpose(of: Labels, axis: int | None) -> None:
    """Logits of a few values only: nearly every voxel is a tie of some classes, or of nothing with a region."""
    random = np.random.default_rng(7)
    for values in ([0.0, 1.0], [-(2.0**-24), 0.0, 2.0**-24, 2.0**-23], [-1.0, -0.5, 0.5, 1.0], [3.0]):
        logits = random.choice(values, size=(of.heads, *GRID)).astype(np.float16)
        recipe = plan(labels=of)
        for shape in (FINER, COARSER, (22, 32, 28), GRID):
            ours = label(logits, shape, thick(axis), thick(axis), recipe)
            np.testing.assert_array_equal(ours, expected_labels(logits, shape, thick(axis), recipe))


def test_regions_at_the_threshold() -> None:
    """sigmoid(2^-24) is exactly one half in float32 and therefore not above it."""
    step = np.float16(2.0**-24)
    logits = np.stack([np.full((2, 2, 3), k, np.float16) * step for k in (1, 0, 2)])
    recipe = plan(labels=REGIONS)
    ours = label(logits, (2, 2, 3), ISOTROPIC, ISOTROPIC, recipe)
    np.testing.assert_array_equal(ours, expected_labels(logits, (2, 2, 3), ISOTROPIC, recipe))
    assert (ours == 3).all()
    assert (label(logits[[0, 1, 0]], (2, 2, 3), ISOTROPIC, ISOTROPIC, recipe) == 0).all()


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize(("order", "order_z"), [(0, 0), (1, 1), (2, 0), (3, 0), (3, 1)])
@pytest.mark.parametrize("of", [labels(4), REGIONS], ids=["labels", "regions"])
def test_other_orders(of: Labels, order: int, order_z: int, axis: int | None) -> None:
    """Here corners do not bound the result: class by class, in float64 by another order of sums.

    Where two float16 logits were equal or one unit apart, the last bit of that sum may decide otherwise.
    """
    how = Resampling(order=order, order_z=order_z)
    recipe = plan(labels=of, resampling_probabilities=how)
    logits = phantom_logits(GRID, of.heads, seed=5)
    expected = expected_labels(logits, FINER, thick(axis), recipe)
    ours = label(logits, FINER, thick(axis), thick(axis), recipe)
    assert (ours != expected).sum() <= 1


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("of", [labels(4), REGIONS], ids=["labels", "regions"])
def test_torch_resampling(of: Labels, axis: int | None) -> None:
    recipe = plan(labels=of, resampling_probabilities=Resampling(method="torch", order=1))
    logits = phantom_logits(GRID, of.heads, seed=5)
    full = resampled(logits, FINER, thick(axis), recipe.resampling_probabilities)
    wrong = label(logits, FINER, thick(axis), thick(axis), recipe) != expected_labels(
        logits, FINER, thick(axis), recipe
    )
    ranked = np.sort(full, axis=0)
    margin = np.abs(full).min(0) if of.has_regions else ranked[-1] - ranked[-2]
    assert margin[wrong].max(initial=0) < 1e-5


@pytest.mark.parametrize("of", [labels(3), REGIONS], ids=["labels", "regions"])
def test_no_resampling(of: Labels) -> None:
    recipe = plan(labels=of, resampling_probabilities=Resampling(method="none"))
    logits = phantom_logits(GRID, of.heads)
    expected = manager(of).convert_logits_to_segmentation(logits)
    np.testing.assert_array_equal(label(logits, GRID, ISOTROPIC, ISOTROPIC, recipe), expected)


@pytest.mark.parametrize("axis", [None, 0, 2])
@pytest.mark.parametrize(
    "how",
    [Resampling(order=1), Resampling(order=3), Resampling(method="torch", order=1)],
    ids=["linear", "cubic", "torch"],
)
@pytest.mark.parametrize("of", [labels(4), REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize("shape", [FINER, GRID], ids=["finer", "same"])
def test_probabilities(of: Labels, how: Resampling, axis: int | None, shape: tuple[int, int, int]) -> None:
    recipe = plan(labels=of, resampling_probabilities=how)
    logits = phantom_logits(GRID, of.heads, seed=9)
    theirs = manager(of).apply_inference_nonlin(resampled(logits, shape, thick(axis), how))
    mask, ours = label_with_probabilities(logits, shape, thick(axis), thick(axis), recipe)
    assert ours.dtype == np.float32 and ours.shape == (of.heads, *shape)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3 if how.order == 3 else 1e-6)
    assert (np.abs(ours - theirs.numpy()) > 1e-6).mean() < 1e-3
    expected = np.asarray(manager(of).convert_probabilities_to_segmentation(theirs))
    assert (mask != expected).sum() <= 1


def test_probabilities_of_extreme_logits_are_finite() -> None:
    for of in (labels(3), REGIONS):
        logits = np.array([[-60000, 60000], [0, 0], [60000, -60000]], np.float16).reshape(3, 1, 1, 2)
        _, ours = label_with_probabilities(logits, (1, 1, 2), ISOTROPIC, ISOTROPIC, plan(labels=of))
        theirs = manager(of).apply_inference_nonlin(logits.copy()).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_logits_are_not_changed() -> None:
    logits = phantom_logits(GRID, 3)
    before = logits.copy()
    label(logits, FINER, ISOTROPIC, ISOTROPIC, plan())
    label_with_probabilities(logits, GRID, ISOTROPIC, ISOTROPIC, plan())
    np.testing.assert_array_equal(logits, before)


@examples(30)
@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.sampled_from([None, 0, 2]),
    st.sampled_from(["default", "torch"]),
    st.integers(1, 60),
)
def test_all_voxels_at_once_are_the_same_bits_as_one_by_one(
    source: tuple[int, int, int], shape: tuple[int, int, int], apart: int | None, method: str, chunk: int
) -> None:
    logits = phantom_logits(source, 2, seed=sum(shape))
    axes = label_stage.linear_axes(source, shape, apart, method)
    everywhere = np.unravel_index(np.arange(np.prod(shape)), shape)
    expected = label_stage._interpolate(logits, everywhere, axes, method).reshape(2, *shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_stage, "_CHUNK", chunk)
        found = label_stage._interpolate_all(logits, shape, axes, method)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
