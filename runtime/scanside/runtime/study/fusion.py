"""One sequence's mask, decided together with another sequence's probabilities (late fusion).

Two sequences that show the same lesion are two witnesses of it. Where their errors are independent, log-odds add: a
voxel is lesion where its own log-odds, and the weighted ones of the other sequence at the same place of the patient,
exceed a limit. `scanside train fusion` chooses the numbers on masks of networks that have not seen the patient; the
same functions decide there and at the scanner. This is not nnU-Net's mask any more: ADR 44.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from scanside.runtime.arrays import Float32, LabelMask, Mask
from scanside.runtime.manifest import Fusion
from scanside.runtime.plan import Plan
from scanside.runtime.segmenter import measured
from scanside.runtime.stages.postprocess import postprocess
from scanside.runtime.study.diffusion import RIM, indices_in, points_of
from scanside.runtime.study.records import Odds, Segmented
from scanside.runtime.volume import Geometry

EDGE = 1e-4
"""Probabilities end this far from 0 and 1: one voxel of one sequence never outweighs every word of the other."""


def odds(probability: Float32, geometry: Geometry) -> Odds:
    """Of the probabilities (Z, Y, X) that a segmenter gives, brought within `EDGE` of 0 and 1."""
    return Odds(np.clip(probability, np.float32(EDGE), np.float32(1 - EDGE)), geometry)


def seen_from(other: Odds, grid: Geometry, blur_mm: float) -> Float32:
    """The other sequence's log-odds at the voxels of a grid, in patient space.

    Probabilities are blurred first, and read linearly; the rim of half a voxel takes its nearest values.

    Args:
        blur_mm: Standard deviation of the Gauss filter, mm, cut at four of them; at the image's end it is mirrored.

    Returns:
        (Z, Y, X) of the grid, NaN where the other sequence was not acquired.
    """
    blurred = ndimage.gaussian_filter(other.probability, [blur_mm / step for step in other.geometry.spacing])
    corners = np.vstack(
        [np.zeros(3, int), np.eye(3, dtype=int)]
    )  # z, y, x of the first voxel and its neighbours
    start, *ends = indices_in(other.geometry, points_of(grid, corners).T).T
    steps = np.stack(ends, axis=1) - start[:, None]
    values = ndimage.affine_transform(
        blurred, steps, start, output_shape=grid.shape, order=1, mode="nearest", output=np.float32
    )
    axes = np.ogrid[tuple(slice(size) for size in grid.shape)]
    acquired = np.ones(grid.shape, bool)
    for row, offset, size in zip(steps, start, other.geometry.shape, strict=True):
        where = sum((step * axis for step, axis in zip(row, axes, strict=True) if step), offset)
        acquired &= (where >= -RIM) & (where <= size - 1 + RIM)
    return np.where(acquired, log_odds(values), np.float32(np.nan))


def log_odds(probability: Float32) -> Float32:
    """Natural logarithm of p / (1 - p), float32."""
    return np.asarray(np.log(probability / (1 - probability)), np.float32)


def together(own: Odds, other: Float32, fusion: Fusion) -> Mask:
    """Which voxels are lesion.

    Args:
        other: What `seen_from` gives on the own grid. Where it is NaN the own sequence decides alone: above even odds.

    Returns:
        (Z, Y, X) on the own grid.
    """
    alone = log_odds(own.probability)
    total = alone + np.float32(fusion.weight) * other
    return np.where(np.isnan(other), alone > 0, total > np.float32(fusion.limit))


def fused_mask(found: Mask, plan: Plan) -> LabelMask:
    """The segmenter's mask of these voxels: its label, and its own postprocessing."""
    mask = found.astype(plan.labels.mask_dtype) * np.dtype(plan.labels.mask_dtype).type(
        plan.labels.foreground[0]
    )
    return postprocess(mask, plan.postprocessing)


def decided(own: Odds, other: Odds, fusion: Fusion, plan: Plan) -> LabelMask:
    """A role's mask (Z, Y, X), decided together with the other role's probabilities.

    Args:
        plan: Of the own segmenter.
    """
    there = seen_from(other, own.geometry, fusion.blur_mm)
    return fused_mask(together(own, there, fusion), plan)


def fuse(
    segmented: Mapping[str, Segmented], fusions: Sequence[Fusion], plans: Mapping[str, Plan]
) -> dict[str, Segmented]:
    """Decide the masks of a study that are decided together; the others stay. Probabilities are let go.

    Args:
        segmented: By role, with `odds` for every role that a fusion names.
        plans: By role.
    """
    made = {role: replace(found, odds=None) for role, found in segmented.items()}
    for fusion in fusions:
        own, other = segmented[fusion.role].odds, segmented[fusion.other].odds
        assert own is not None and other is not None
        plan = plans[fusion.role]
        mask = decided(own, other, fusion, plan)
        volumes = measured(mask, plan, own.geometry)[0] or {}
        lesion = (mask > 0).astype(np.uint8)
        made[fusion.role] = replace(made[fusion.role], mask=mask, lesion=lesion, labels=volumes)
    return made


def asked_for(fusions: Sequence[Fusion]) -> frozenset[str]:
    """The roles whose probabilities the fusions need."""
    return frozenset(name for one in fusions for name in (one.role, one.other))
