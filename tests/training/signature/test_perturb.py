"""Perturbations do what their names say, by the amounts they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.runtime.arrays import Uint8
from scanside.runtime.volume import Geometry, Volume
from scanside.training.signature.perturb import (
    adapt_volume,
    names,
    noise_level,
    perturb,
    random_contour,
    signed_distance,
)

SPACING = (6.0, 1.0, 1.25)


def _ball(shape: tuple[int, int, int] = (7, 48, 40), radius: float = 13.0) -> Uint8:
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, SPACING, strict=True)]
    squared = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    return (squared <= radius**2).astype(np.uint8)


def _dice(a: Uint8, b: Uint8) -> float:
    return float(2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()))


@given(part=st.floats(-0.9, 0.6), seed=st.integers(0, 99), radius=st.floats(3, 15))
@settings(max_examples=25)
def test_the_volume_changes_to_the_voxel_and_nested(part: float, seed: int, radius: float) -> None:
    mask = _ball(radius=radius)
    changed = adapt_volume(mask, SPACING, part, np.random.default_rng(seed))
    assert int(changed.sum()) == max(1, round(int(mask.sum()) * (1 + part)))
    smaller, larger = (changed, mask) if part < 0 else (mask, changed)
    assert not np.any(smaller & ~larger)


def test_erosion_takes_the_surface_in_millimetres() -> None:
    mask = _ball()
    inner = adapt_volume(mask, SPACING, -0.3, np.random.default_rng(0)) > 0
    distance = signed_distance(mask > 0, SPACING)
    taken = (mask > 0) & ~inner
    assert distance[taken].min() >= distance[inner].max() - 2e-3
    assert np.abs(distance[taken]).max() < 6.0  # never a slice's thickness deep


def test_the_distance_is_signed_and_in_millimetres() -> None:
    inside = np.zeros((3, 9, 9), dtype=bool)
    inside[1, 4, 4] = True
    distance = signed_distance(inside, SPACING)
    assert distance[1, 4, 4] == pytest.approx(-0.5)
    assert distance[1, 4, 6] == pytest.approx(2.0)
    assert distance[1, 7, 4] == pytest.approx(2.5)
    assert distance[2, 4, 4] == pytest.approx(5.5)


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_random_contour_is_another_reader(seed: int) -> None:
    mask = _ball()
    changed = random_contour(mask, SPACING, np.random.default_rng(seed))
    assert 0.8 < _dice(mask, changed) < 0.99


@pytest.mark.parametrize("name", names(8))
def test_every_kind_on_a_study(name: str) -> None:
    images, masks = _study()
    first, again = (
        perturb(name, images, masks, {"t2w": "t2w", "dwi": "dwi", "adc": "dwi"}, "a", 1) for _ in range(2)
    )
    other = perturb(name, images, masks, {"t2w": "t2w", "dwi": "dwi", "adc": "dwi"}, "b", 1)
    assert set(first.images) == {"t2w", "dwi", "adc"}
    for role in ("t2w", "dwi"):
        assert np.array_equal(first.masks[role], again.masks[role])
        assert not np.array_equal(first.masks[role], other.masks[role])
        assert 0.7 < _dice(first.masks[role], masks[role]) < 1
    moved = name.startswith("moved")
    for sequence, image in images.items():
        assert first.images[sequence].geometry == image.geometry
        assert np.array_equal(first.images[sequence].data, again.images[sequence].data)
        assert np.array_equal(first.images[sequence].data, image.data) != moved


def test_image_and_mask_move_together() -> None:
    images, masks = _study(noise=0.0)
    moved = perturb("moved-1", images, masks, {"t2w": "t2w", "dwi": "dwi", "adc": "dwi"}, "a", 1)
    bright = moved.images["t2w"].data[0] > 70
    assert _dice(bright.astype(np.uint8), moved.masks["t2w"]) > 0.97


def test_an_empty_mask_stays_empty() -> None:
    images, masks = _study()
    masks["dwi"][:] = 0
    for name in names(4):
        found = perturb(name, images, masks, {"t2w": "t2w", "dwi": "dwi", "adc": "dwi"}, "a", 1)
        assert not found.masks["dwi"].any()
        assert found.masks["t2w"].any()


@pytest.mark.parametrize("level", [1.0, 25.0])
def test_the_noise_is_found_beside_structure(level: float) -> None:
    random = np.random.default_rng(0)
    image = _ball((7, 96, 96), 30.0) * 500.0 + level * random.standard_normal((7, 96, 96))
    assert noise_level(image.astype(np.float32)) == pytest.approx(level, rel=0.1)


def test_names_go_round() -> None:
    assert names(5) == ("smaller-1", "larger-1", "contour-1", "moved-1", "smaller-2")
    assert names(0) == ()


def _study(noise: float = 5.0) -> tuple[dict[str, Volume], dict[str, Uint8]]:
    random = np.random.default_rng(0)
    masks = {"t2w": _ball(), "dwi": _ball((7, 30, 30), 10.0)}
    images = {}
    for sequence, role in {"t2w": "t2w", "dwi": "dwi", "adc": "dwi"}.items():
        mask = masks[role]
        data = 20 + 100.0 * mask + noise * random.standard_normal(mask.shape)
        images[sequence] = Volume(data[None].astype(np.float32), Geometry(mask.shape, SPACING))  # type: ignore[arg-type]
    return images, masks
