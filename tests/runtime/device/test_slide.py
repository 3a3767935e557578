"""The device's graphs on the CPU against the runtime's own stages: the same networks, images and plans in both."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from scanside.export.device import device_graphs
from scanside.runtime.device.graph import OrtGraph
from scanside.runtime.device.layout import fitting_batch, layout, memory
from scanside.runtime.device.slide import Device, Labelled, label_on_device
from scanside.runtime.errors import CaseError
from scanside.runtime.golden import APPROXIMATE
from scanside.runtime.plan import Plan, Resampling
from scanside.runtime.stages.decide import decide
from scanside.runtime.stages.label import label
from scanside.runtime.stages.resample import resample_image, resampled_shape
from scanside.runtime.stages.slide import average_folds, cut, finish_average, gaussian_weights, slide, tiling
from tests.support.phantoms import smooth
from tests.support.plans import REGIONS, plan

PATCH = (8, 12, 10)


class Ramp:
    """A network in numpy: cheap, deterministic, and different at every place, so that no variant is another's."""

    def __init__(self, patch: tuple[int, ...], heads: int, seed: int = 1, amplitude: float = 4.0) -> None:
        field = np.random.default_rng(seed).normal(size=(1, heads, *patch)) * 0.3
        for head in range(heads):
            field[0, head] += smooth(patch, 10 * seed + head)
        self._field, self._amplitude = field.astype(np.float32), np.float32(amplitude)

    def run(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._amplitude * np.tanh(tiles.sum(1, keepdims=True) * self._field + self._field)

    def __call__(self, inputs: Any, outputs: Any) -> None:
        outputs["logits"].update_inplace(self.run(inputs["image"].numpy()))


def device(recipe: Plan, networks: list[Ramp], limit: int | None = None) -> Device:
    made = device_graphs(recipe)
    assert made is not None
    return Device(
        {name: OrtGraph(graph.SerializeToString()) for name, graph in made.items()}, networks, limit=limit
    )


def image(shape: tuple[int, int, int], channels: int = 1) -> npt.NDArray[np.float32]:
    return np.stack([smooth(shape, 7 + channel) for channel in range(channels)])


def exact(
    recipe: Plan, data: npt.NDArray[np.float32], networks: list[Ramp], step: float, mirror: bool
) -> npt.NDArray[np.float64]:
    """nnU-Net's sliding window in float64: no rounding of sums at all."""
    on = tiling(data.shape[1:], recipe.patch_size, step)
    weights = gaussian_weights(recipe.patch_size).reshape(on.patch).astype(float)
    sums = np.zeros((recipe.labels.heads + 1, *on.padded))
    axes = [axis + 2 for axis in recipe.mirror_axes] if mirror else []
    variants = [c for size in range(len(axes) + 1) for c in itertools.combinations(axes, size)]
    for start in itertools.product(*on.starts):
        tile = cut(data, on, start).reshape(1, -1, *recipe.patch_size)
        every = [
            np.flip(network.run(np.ascontiguousarray(np.flip(tile, flipped))).astype(float), flipped)
            for network in networks
            for flipped in variants
        ]
        window = (slice(None), *(slice(at, at + size) for at, size in zip(start, on.patch, strict=True)))
        sums[window] += np.concatenate([np.mean(every, 0)[0].reshape(-1, *on.patch) * weights, weights[None]])
    inside = tuple(slice(at, at + size) for at, size in zip(on.pad_below, data.shape[1:], strict=True))
    mean: npt.NDArray[np.float64] = (sums[:-1] / sums[-1])[(slice(None), *inside)]
    return mean


def check(
    recipe: Plan,
    shape: tuple[int, int, int],
    new: tuple[float, float, float],
    networks: list[Ramp],
    *,
    step: float = 0.5,
    mirror: bool = True,
    limit: int | None = None,
) -> Labelled:
    """Labels of the device's graphs, equal to exact arithmetic but for ties within float32, and to the stages, whose
    float16 sums are nnU-Net's, within the policy for approximations."""
    current = (new[0], *recipe.spacing) if len(recipe.spacing) == 2 else recipe.spacing
    target = resampled_shape(shape, current, new)
    data, total = image(shape, recipe.input_channels), None
    found = label_on_device(
        data, target, current, new, recipe, device(recipe, networks, limit), step=step, mirror=mirror
    )
    assert found.labels.shape == target and len(np.unique(found.labels)) > 1

    how = recipe.resampling_probabilities
    logits = resample_image(exact(recipe, data, networks, step, mirror), target, current, new, how)
    differing = found.labels != decide(logits, recipe.labels)
    gaps = np.abs(logits).min(0) if recipe.labels.has_regions else np.diff(np.sort(logits, 0)[-2:], axis=0)[0]
    assert differing.mean() < 1e-3 and not (gaps[differing] > 1e-4).any()

    for network in networks:
        total = average_folds(total, slide(data, network.run, recipe, step, mirror, lambda *_: None))
    assert total is not None
    stages = label(finish_average(total, len(networks)), target, current, new, recipe)
    assert stages.dtype == found.labels.dtype
    differing = found.labels != stages
    assert differing.sum() <= max(APPROXIMATE.floor, APPROXIMATE.fraction * differing.size)
    assert not (gaps[differing] > APPROXIMATE.margin).any()
    return found


CASES: dict[str, tuple[dict[str, Any], tuple[int, int, int], tuple[float, float, float]]] = {
    "one tile": ({}, PATCH, (1.0, 1.0, 1.0)),
    "smaller than a tile": ({"mirror_axes": (0, 1, 2)}, (5, 7, 9), (1.0, 0.8, 1.3)),
    "many tiles": ({"mirror_axes": (1,)}, (21, 25, 17), (1.0, 1.0, 1.0)),
    "up": ({"mirror_axes": (0, 2)}, (21, 25, 17), (0.6, 0.7, 0.45)),
    "down": ({}, (21, 25, 33), (1.7, 2.1, 1.0)),
    "very thin slices": ({}, (19, 14, 12), (0.21, 1.0, 1.0)),
    "very thick slices": ({}, (19, 14, 12), (7.0, 2.0, 2.5)),
    "coarse axis apart": ({"spacing": (5.0, 1.0, 1.0)}, (11, 25, 17), (4.1, 0.7, 0.8)),
    "coarse axis apart, middle": ({"spacing": (1.0, 5.0, 1.0)}, (11, 25, 17), (0.8, 4.1, 0.7)),
    "torch": ({"resampling_probabilities": Resampling(method="torch")}, (13, 25, 17), (0.6, 0.7, 1.4)),
    "regions": ({"labels": REGIONS, "mirror_axes": (0, 1)}, (13, 25, 17), (0.6, 0.7, 1.4)),
    "2d": (
        {"patch_size": (12, 10), "spacing": (1.0, 1.0), "mirror_axes": (0, 1)},
        (5, 25, 17),
        (3.0, 0.7, 1.4),
    ),
    "2d, no mirroring": ({"patch_size": (12, 10), "spacing": (1.0, 1.0)}, (4, 9, 31), (3.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_labels_are_those_of_the_stages(name: str) -> None:
    fields, shape, new = CASES[name]
    recipe = plan(**{"patch_size": PATCH, **fields})
    networks = [Ramp(recipe.patch_size, recipe.labels.heads)]
    check(recipe, shape, new, networks)


def test_folds_are_averaged() -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(0, 1, 2))
    networks = [Ramp(PATCH, 3, seed) for seed in (1, 2, 3)]
    check(recipe, (13, 25, 17), (0.9, 0.8, 1.2), networks)


@pytest.mark.parametrize("step", [0.25, 1.0])
def test_steps(step: float) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(1,))
    check(recipe, (13, 25, 17), (0.9, 0.8, 1.2), [Ramp(PATCH, 3)], step=step)


def test_mirroring_switched_off() -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(0, 1, 2))
    check(recipe, (13, 25, 17), (0.9, 0.8, 1.2), [Ramp(PATCH, 3)], mirror=False)


def test_a_smaller_batch_gives_the_same_labels() -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(0, 1, 2))
    shape, new = (13, 25, 17), (0.9, 0.8, 1.2)
    whole = check(recipe, shape, new, [Ramp(PATCH, 3)])
    on = layout(recipe, shape, resampled_shape(shape, recipe.spacing, new), recipe.spacing, new, 0.5)
    assert whole.batch == 8 and whole.memory == memory(recipe, on, 8)
    for batch in (4, 2, 1):
        limit = memory(recipe, on, batch).total
        less = check(recipe, shape, new, [Ramp(PATCH, 3)], limit=limit)
        assert less.batch == batch and less.memory.total == limit
        np.testing.assert_array_equal(less.labels, whole.labels)
    with pytest.raises(CaseError, match="GiB of device memory, above the limit"):
        fitting_batch(recipe, on, True, memory(recipe, on, 1).total - 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error(bad: float) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(1,))
    network = Ramp(PATCH, 3)
    network._field[0, 1, 3, 4, 5] = bad
    network._amplitude = np.float32(bad)
    with pytest.raises(CaseError, match="not finite"), np.errstate(invalid="ignore"):
        label_on_device(
            image((13, 25, 17)),
            (13, 25, 17),
            (1.0, 1.0, 1.0),
            (1.0, 1.0, 1.0),
            recipe,
            device(recipe, [network]),
        )


@pytest.mark.parametrize(
    "how", [{"order": 3}, {"order": 0}, {"order": 1, "order_z": 1, "force_separate_z": True}]
)
def test_other_resampling_is_refused(how: dict[str, Any]) -> None:
    recipe = plan(patch_size=PATCH, spacing=(3.0, 1.0, 1.0), resampling_probabilities=Resampling(**how))
    with pytest.raises(CaseError, match="linearly"):
        check(recipe, (13, 25, 17), (0.9, 0.8, 1.2), [Ramp(PATCH, 3)])


def test_graphs_are_small_and_load_everywhere_float32_does() -> None:
    made = device_graphs(plan(patch_size=(28, 256, 256), mirror_axes=(0, 1, 2)))
    assert made is not None and set(made) == {"mirror", "add", "finish"}
    for graph in made.values():
        content = graph.SerializeToString()
        assert len(content) < 10_000
        ort.InferenceSession(content, providers=["CPUExecutionProvider"])
