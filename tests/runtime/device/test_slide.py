"""The device's sliding window and labels, on numpy, against the runtime's own stages: the same networks and plans."""

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scanside.runtime.device import lines
from scanside.runtime.device.layout import layout, linear
from scanside.runtime.device.memory import Case, choices, need
from scanside.runtime.device.slide import Slide
from scanside.runtime.errors import CaseError
from scanside.runtime.plan import Plan, Resampling
from scanside.runtime.stages.decide import Codes
from scanside.runtime.stages.label import label
from scanside.runtime.stages.resample import resampled_shape
from scanside.runtime.stages.slide import average_folds, finish_average, slide
from tests.support.phantoms import smooth
from tests.support.plans import REGIONS, labels, plan
from tests.support.strict_arrays import OnDevice, StrictArrays

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

    def __call__(self, image: Any, logits: Any) -> None:
        assert isinstance(image, OnDevice) and image.flags.c_contiguous and logits.flags.c_contiguous
        logits[...] = self.run(np.asarray(image)).view(OnDevice)


class Silent(Ramp):
    """A network that takes no memory of its own."""

    def __call__(self, image: Any, logits: Any) -> None:
        logits[...] = 0


def image(shape: tuple[int, int, int], channels: int = 1) -> npt.NDArray[np.float32]:
    return np.stack([smooth(shape, 7 + channel) for channel in range(channels)])


def on_device(
    recipe: Plan,
    data: npt.NDArray[np.float32],
    target: tuple[int, int, int],
    new: tuple[float, float, float],
    networks: list[Ramp],
    *,
    step: float = 0.5,
    mirror: bool = True,
    choice: tuple[int, int] | None = None,
) -> Codes:
    """Labels, with a batch and a depth of sums where a test names them."""
    current = (new[0], *recipe.spacing) if len(recipe.spacing) == 2 else recipe.spacing
    on = layout(recipe, data.shape[1:], target, current, new, step)
    batch, depth = choice or next(choices(on, 2 ** len(recipe.mirror_axes) if mirror else 1, 8))
    arrays, done = StrictArrays(), list[int]()
    made = Slide(arrays, arrays.upload(data), on, recipe, networks, batch=batch, depth=depth, mirror=mirror)
    labels = made.labels(lambda part, total: done.append(part))
    assert done == sorted(done) and done[-1] == on.tiles.count * len(networks)
    assert arrays.down < labels.nbytes + 4000
    return labels


def check(
    recipe: Plan,
    shape: tuple[int, int, int],
    new: tuple[float, float, float],
    networks: list[Ramp],
    *,
    step: float = 0.5,
    mirror: bool = True,
    choice: tuple[int, int] | None = None,
) -> Codes:
    """Labels of the device, equal to the stages', whose float16 sums are nnU-Net's."""
    current = (new[0], *recipe.spacing) if len(recipe.spacing) == 2 else recipe.spacing
    target = resampled_shape(shape, current, new)
    data, total = image(shape, recipe.input_channels), None
    found = on_device(recipe, data, target, new, networks, step=step, mirror=mirror, choice=choice)
    assert found.shape == target and len(np.unique(found)) > 1
    for network in networks:
        total = average_folds(total, slide(data, network.run, recipe, step, mirror, lambda *_: None))
    assert total is not None
    stages = label(finish_average(total, len(networks)), target, current, new, recipe)
    assert (found != stages).sum() == 0
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


def test_more_labels_than_a_byte_holds() -> None:
    names = {f"label {value}" if value else "background": value for value in range(300)}
    recipe = plan(patch_size=(4, 6, 5), labels={"names": names})
    assert check(recipe, (7, 9, 8), (0.9, 0.8, 1.2), [Ramp((4, 6, 5), 300)]).dtype == np.uint16


def laid_out(
    recipe: Plan, shape: tuple[int, int, int], new: tuple[float, float, float], folds: int = 1
) -> tuple[Any, Case]:
    target = resampled_shape(shape, recipe.spacing, new)
    on = layout(recipe, shape, target, recipe.spacing, new, 0.5)
    return on, Case(recipe, target, shape, new, recipe.spacing, mirror=True, folds=folds)


@pytest.mark.parametrize("folds", [1, 3])
def test_every_batch_and_depth_gives_the_same_labels(folds: int) -> None:
    """Batches of many tiles, of a tile's variants, of a part of them; sums of the whole image, and in slabs."""
    recipe = plan(patch_size=PATCH, mirror_axes=(0, 1, 2))
    shape, new = (29, 25, 17), (0.9, 0.8, 1.2)
    on, _ = laid_out(recipe, shape, new)
    every = list(choices(on, 8, 32))
    assert {batch for batch, _ in every} == {32, 16, 8, 4, 2, 1}
    assert {depth for _, depth in every} == {29, 14, 9}
    networks = [Ramp(PATCH, 3, seed) for seed in range(1, folds + 1)]
    whole = check(recipe, shape, new, networks)
    for choice in every[1 :: 2 if folds == 1 else 5]:
        labels = on_device(recipe, image(shape), whole.shape, new, networks, choice=choice)
        assert (labels != whole).sum() == 0


def test_rows_resampled_one_by_one_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(1,))
    shape, new = (21, 25, 17), (0.6, 0.7, 0.45)
    whole = check(recipe, shape, new, [Ramp(PATCH, 3)])
    monkeypatch.setattr(lines, "WORK", 1)
    assert (check(recipe, shape, new, [Ramp(PATCH, 3)]) != whole).sum() == 0


@pytest.mark.parametrize(
    ("choice", "folds", "method"),
    [((8, 30), 1, "default"), ((1, 17), 1, "default"), ((2, 30), 3, "torch"), ((1, 17), 3, "torch")],
)
def test_memory_is_what_was_stated(choice: tuple[int, int], folds: int, method: str) -> None:
    """numpy tells tracemalloc of every array: the peak of the very code that runs on a GPU."""
    patch, shape, new = (16, 32, 32), (30, 70, 70), (0.8, 0.9, 0.7)
    how = Resampling(method=method)  # type: ignore[arg-type]
    recipe = plan(patch_size=patch, mirror_axes=(0, 1, 2), labels=labels(9), resampling_probabilities=how)
    on, case = laid_out(recipe, shape, new, folds)
    stated = need(case, on, *choice, network=0).label
    data, network = image(shape), Silent(patch, 9)
    tracemalloc.start()
    found = on_device(recipe, data, case.box, new, [network] * folds, choice=choice)
    peak = (
        tracemalloc.get_traced_memory()[1] - 2 * found.nbytes
    )  # labels on the host, and their copy on the way
    tracemalloc.stop()
    assert 0.9 * stated < peak < 1.02 * stated, (peak, stated)  # the host's matrices are in the peak as well


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error(bad: float) -> None:
    recipe = plan(patch_size=PATCH, mirror_axes=(1,))
    network = Ramp(PATCH, 3)
    network._field[0, 1, 3, 4, 5] = bad
    network._amplitude = np.float32(bad)
    with pytest.raises(CaseError, match="not finite"), np.errstate(invalid="ignore", over="ignore"):
        on_device(recipe, image((13, 25, 17)), (13, 25, 17), (1.0, 1.0, 1.0), [network])


@pytest.mark.parametrize(
    "how", [{"order": 3}, {"order": 0}, {"order": 1, "order_z": 1, "force_separate_z": True}]
)
def test_logits_that_are_resampled_otherwise_do_not_suit(how: dict[str, Any]) -> None:
    assert not linear(Resampling(**how), (3.0, 1.0, 1.0), (0.9, 0.8, 1.2))
