"""Implicit shapes: where their surface is, and how long a lesion is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.training.phantom.lesion import DIAGNOSES, draw_parameters, make_lesion
from scanside.training.phantom.shapes import Above, Ellipsoid, Lobed, Noise, Rough, Trunk, Tube

mm = st.floats(-60, 60)
radius = st.floats(4, 40)


def at(x: float, y: float, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array([x], np.float32), np.array([y], np.float32), np.array([z], np.float32)


@given(centre=st.tuples(mm, mm, mm), radii=st.tuples(radius, radius, radius), axis=st.integers(0, 2))
def test_the_surface_of_an_ellipsoid(
    centre: tuple[float, float, float], radii: tuple[float, float, float], axis: int
) -> None:
    shape = Ellipsoid(centre, radii)
    point = list(centre)
    point[axis] += radii[axis]
    assert abs(float(shape.distance(*at(point[0], point[1], point[2]))[0])) < 0.01
    point[axis] += 0.5
    assert 0.2 < float(shape.distance(*at(point[0], point[1], point[2]))[0]) < 0.8, (
        "near the surface it is a distance"
    )
    assert float(shape.distance(*at(*centre))[0]) <= 0
    low, high = shape.box
    assert np.allclose(high - low, 2 * np.array(radii))


@given(length=st.floats(10, 80), r0=radius, r1=radius, t=st.floats(0, 1), turn=st.floats(0, 6.28))
def test_the_surface_of_a_straight_tube(length: float, r0: float, r1: float, t: float, turn: float) -> None:
    tube = Tube(np.array([[0.0, 0, 0], [length, 0, 0]]), np.array([r0, r1]))
    here = r0 + t * (r1 - r0)
    point = (t * length, here * np.cos(turn), here * np.sin(turn))
    assert abs(float(tube.distance(*at(*point))[0])) < 0.01
    low, high = tube.box
    assert (np.array(point) >= low - 1e-6).all()
    assert (np.array(point) <= high + 1e-6).all()


def test_a_tall_tube_is_taller_than_wide() -> None:
    tube = Tube(np.array([[0.0, 0, 0], [50, 0, 0]]), np.array([10.0, 10.0]), tall=1.5)
    assert float(tube.distance(*at(25, 0, 15))[0]) == pytest.approx(0, abs=1e-4)
    assert float(tube.distance(*at(25, 10, 0))[0]) == pytest.approx(0, abs=1e-4)


@given(heights=st.lists(st.floats(-40, 40), min_size=6, max_size=6), low=st.floats(-40, 30))
def test_a_clipped_tube_is_the_same_in_the_slab(heights: list[float], low: float) -> None:
    nodes = np.c_[np.linspace(0, 60, 6), np.zeros(6), heights]
    tube = Tube(nodes, np.full(6, 6.0))
    high = low + 6
    x, y, z = (a.astype(np.float32) for a in np.meshgrid(np.linspace(-5, 65, 15), [-3, 0, 4], [low, high]))
    whole, part = tube.distance(x, y, z), tube.clip(low, high)
    inside = whole < 0
    assert not inside.any() if part is None else np.array_equal(part.distance(x, y, z) < 0, inside)


def test_gas_lies_in_front_of_fluid() -> None:
    gas = Above(Ellipsoid((0, 0, 0), (20, 20, 20)), -5.0)
    assert float(gas.distance(*at(0, -10, 0))[0]) < 0 < float(gas.distance(*at(0, 5, 0))[0])


def test_a_trunk_has_no_ends() -> None:
    trunk = Trunk((0, 0), (150, 100))
    for z in (-500.0, 0.0, 500.0):
        assert float(trunk.distance(*at(150, 0, z))[0]) == pytest.approx(0, abs=0.1)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_noise_is_smooth_periodic_and_of_unit_variance(seed: int) -> None:
    noise = Noise.draw(np.random.default_rng(seed), 24)
    assert float(noise.lattice.std()) == pytest.approx(1, abs=1e-3)
    assert noise.at(*at(1.3, -2.0, 5.5), 3.0)[0] == pytest.approx(
        noise.at(*at(1.3 + 24, -2.0 - 24, 5.5), 3.0)[0], abs=1e-3
    )
    step = np.abs(np.diff(noise.lattice, axis=0)).mean()
    assert step < 0.8, "neighbours are alike"
    rough = Rough(Ellipsoid((0, 0, 0), (20, 20, 20)), noise, 2.0, 8.0)
    assert (rough.box[1] == 26).all()


@given(seed=st.integers(0, 99), depth=st.floats(0.5, 2.2))
@settings(max_examples=10)
def test_lobes_bulge_between_sharp_clefts(seed: int, depth: float) -> None:
    """Clefts lie 0.8 times the depth inside the smooth surface, lobes reach no further than the box."""
    noise, ball = Noise.draw(np.random.default_rng(seed)), Ellipsoid((0, 0, 0), (15, 15, 15))
    lobed = Lobed(ball, noise, depth, 8.0)
    turns = np.random.default_rng(seed).standard_normal((3, 3000))
    x, y, z = (15 * turns / np.linalg.norm(turns, axis=0)).astype(np.float32)
    height = lobed.distance(x, y, z) - ball.distance(x, y, z)
    assert float(height.max()) == pytest.approx(0.8 * depth, abs=0.05 * depth)
    assert np.quantile(height, 0.9) > 0.5 * depth, "the deep part is narrow, and there"
    assert float(-height.min()) <= float((lobed.box[1] - 15).min())
    assert abs(float(height.mean())) < 0.25 * depth, "the volume stays"


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_is_as_long_as_drawn(diagnosis: str, seed: int) -> None:
    parameters = draw_parameters(np.random.default_rng(seed), diagnosis)
    lesion = make_lesion(np.random.default_rng(seed + 50), parameters, (5.0, -20.0, 10.0), 3.0)
    low, high = lesion.box
    axes = [np.linspace(a, b, 61).astype(np.float32) for a, b in zip(low, high, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = lesion.distance(x, y, z) < 0
    points = np.stack([x[inside], y[inside], z[inside]], axis=1)
    directions = np.random.default_rng(0).standard_normal((600, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    reach = points @ directions.T
    longest = float((reach.max(axis=0) - reach.min(axis=0)).max())
    voxel = float(axes[0][1] - axes[0][0])
    assert longest == pytest.approx(parameters.size_mm, abs=2 * voxel + 0.03 * parameters.size_mm)


def test_cysts_and_clots_fill_their_share() -> None:
    parameters = replace(
        draw_parameters(np.random.default_rng(1), "SPN"),
        size_mm=60.0,
        cystic=0.3,
        clot=0.15,
        irregularity=0.05,
    )
    shares = []
    for seed in range(60):
        lesion = make_lesion(np.random.default_rng(seed), parameters, (0.0, 0.0, 0.0), 3.0)
        x, y, z = np.meshgrid(*[np.linspace(-25, 25, 16, dtype=np.float32)] * 3, indexing="ij")
        distance = lesion.distance(x, y, z)
        deep = distance < -3
        matter = lesion.matter(x, y, z, distance)
        shares.append((matter.cyst[deep].mean(), matter.clot[deep].mean()))
        assert float((matter.cyst + matter.clot).max()) <= 1 + 1e-5
    assert np.mean(shares, axis=0) == pytest.approx([0.3, 0.15 * 0.7], abs=0.06)
