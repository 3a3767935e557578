import numpy as np
import pytest

from scanside.training.evaluation.lesion_hits import Hits, lesion_hits


def cubes(*places: tuple[int, int]) -> np.ndarray:
    """Bars of 10 × 2 × 2 voxels in the x direction, each at (first z, first x)."""
    mask = np.zeros((20, 2, 60), dtype=bool)
    for z, x in places:
        mask[z : z + 2, :, x : x + 10] = True
    return mask


def test_a_hit_needs_a_tenth_of_the_union() -> None:
    reference = cubes((0, 0))
    # 10 + 10 voxels a row; overlap 2 → 2/18 = 0.111, overlap 1 → 1/19 = 0.053
    assert lesion_hits(reference, cubes((0, 8))) == Hits(1, 1, 0)
    assert lesion_hits(reference, cubes((0, 9))) == Hits(1, 0, 1)


def test_splits_and_merges_pair_one_to_one() -> None:
    reference = cubes((0, 0), (6, 0), (12, 0))
    assert lesion_hits(reference, reference) == Hits(3, 3, 0)
    assert lesion_hits(reference, cubes((0, 0), (6, 30))) == Hits(3, 1, 1)
    halves = cubes((0, 0))
    halves[:, :, 5] = False
    assert lesion_hits(cubes((0, 0)), halves) == Hits(1, 1, 1)
    assert lesion_hits(halves, cubes((0, 0))) == Hits(2, 1, 0)


def test_as_many_pairs_as_possible() -> None:
    """One candidate overlaps both lesions, best with the first; the other overlaps the first alone."""
    reference = np.zeros((1, 1, 40), dtype=bool)
    reference[..., 0:10] = reference[..., 11:16] = True
    automatic = np.zeros_like(reference)
    automatic[..., 0:3] = True
    automatic[..., 4:16] = True
    assert lesion_hits(reference, automatic) == Hits(2, 2, 0)


@pytest.mark.parametrize("diagonal", [(1, 1, 1), (0, 1, 1), (1, 0, 0)])
def test_voxels_that_touch_are_one_lesion(diagonal: tuple[int, int, int]) -> None:
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[diagonal] = True
    assert lesion_hits(mask, np.zeros_like(mask)) == Hits(1, 0, 0)
    assert lesion_hits(np.zeros_like(mask), mask) == Hits(0, 0, 1)
    assert lesion_hits(np.zeros_like(mask), np.zeros_like(mask)) == Hits(0, 0, 0)
