"""Surface distances against closed forms, against all pairs, and against axes in the wrong order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import marching_cubes, mesh_surface_area

from scanside.runtime.arrays import Mask
from scanside.runtime.masks.distances import diagonal_mm, distances, surface
from scanside.runtime.masks.overlap import overlap
from tests.support.properties import examples

THICK = (6.0, 0.8, 0.8)
"""Spacing of an abdominal MRI, (z, y, x)."""


def ball(
    shape: tuple[int, int, int], spacing: tuple[float, ...], centre: tuple[float, ...], radius: float
) -> Mask:
    """Voxels whose centre lies in a ball; centre in mm from the outer corner of voxel [0, 0, 0]."""
    grid = np.indices(shape).transpose(1, 2, 3, 0) + 0.5
    return np.linalg.norm(grid * spacing - centre, axis=-1) < radius


def box(shape: tuple[int, int, int], start: tuple[int, int, int], stop: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]] = True
    return mask


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
def test_concentric_balls_are_as_far_apart_as_their_radii(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(60 / s) for s in spacing)
    small, large = (ball(shape, spacing, (30, 30, 30), r) for r in (18.0, 25.0))  # type: ignore[arg-type]
    found = distances(large, small, spacing, (4.0, 9.0))
    # Elements sit at the corners of voxels, in a shell as thick as a voxel, and the nearest is taken: the mean comes
    # out short by about half a voxel (so it does in DeepMind's surface-distance), and never long.
    assert 7.0 - max(spacing) * 0.75 < found.masd_mm <= 7.0
    assert found.hd95_mm == pytest.approx(7.0, abs=max(spacing) * 0.5)
    assert found.nsd == {4.0: 0.0, 9.0: 1.0}


def test_shifted_balls() -> None:
    """Two balls of radius r, d apart: Dice 1 − 3x/2 + x³/2 with x = d/2r, largest distance d, mean distance d/2."""
    shape, radius, shift = (50, 50, 64), 20.0, 10.0
    first = ball(shape, (1, 1, 1), (25, 25, 25), radius)
    second = ball(shape, (1, 1, 1), (25, 25, 25 + shift), radius)
    x = shift / (2 * radius)
    assert overlap(first, second, (1, 1, 1)).dice == pytest.approx(1 - 1.5 * x + x**3 / 2, abs=2e-3)
    found = distances(first, second, (1, 1, 1), (shift - 1, shift + 1))
    # On a sphere the shift's part along the normal, cos θ, is uniform in −1…1: the mean distance is d/2 (and a little
    # less where it points inwards), the 95th percentile 0.95 d.
    assert found.masd_mm == pytest.approx(shift / 2, abs=0.6)
    assert found.hd95_mm == pytest.approx(0.95 * shift, abs=0.6)
    assert found.nsd[shift - 1] == pytest.approx(0.9, abs=0.06) and found.nsd[shift + 1] == 1.0


@pytest.mark.parametrize(
    ("shape", "spacing", "first", "second", "peer"),
    [
        ((40, 40, 40), (1.0, 1.0, 1.0), (20, 20, 20, 12.0), (22, 19, 20, 9.5), (4.2426, 2.1311, 0.2814, 0.4817, 1.0)),
        ((12, 50, 50), THICK, (36, 20, 20, 14.0), (42, 21.5, 19, 13.0), (6.0531, 2.3846, 0.4008, 0.5285, 0.7711)),
        ((20, 60, 40), (3.0, 0.7, 1.1), (30, 20, 20, 15), (24, 22, 23, 11), (9.7617, 3.8438, 0.2258, 0.3242, 0.5996)),
    ],
)  # fmt: skip
def test_distances_are_those_of_deepminds_surface_distance(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    first: tuple[float, ...],
    second: tuple[float, ...],
    peer: tuple[float, ...],
) -> None:
    """`peer` is what surface-distance 0.1 says of the same masks: HD95, MASD, surface Dice at 1, 2 and 5 mm."""
    a, b = (ball(shape, spacing, which[:3], which[3]) for which in (first, second))
    found = distances(a, b, spacing)
    assert found.hd95_mm == pytest.approx(peer[0], abs=1e-4)
    assert found.masd_mm == pytest.approx(peer[1], rel=5e-3)
    assert tuple(found.nsd.values()) == pytest.approx(peer[2:], abs=4e-3)


@pytest.mark.parametrize(("axis", "step"), [(0, 6.0), (1, 0.8), (2, 0.8)])
def test_a_shift_of_one_voxel_costs_that_axis_spacing(axis: int, step: float) -> None:
    """The axis-order trap: with (x, y, z) spacing on a [z, y, x] array a slice would cost 0.8 mm."""
    mask = box((8, 40, 40), (2, 10, 10), (5, 30, 30))
    found = distances(mask, np.roll(mask, 1, axis), THICK)
    assert found.hd95_mm == pytest.approx(step)
    wrong = distances(mask, np.roll(mask, 1, axis), (0.8, 0.8, 6.0))
    if axis == 0:
        assert wrong.hd95_mm == pytest.approx(0.8)
        assert found.nsd[2.0] < 0.65 and wrong.nsd[2.0] == 1.0


@examples(60)
@given(arrays(bool, (4, 5, 6)), arrays(bool, (4, 5, 6)), st.permutations((0, 1, 2)))
def test_axes_and_their_spacing_may_be_exchanged_together(a: Mask, b: Mask, order: list[int]) -> None:
    spacing = (5.0, 1.5, 0.7)
    turned = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    here, there = distances(a, b, spacing), distances(a.transpose(order), b.transpose(order), turned)
    assert there.hd95_mm == pytest.approx(here.hd95_mm) and there.masd_mm == pytest.approx(here.masd_mm)
    assert list(there.nsd.values()) == pytest.approx(list(here.nsd.values()))


@examples(60)
@given(arrays(bool, (4, 5, 6)), arrays(bool, (4, 5, 6)))
def test_distances_are_those_of_all_pairs_of_elements(a: Mask, b: Mask) -> None:
    spacing = (3.0, 1.0, 0.8)
    if not a.any() or not b.any():
        return
    (points_a, areas_a), (points_b, areas_b) = surface(a, spacing), surface(b, spacing)
    pairs = np.linalg.norm(points_a[:, None] - points_b[None], axis=2)
    forth, back = pairs.min(axis=1), pairs.min(axis=0)
    found = distances(a, b, spacing, (1.0, 4.0))

    def percentile(values: np.ndarray, weights: np.ndarray) -> float:
        return min(v for v in values if weights[values <= v].sum() >= 0.95 * weights.sum() * (1 - 1e-12))

    assert found.hd95_mm == pytest.approx(max(percentile(forth, areas_a), percentile(back, areas_b)))
    means = (forth @ areas_a / areas_a.sum(), back @ areas_b / areas_b.sum())
    assert found.masd_mm == pytest.approx(sum(means) / 2)
    within = areas_a[forth <= 1 + 1e-9].sum() + areas_b[back <= 1 + 1e-9].sum()
    assert found.nsd[1.0] == pytest.approx(within / (areas_a.sum() + areas_b.sum()))


def test_room_around_the_lesion_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.random((5, 7, 9)) > 0.7 for _ in range(2))
    room = ((20, 30), (11, 4), (50, 3))
    here, there = distances(a, b, THICK), distances(np.pad(a, room), np.pad(b, room), THICK)
    assert there.hd95_mm == pytest.approx(here.hd95_mm) and there.masd_mm == pytest.approx(here.masd_mm)
    assert list(there.nsd.values()) == pytest.approx(list(here.nsd.values()))


def test_empty_masks() -> None:
    full, empty = box((4, 10, 20), (1, 2, 3), (3, 5, 9)), np.zeros((4, 10, 20), dtype=bool)
    diagonal = math.sqrt((4 * 6.0) ** 2 + (10 * 0.8) ** 2 + (20 * 0.8) ** 2)
    assert diagonal_mm((4, 10, 20), THICK) == pytest.approx(diagonal)
    for pair in ((full, empty), (empty, full)):
        found = distances(*pair, THICK)
        assert found.hd95_mm == found.masd_mm == pytest.approx(diagonal)
        assert set(found.nsd.values()) == {0.0}
        assert overlap(*pair, THICK).dice == overlap(*pair, THICK).iou == 0.0
    both = distances(empty, empty, THICK)
    assert (both.hd95_mm, both.masd_mm, set(both.nsd.values())) == (0.0, 0.0, {1.0})
    assert overlap(empty, empty, THICK).dice == 1.0
    assert overlap(empty, empty, THICK).relative_volume_error == 0.0
    assert math.isnan(overlap(empty, full, THICK).relative_volume_error)


def test_identical_masks_at_the_border_of_the_image() -> None:
    full = np.ones((3, 4, 5), dtype=bool)
    found = distances(full, full, THICK)
    assert (found.hd95_mm, found.masd_mm, set(found.nsd.values())) == (0.0, 0.0, {1.0})


def test_areas() -> None:
    _, one_voxel = surface(np.ones((1, 1, 1), dtype=bool), (1.0, 1.0, 1.0))
    assert one_voxel.sum() == pytest.approx(math.sqrt(3))  # an octahedron of edge √½
    _, plate = surface(np.ones((1, 50, 60), dtype=bool), THICK)
    assert plate.sum() == pytest.approx(
        2 * 50 * 60 * 0.64 + 2 * (50 + 60) * 0.8 * 6, rel=0.04
    )  # edges are cut
    generator = np.random.default_rng(1)
    for spacing in ((1.0, 1.0, 1.0), THICK):
        mask = np.pad(ball((14, 40, 40), spacing, (7 * spacing[0], 16, 16), 13.0), 1)
        mask &= generator.random(mask.shape) > 0.002
        vertices, faces, _, _ = marching_cubes(mask.astype(float), 0.5, spacing=spacing)
        assert surface(mask, spacing)[1].sum() == pytest.approx(mesh_surface_area(vertices, faces), rel=0.02)


def test_volumes_and_what_is_refused() -> None:
    a, b = box((4, 10, 20), (0, 0, 0), (2, 5, 10)), box((4, 10, 20), (0, 0, 0), (2, 5, 12))
    found = overlap(a, b, THICK)
    assert found.reference_ml == pytest.approx(100 * 3.84e-3) and found.automatic_ml == pytest.approx(0.4608)
    assert found.relative_volume_error == pytest.approx(0.2)
    assert found.dice == pytest.approx(200 / 220) and found.iou == pytest.approx(100 / 120)
    with pytest.raises(ValueError, match="one grid"):
        distances(a, b[1:], THICK)
    with pytest.raises(ValueError, match="one grid"):
        overlap(a, b[1:], THICK)
    with pytest.raises(ValueError, match="not positive"):
        distances(a, b, (6.0, 0.0, 0.8))
