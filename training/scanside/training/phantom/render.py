"""Anatomy → signal on a grid, by painting parts over one another in every slice.

Each slice is made of three thinner ones, and a part covers a voxel by how far the voxel's centre lies inside it, so
that voxels on a boundary mix the signals of both sides (partial volume).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.volume import Geometry
from scanside.training.phantom.anatomy import Anatomy
from scanside.training.phantom.lesion import Lesion, Matter
from scanside.training.phantom.motion import Breath, Distortion, axes_of, held_weight
from scanside.training.phantom.shapes import Box

THIN = 3
"""Thin slices that make up a slice."""

LABELS = (
    "",
    "pancreas",
    "liver",
    "spleen",
    "muscle",
    "fluid",
    "bile",
    "lesion",
    "fat",
    "obstructed",
    "other",
)
"""What `Rendered.labels` counts; 0 where a voxel is not purely one of them."""
_LABEL_OF = {name: number for number, name in enumerate(LABELS) if name}
_OTHER = _LABEL_OF["other"]

LesionSignal = Callable[[Matter], Float32]
"""Matter at N points → (C, ...) signals."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """What an ideal scanner would measure.

    Attributes:
        signal: (C, Z, Y, X) float32.
        lesion: (Z, Y, X) fraction of each voxel that is lesion, 0..1.
        labels: (Z, Y, X) uint8, index in `LABELS` where all thin slices agree.
        bare: (C, Z, Y, X) float32 signal of the same body without the lesion, where it was asked for.
        bare_labels: The labels of that.
    """

    signal: Float32
    lesion: Float32
    labels: npt.NDArray[np.uint8]
    bare: Float32 | None = None
    bare_labels: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class View:
    """How an acquisition looks at the body.

    Attributes:
        geometry: Its grid (axial).
        thickness: Slice thickness, mm.
        breath: Where the organs stood.
        distortion: For EPI.
    """

    geometry: Geometry
    thickness: float
    breath: Breath
    distortion: Distortion | None = None


@dataclass(frozen=True, eq=False)
class _Slab:
    """One slice's thin slices: the body points they show; with and without the large-scale deformation."""

    x: Float32
    y: Float32
    rigid: tuple[Float32, Float32, Float32]
    warped: tuple[Float32, Float32, Float32]

    def window(self, box: Box, warped: bool) -> tuple[slice, slice] | None:
        """Rows and columns that may lie in a box, or None."""
        bx, by, _ = self.warped if warped else self.rigid
        (low_x, low_y, _), (high_x, high_y, _) = box
        rows = _span(self.y, by[0].min(axis=1) <= high_y + 3, by[0].max(axis=1) >= low_y - 3)
        columns = _span(self.x, bx[0].min(axis=0) <= high_x + 3, bx[0].max(axis=0) >= low_x - 3)
        return None if rows is None or columns is None else (rows, columns)


def render(
    anatomy: Anatomy,
    view: View,
    signals: Mapping[str, Float32],
    lesion_signal: LesionSignal,
    *,
    bare: bool = False,
) -> Rendered:
    """Paint the anatomy on a grid.

    Args:
        anatomy: The patient.
        view: The acquisition's geometry.
        signals: (C,) signal of each tissue.
        lesion_signal: Signal of the lesion's matter.
        bare: Also without the lesion.
    """
    channels, shape = len(next(iter(signals.values()))), view.geometry.shape
    signal = np.zeros((channels, *shape), dtype=np.float32)
    lesion, labels = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    without, without_labels = (np.zeros_like(signal), np.zeros_like(labels)) if bare else (None, None)
    pixel = float(view.geometry.spacing[1])
    for k in range(shape[0]):
        slab = _slab(anatomy, view, k)
        canvas, marks = _paint_parts(anatomy, slab, signals, channels, pixel)
        if without is not None and without_labels is not None:
            without[:, k], without_labels[k] = canvas.mean(axis=1), _agreed(marks)
        part = _paint_lesion(anatomy.lesion, slab, canvas, marks, lesion_signal, pixel)
        signal[:, k], lesion[k] = canvas.mean(axis=1), part.mean(axis=0)
        labels[k] = _agreed(marks)
    if view.distortion is not None:
        signal *= view.distortion.jacobian
        if without is not None:
            without *= view.distortion.jacobian
    return Rendered(signal, lesion, labels, without, without_labels)


def _agreed(marks: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(Y, X) label where all thin slices, (THIN, Y, X), have it; else 0."""
    found = np.where((marks == marks[:1]).all(axis=0), marks[0], 0)
    found[found == _OTHER] = 0
    return found


def _slab(anatomy: Anatomy, view: View, k: int) -> _Slab:
    x, y, z = axes_of(view.geometry)
    gy = y[:, None] if view.distortion is None else view.distortion.source_y[k]
    gx, gy = np.broadcast_arrays(x[None, :], gy)
    weight = held_weight(gy)
    ox, oy, oz = view.breath.offsets[k].astype(np.float32)
    bx, by, bz = gx - weight * ox, gy - weight * oy, z[k] - weight * oz
    thin = (((np.arange(THIN) + 0.5) / THIN - 0.5) * view.thickness).astype(np.float32)[:, None, None]
    wx, wy, wz = _warp(anatomy, bx, by, bz)
    return _Slab(
        x,
        y,
        (bx[None], by[None], bz[None] + thin),
        ((bx + wx)[None], (by + wy)[None], (bz + wz)[None] + thin),
    )


def _warp(anatomy: Anatomy, x: Float32, y: Float32, z: Float32) -> tuple[Float32, Float32, Float32]:
    """The large-scale deformation at (Y, X) points, mm: computed at every eighth row and column, linear between."""
    kept, spread = zip(*(_eighth(n) for n in x.shape), strict=True)
    few_x, few_y, few_z = (np.ascontiguousarray(axis[np.ix_(*kept)]) for axis in (x, y, z))
    scale, (down, across) = np.float32(anatomy.warp_mm), spread
    wx, wy, wz = (scale * (down @ noise.at(few_x, few_y, few_z, 110.0) @ across.T) for noise in anatomy.warp)
    return wx, wy, wz


@cache
def _eighth(count: int) -> tuple[npt.NDArray[np.intp], Float32]:
    """Every eighth of `count` places with the last, and the (count, kept) weights of linear interpolation."""
    kept = np.unique(np.append(np.arange(0, count, 8), count - 1))
    rows = np.eye(len(kept), dtype=np.float32)
    weights = np.stack([np.interp(np.arange(count), kept, row) for row in rows], axis=1)
    return kept, weights.astype(np.float32)


def _span(axis: Float32, below: npt.NDArray[np.bool_], above: npt.NDArray[np.bool_]) -> slice | None:
    inside = np.flatnonzero(below & above)
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else None


def _paint_parts(
    anatomy: Anatomy, slab: _Slab, signals: Mapping[str, Float32], channels: int, pixel: float
) -> tuple[Float32, npt.NDArray[np.uint8]]:
    """(C, THIN, Y, X) signals and (THIN, Y, X) labels of all parts, without the lesion."""
    shape = (THIN, len(slab.y), len(slab.x))
    canvas, marks = np.zeros((channels, *shape), dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    x, y, z = slab.rigid
    ripple = anatomy.ripple.at(x[0], y[0], z[1], 7.0)
    lows, highs = {}, {}
    for warped, points in ((True, slab.warped), (False, slab.rigid)):
        lows[warped], highs[warped] = float(points[2].min()), float(points[2].max())
    for part in anatomy.parts:
        shape_here = part.shape.clip(lows[part.warped] - 1, highs[part.warped] + 1)
        window = None if shape_here is None else slab.window(shape_here.box, part.warped)
        if shape_here is None or window is None:
            continue
        px, py, pz = (c[(slice(None), *window)] for c in (slab.warped if part.warped else slab.rigid))
        cover = np.clip(np.float32(0.5) - shape_here.distance(px, py, pz) * np.float32(1 / pixel), 0, 1)
        value = 1 + np.float32(part.ripple) * ripple[window]
        _over(canvas, window, cover, [signal * value for signal in signals[part.tissue]])
        marks[(slice(None), *window)][cover > 0.5] = _LABEL_OF.get(part.tissue, _OTHER)
    return canvas, marks


def _paint_lesion(
    lesion: Lesion,
    slab: _Slab,
    canvas: Float32,
    marks: npt.NDArray[np.uint8],
    signal: LesionSignal,
    pixel: float,
) -> Float32:
    """Paint the lesion; returns (THIN, Y, X) how much of each voxel it covers."""
    covered = np.zeros(marks.shape, dtype=np.float32)
    x, y, z = slab.rigid
    here = lesion.clip(float(z.min()), float(z.max()))
    window = None if here is None else slab.window(lesion.box, warped=False)
    if window is None:
        return covered
    px, py, pz = (
        np.ascontiguousarray(a) for a in np.broadcast_arrays(*(c[(slice(None), *window)] for c in (x, y, z)))
    )
    distance = lesion.distance(px, py, pz)
    soft = np.clip(np.float32(0.5) - distance / np.float32(pixel + lesion.parameters.edge_mm), 0, 1)
    _over(canvas, window, soft, signal(lesion.matter(px, py, pz, distance)))
    sharp = np.clip(np.float32(0.5) - distance / np.float32(pixel), 0, 1)
    covered[(slice(None), *window)] = sharp
    marks[(slice(None), *window)][soft > 0] = _OTHER
    marks[(slice(None), *window)][soft >= 1] = _LABEL_OF["lesion"]
    return covered


def _over(canvas: Float32, window: tuple[slice, slice], cover: Float32, values: Any) -> None:
    for channel, value in zip(canvas, values, strict=True):
        below = channel[(slice(None), *window)]
        below += cover * (value - below)
