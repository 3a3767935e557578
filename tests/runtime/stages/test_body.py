"""Tiles outside the body: which, and what the voxels get that only they would have covered."""

import numpy as np
import numpy.typing as npt
import pytest

from scanside.runtime.plan import Labels
from scanside.runtime.stages.body import Body, find_body
from scanside.runtime.stages.slide import CERTAIN, slide, tiling
from tests.support.plans import REGIONS, labels, plan

Float = npt.NDArray[np.float32]
SHAPE, SPACING = (12, 120, 160), (4.0, 2.0, 2.0)


def patient(rows: slice, columns: slice, noise: float = 20.0) -> Float:
    """A bright block in Rayleigh noise, (1, z, y, x)."""
    generator = np.random.default_rng(1)
    real, imaginary = generator.normal(scale=noise, size=(2, *SHAPE))
    real[:, rows, columns] += 400
    return np.hypot(real, imaginary).astype(np.float32)[None]


def test_the_body_is_where_the_signal_is() -> None:
    body = find_body(patient(slice(40, 80), slice(60, 120)), SPACING)
    assert body.stands_out and body.mask.shape == (12, 60, 80)
    inside = np.zeros(body.mask.shape, dtype=bool)
    inside[:, 20:40, 30:60] = True
    assert (body.mask != inside).mean() < 0.01


def test_no_image_of_noise_has_empty_tiles() -> None:
    generator = np.random.default_rng(2)
    noise = np.hypot(*generator.normal(scale=20, size=(2, *SHAPE))).astype(np.float32)
    body = find_body(noise[None], SPACING)
    tiles = tiling(SHAPE, (4, 32, 32), 0.5)
    assert not body.stands_out or tiles.held(body, SHAPE) == tiles.count
    assert not find_body(np.full((1, *SHAPE), 7, np.float32), SPACING).stands_out


@pytest.mark.parametrize("shape", [(12, 60, 80), (24, 120, 160), (7, 33, 41)])
def test_a_box_with_a_voxel_of_the_body_is_never_left_out(shape: tuple[int, int, int]) -> None:
    mask = np.zeros((6, 30, 40), dtype=bool)
    mask[3, 11, 29] = True
    body = Body(mask)
    zoom = [size / blocks for size, blocks in zip(shape, mask.shape, strict=True)]
    at = tuple(int((index + 0.5) * factor) for index, factor in zip((3, 11, 29), zoom, strict=True))
    assert body.touches(at, tuple(a + 1 for a in at), shape)
    assert body.touches((-5, -5, -5), tuple(size + 5 for size in shape), shape)
    assert not body.touches((0, 0, 0), (1, 1, 1), shape)


@pytest.mark.parametrize("kind", [labels(3), REGIONS])
def test_left_out_tiles_are_background_and_others_stay_what_they_were(kind: Labels) -> None:
    recipe = plan(patch_size=(8, 32, 32), labels=kind)
    heads = kind.heads
    calls = 0

    def network(tile: Float) -> Float:
        nonlocal calls
        calls += 1
        return np.concatenate([tile * (k + 1) for k in range(heads)], axis=1)

    data = (patient(slice(0, 40), slice(0, 40)) / 100).astype(np.float32)
    body = find_body(data, SPACING)
    whole = slide(data, network, recipe, 0.5, False, lambda *_: None)
    tiles, every = tiling(SHAPE, (8, 32, 32), 0.5), calls
    done: list[int] = []
    part = slide(data, network, recipe, 0.5, False, lambda n, _: done.append(n), body)
    held = tiles.held(body, SHAPE)
    assert calls - every == held < tiles.count == every == done[-1]
    np.testing.assert_array_equal(part[:, :, :16, :16], whole[:, :, :16, :16])  # no tile missing there
    far = part[:, :, 100:, 100:]
    assert (far[0] == (-CERTAIN if kind.has_regions else CERTAIN)).all() and (far[1:] == -CERTAIN).all()
