"""The sliding window against nnUNetPredictor's, with one deterministic network in both: every bit of the logits."""

import contextlib
import io

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.slide import average_folds, finish_average, gaussian_weights, slide, tiling
from tests.support.plans import plan
from tests.support.properties import examples

PATCH = (8, 12, 10)


class Ramp(nn.Module):
    """Cheap, deterministic, and different at every place of the patch, so that no mirror variant is another's."""

    def __init__(self, patch: tuple[int, ...], heads: int, amplitude: float = 3.0) -> None:
        super().__init__()
        field = np.random.default_rng(1).normal(size=(heads, *patch)).astype(np.float32)
        self.field = nn.Parameter(torch.from_numpy(field), requires_grad=False)
        self.amplitude = amplitude

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.amplitude * torch.tanh(x.sum(1, keepdim=True) * self.field + 0.3 * self.field)


def image(shape: tuple[int, ...], channels: int = 1, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


def theirs(
    data: npt.NDArray[np.float32],
    networks: list[Ramp],
    recipe: Plan,
    step: float = 0.5,
    mirror: bool = True,
) -> npt.NDArray[np.float16]:
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(step, use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.configuration_manager = ConfigurationManager(
        {"patch_size": list(recipe.patch_size), "architecture": {}}
    )
    predictor.label_manager = LabelManager(dict(recipe.labels.names), None)
    predictor.allowed_mirroring_axes = recipe.mirror_axes or None
    predictor.list_of_parameters = [network.state_dict() for network in networks]
    predictor.network = Ramp(recipe.patch_size, recipe.labels.heads, networks[0].amplitude)
    logits: npt.NDArray[np.float16] = predictor.predict_logits_from_preprocessed_data(
        torch.from_numpy(data)
    ).numpy()
    return logits


def ours(
    data: npt.NDArray[np.float32], network: Ramp, recipe: Plan, step: float = 0.5, mirror: bool = True
) -> npt.NDArray[np.float16]:
    def run(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        assert tile.shape == (1, recipe.input_channels, *recipe.patch_size)
        assert tile.flags.c_contiguous and tile.dtype == np.float32
        with torch.inference_mode():
            return network(torch.from_numpy(tile)).numpy()

    done: list[tuple[int, int]] = []
    logits = slide(data, run, recipe, step, mirror, lambda n, of: done.append((n, of)))
    assert done == [(n + 1, len(done)) for n in range(len(done))], "progress is told tile by tile"
    return logits


def assert_same_bits(a: npt.NDArray[np.float16], b: npt.NDArray[np.float16]) -> None:
    np.testing.assert_array_equal(
        np.ascontiguousarray(a).view(np.uint16), np.ascontiguousarray(b).view(np.uint16)
    )


@pytest.mark.parametrize("mirror_axes", [(), (0,), (0, 1), (0, 1, 2), (2,)])
@pytest.mark.parametrize("shape", [(8, 12, 10), (13, 25, 17), (5, 7, 31), (3, 3, 3), (21, 12, 9)])
def test_3d(shape: tuple[int, int, int], mirror_axes: tuple[int, ...]) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=mirror_axes)
    network = Ramp(PATCH, 3)
    assert_same_bits(ours(image(shape), network, recipe), theirs(image(shape), [network], recipe))


@pytest.mark.parametrize("mirror_axes", [(), (1,), (0, 1)])
@pytest.mark.parametrize("shape", [(4, 12, 10), (3, 25, 17), (1, 7, 31)])
def test_2d(shape: tuple[int, int, int], mirror_axes: tuple[int, ...]) -> None:
    recipe = plan(patch_size=(12, 10), spacing=(1.0, 1.0), mirror_axes=mirror_axes)
    network = Ramp((12, 10), 3)
    assert_same_bits(ours(image(shape), network, recipe), theirs(image(shape), [network], recipe))


@pytest.mark.parametrize("step", [0.25, 1 / 3, 0.5, 0.7, 1.0])
def test_steps(step: float) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(1,))
    network = Ramp(PATCH, 3)
    data = image((19, 33, 26))
    assert_same_bits(ours(data, network, recipe, step), theirs(data, [network], recipe, step))


def test_mirroring_switched_off() -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(0, 1, 2))
    network = Ramp(PATCH, 3)
    data = image((13, 25, 17))
    assert_same_bits(ours(data, network, recipe, mirror=False), theirs(data, [network], recipe, mirror=False))


@examples(40)
@given(st.tuples(*[st.integers(1, 25)] * 3), st.integers(0, 99), st.sampled_from([0.1, 3.0, 900.0]))
def test_any_shape(shape: tuple[int, int, int], seed: int, amplitude: float) -> None:
    recipe = plan(patch_size=PATCH)
    network = Ramp(PATCH, 3, amplitude)
    data = image(shape, seed=seed)
    assert_same_bits(ours(data, network, recipe), theirs(data, [network], recipe))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds(folds: int) -> None:
    recipe = plan(patch_size=PATCH)
    networks = [Ramp(PATCH, 3) for _ in range(folds)]
    for index, network in enumerate(networks):
        network.field *= 1 + 0.3 * index
    data = image((13, 25, 17))
    total = None
    for network in networks:
        total = average_folds(total, ours(data, network, recipe))
    assert total is not None
    assert_same_bits(finish_average(total, folds), theirs(data, networks, recipe))


def test_a_view_as_resampling_leaves_it() -> None:
    recipe = plan(patch_size=PATCH)
    network = Ramp(PATCH, 3)
    data = image((17, 13, 25)).transpose(0, 2, 3, 1)[:, 2:, 1:]
    assert_same_bits(ours(data, network, recipe), theirs(np.ascontiguousarray(data), [network], recipe))


@pytest.mark.parametrize("amplitude", [700.0, 2000.0, 5000.0, 6500.0, 6551.9, 6600.0, 20000.0, 1e6, 1e30])
def test_float16_overflows_where_nnunet_overflows(amplitude: float) -> None:
    """Sums of several tiles overflow long before one logit does; nnU-Net stops there, and so must we."""
    recipe = plan(patch_size=PATCH)
    network = Ramp(PATCH, 3, amplitude)
    data = 100 * image((13, 25, 17))
    try:
        expected = theirs(data, [network], recipe)
    except RuntimeError as error:
        assert "inf" in str(error)
        with pytest.raises(CaseError, match="float16"):
            ours(data, network, recipe)
        return
    if np.isnan(expected).any():  # inf − inf, which nnU-Net does not notice
        with pytest.raises(CaseError, match="float16"):
            ours(data, network, recipe)
        return
    assert_same_bits(ours(data, network, recipe), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stops_the_case(value: float) -> None:
    recipe = plan(patch_size=PATCH)

    def broken(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        output = np.ones((1, 3, *PATCH), np.float32)
        output[0, 1, 2, 3, 4] = value
        return output

    with pytest.raises(CaseError) as caught:
        slide(image((13, 25, 17)), broken, recipe, 0.5, False, lambda n, of: None)
    assert str(caught.value).endswith(".")


def test_folds_that_overflow_stop_the_case() -> None:
    half = np.full((1, 1, 1, 2), 40000, np.float16)
    with pytest.raises(CaseError, match="folds"):
        average_folds(average_folds(None, half), half)


@pytest.mark.parametrize(
    "patch", [(8, 12, 10), (20, 192, 160), (40, 56, 40), (28, 256, 256), (512, 512), (56, 40)]
)
def test_gaussian_weights(patch: tuple[int, ...]) -> None:
    compute_gaussian.cache_clear()
    expected = compute_gaussian(patch, 1 / 8, 10, device=torch.device("cpu")).numpy()
    weights = gaussian_weights(patch)
    np.testing.assert_array_equal(weights.astype(np.float16), expected)
    np.testing.assert_array_equal(weights, expected.astype(np.float32))


@examples(300)
@given(
    st.tuples(*[st.integers(1, 200)] * 3),
    st.tuples(*[st.integers(1, 64)] * 3),
    st.sampled_from([0.25, 0.3, 1 / 3, 0.5, 0.6, 0.75, 0.9, 1.0]),
)
def test_tile_starts(shape: tuple[int, int, int], patch: tuple[int, int, int], step: float) -> None:
    tiles = tiling(shape, patch, step)
    padded = tuple(max(size, tile) for size, tile in zip(shape, patch, strict=True))
    assert tiles.padded == padded
    assert tiles.starts == tuple(map(tuple, compute_steps_for_sliding_window(padded, patch, step)))
