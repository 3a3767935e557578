"""Which lesion of each sequence is *the* lesion: decided for all sequences together, in patient space.

The same function chooses the regions that the signature is learned on and the regions that a new study is measured in.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from scanside.runtime.stages.lesions import largest_lesions
from scanside.runtime.study.diffusion import points_of
from scanside.runtime.volume import Geometry

Labels = npt.NDArray[np.integer]
Points = npt.NDArray[np.float64]
Gaps = dict[tuple[str, str], list[list[float]]]

NEAR_MM = 10.0
"""Two lesions are one where their nearest voxels lie within this. Breath holds differ by up to 13 mm along the body's
axis (MRM 81:1863, 2019), gas shifts an EPI within its slices, and slices are 5 to 7 mm apart; a large lesion still
overlaps itself then, and a small one comes as near as this."""
LOOKED_AT = 8
"""Lesions of a sequence that may be chosen, largest first."""


@dataclass(frozen=True)
class Regions:
    """What is measured.

    Attributes:
        measured: Role → number of its lesion (1 is the largest); only roles that have one.
        gap_mm: Between the two measured lesions that lie farthest apart, from voxel centre to nearest voxel centre (a
            few mm where they overlap); None with fewer than two.
        apart: Whether no choice of lesions agrees: then the largest ones are `measured`, and nothing may be computed
            from several of them together.
    """

    measured: Mapping[str, int]
    gap_mm: float | None
    apart: bool


def choose_regions(
    lesions: Mapping[str, Labels], grids: Mapping[str, Geometry], near_mm: float = NEAR_MM
) -> Regions:
    """Choose one lesion of each sequence so that they agree; of several such choices the largest one.

    Lesions agree where each lies within `near_mm` of each other one. The largest choice has the largest product of
    volumes: a large false positive with a speck beside it in the other sequence does not beat two middling lesions.

    Args:
        lesions: Role → (Z, Y, X), 1 is lesion; roles without one are left out of the choice.
        grids: Role → where its voxels lie.
        near_mm: Largest distance between two voxels' centres that still touch, mm.
    """
    found = _found(lesions, grids, LOOKED_AT)
    gaps = _gaps(found)
    volumes = {
        role: [len(points) * grids[role].voxel_volume_ml for points in parts] for role, parts in found.items()
    }
    best: tuple[float, dict[str, int], float] | None = None
    for choice in itertools.product(*(range(len(parts)) for parts in found.values())):
        at = dict(zip(found, choice, strict=True))
        widest = _widest(gaps, at)
        size = math.prod(volumes[role][index] for role, index in at.items())
        if widest <= near_mm and (best is None or size > best[0]):
            best = size, at, widest
    if best is None:
        return replace(largest_regions(lesions, grids), apart=True)
    _, at, widest = best
    return Regions({role: index + 1 for role, index in at.items()}, widest if gaps else None, apart=False)


def largest_regions(lesions: Mapping[str, Labels], grids: Mapping[str, Geometry]) -> Regions:
    """The largest lesion of each sequence, wherever it lies: what bundles before schema 3 were trained on."""
    found = _found(lesions, grids, 1)
    gaps = _gaps(found)
    return Regions(
        dict.fromkeys(found, 1), _widest(gaps, dict.fromkeys(found, 0)) if gaps else None, apart=False
    )


def _found(
    lesions: Mapping[str, Labels], grids: Mapping[str, Geometry], most: int
) -> dict[str, list[Points]]:
    return {role: _lesions(mask, grids[role], most) for role, mask in lesions.items() if mask.any()}


def _gaps(found: Mapping[str, list[Points]]) -> Gaps:
    """Pair of roles → distance of each lesion of the one from each lesion of the other, mm."""
    return {
        (a, b): [[_gap(one, other) for other in found[b]] for one in found[a]]
        for a, b in itertools.combinations(found, 2)
    }


def _widest(gaps: Gaps, at: Mapping[str, int]) -> float:
    """The largest distance between the lesions at these places."""
    return max((rows[at[a]][at[b]] for (a, b), rows in gaps.items()), default=0.0)


def _lesions(mask: Labels, grid: Geometry, most: int) -> list[Points]:
    """(N, 3) x, y, z of the voxels of each lesion, largest first, mm."""
    numbered = largest_lesions(mask, most)
    where = np.argwhere(numbered)
    points, number = points_of(grid, where), numbered[tuple(where.T)]
    return [points[number == n] for n in range(1, int(number.max()) + 1)]


def _gap(one: Points, other: Points) -> float:
    """Distance between the nearest voxel centres, mm."""
    few, many = (one, other) if len(one) < len(other) else (other, one)
    return float(cKDTree(many).query(few)[0].min())
