"""Do the lesions of two sequences mean the same place? Breathing and EPI distortion shift them by a centimetre."""

import numpy as np

from scanside.runtime.remark import Remark
from scanside.runtime.study.diffusion import grid_points, indices_in, inside
from scanside.runtime.study.records import RoleResult
from scanside.runtime.volume import Geometry

NEAR_MM = 15.0
"""Centroids nearer than this are one lesion: at 3 T, 100 Hz shift an EPI by 11 mm (Δf · ESP · FOV / R)."""


def disagreement(one: RoleResult, grid: Geometry, other: RoleResult, other_grid: Geometry) -> list[str]:
    """A warning when the main lesions neither overlap in patient space nor lie within `NEAR_MM`; else nothing."""
    gap = float(np.linalg.norm(np.subtract(one.lesions[0].centroid_mm, other.lesions[0].centroid_mm)))
    if gap <= NEAR_MM or overlapping(one, grid, other, other_grid):
        return []
    sentence = (
        f"The lesions on {one.role} and {other.role} lie {gap:.0f} mm apart and do not overlap: they may be two "
        "lesions, and the signature mixes both; look at the overlays."
    )
    return [Remark(sentence, "lesions-apart")]


def overlapping(one: RoleResult, grid: Geometry, other: RoleResult, other_grid: Geometry) -> bool:
    """Whether a voxel of one main lesion has its centre in the other one; asked from both sides, as voxels differ."""

    def hits(a: RoleResult, a_grid: Geometry, b: RoleResult, b_grid: Geometry) -> bool:
        points = grid_points(a_grid)[:, a.main.ravel() > 0]
        where = indices_in(b_grid, points)
        where = np.rint(where[:, inside(b_grid, where)]).astype(np.int64)
        return bool(b.main[tuple(np.clip(where, 0, np.array(b.main.shape)[:, None] - 1))].any())

    return hits(one, grid, other, other_grid) or hits(other, other_grid, one, grid)
