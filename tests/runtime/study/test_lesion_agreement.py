"""Which lesion of each sequence is measured, on grids of their own; against a plain search over all voxels."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from scanside.runtime.stages.lesions import find_lesions, one_lesion
from scanside.runtime.study.diffusion import grid_points
from scanside.runtime.study.lesion_agreement import choose_regions, largest_regions
from scanside.runtime.volume import Geometry

pytestmark = pytest.mark.requirement("right-lesion")

OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
GRIDS = {
    "t2w": Geometry((6, 20, 22), (6.0, 2.0, 2.0), (-20.0, -18.0, -15.0), OBLIQUE),
    "dwi": Geometry((7, 14, 15), (5.0, 3.0, 3.0), (-21.0, -20.0, -16.0)),
}


def balls(role: str, *places: tuple[tuple[float, float, float], float]) -> np.ndarray:
    """Voxels within a radius of places, x, y, z in mm."""
    points = grid_points(GRIDS[role])
    inside = np.zeros(points.shape[1], dtype=bool)
    for centre, radius in places:
        inside |= np.linalg.norm(points - np.reshape(centre, (3, 1)), axis=0) < radius
    return inside.reshape(GRIDS[role].shape).astype(np.uint8)


def points(role: str, mask: np.ndarray, number: int) -> np.ndarray:
    return grid_points(GRIDS[role])[:, one_lesion(mask, number).ravel() > 0].T


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 30.0))
def test_the_choice_is_the_largest_of_those_that_agree(seed: int, near: float) -> None:
    random = np.random.default_rng(seed)
    masks = {
        role: (ndimage.gaussian_filter(random.standard_normal(grid.shape), 1.2) > 0.45).astype(np.uint8)
        for role, grid in GRIDS.items()
    }
    found = choose_regions(masks, GRIDS, near)
    sizes = {r: [lesion.volume_ml for lesion in find_lesions(m, GRIDS[r], r)] for r, m in masks.items()}
    assert set(found.measured) == {role for role, mask in masks.items() if mask.any()}
    if len(found.measured) < 2:
        assert found.gap_mm is None and not found.apart
        return
    gaps = {
        (a, b): float(cdist(points("t2w", masks["t2w"], a), points("dwi", masks["dwi"], b)).min())
        for a, b in itertools.product(*(range(1, min(len(sizes[r]), 8) + 1) for r in GRIDS))
    }
    agreeing = {pair for pair, gap in gaps.items() if gap <= near}
    assert found.apart == (not agreeing)
    chosen = (found.measured["t2w"], found.measured["dwi"])
    assert found.gap_mm == pytest.approx(gaps[chosen])
    if agreeing:
        best = max(sizes["t2w"][a - 1] * sizes["dwi"][b - 1] for a, b in agreeing)
        assert sizes["t2w"][chosen[0] - 1] * sizes["dwi"][chosen[1] - 1] == pytest.approx(best)
    else:
        assert chosen == (1, 1)


def test_a_breath_between_the_acquisitions_is_still_one_lesion() -> None:
    """A lesion of 14 mm, moved by 13 mm: it no longer overlaps itself."""
    masks = {"t2w": balls("t2w", ((0, 0, 0), 7.0)), "dwi": balls("dwi", ((0, 0, 13.0), 7.0))}
    assert not choose_regions(masks, GRIDS).apart
    far = {**masks, "dwi": balls("dwi", ((0, 0, -15.0), 4.0))}
    assert choose_regions({**far, "t2w": balls("t2w", ((0, 0, 12.0), 4.0))}, GRIDS).apart


def test_a_wrong_place_with_a_speck_beside_it_does_not_win() -> None:
    masks = {
        "t2w": balls("t2w", ((2, -16, 0), 9.0), ((0, 10, 0), 7.0)),
        "dwi": balls("dwi", ((2, -16, 0), 2.8), ((0, 10, 0), 8.0)),
    }
    assert [len(find_lesions(mask, GRIDS[role], role)) for role, mask in masks.items()] == [2, 2]
    assert choose_regions(masks, GRIDS).measured == {"t2w": 2, "dwi": 1}
    assert largest_regions(masks, GRIDS).measured == {"t2w": 1, "dwi": 1}


def test_one_sequence_with_a_lesion_and_none() -> None:
    empty = {role: np.zeros(grid.shape, np.uint8) for role, grid in GRIDS.items()}
    assert choose_regions(empty, GRIDS).measured == {} and not choose_regions(empty, GRIDS).apart
    alone = choose_regions({**empty, "dwi": balls("dwi", ((0, 0, 0), 6.0))}, GRIDS)
    assert alone.measured == {"dwi": 1} and alone.gap_mm is None and not alone.apart
