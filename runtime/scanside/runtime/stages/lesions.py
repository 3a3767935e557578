"""Mask → lesions: how many, how large, how long, and where in the patient."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, distance

from scanside.runtime.errors import GeometryError
from scanside.runtime.stages.crop import bounding_box
from scanside.runtime.volume import Geometry, Triple

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
"""26-connectivity: voxels that share a face, an edge or a corner belong together."""
_ROWS = 512
"""Points whose distances to all others are in memory at once."""


@dataclass(frozen=True)
class Lesion:
    """One connected component of a mask.

    Attributes:
        role: The segmenter whose mask it is from.
        number: 1 for the largest lesion of the mask, and so on.
        voxels: Number of voxels.
        volume_ml: Voxels times the volume of a voxel, ml.
        longest_diameter_mm: See `longest_diameter`.
        centroid_mm: (x, y, z), mm, LPS: mean of the voxel centres.
    """

    role: str
    number: int
    voxels: int
    volume_ml: float
    longest_diameter_mm: float
    centroid_mm: Triple


def find_lesions(mask: npt.NDArray[np.integer], geometry: Geometry, role: str) -> tuple[Lesion, ...]:
    """The 26-connected components of `mask > 0`, largest first.

    Components of one size keep the order of their first voxels in memory.

    Args:
        mask: (Z, Y, X) on the grid of `geometry`.

    Raises:
        GeometryError: If the mask is not on the grid.
    """
    if mask.shape != geometry.shape:
        raise GeometryError(
            f"A mask of shape {mask.shape} is not on the image's {geometry.shape} grid; resample it first."
        )
    corner, components, sizes = _components(mask)
    boxes = ndimage.find_objects(components)
    lesions = []
    for number, label in enumerate(_largest_first(sizes), start=1):
        box = boxes[label - 1]
        inside = components[box] == label
        start = np.array([part.start + at for part, at in zip(box, corner, strict=True)], dtype=np.float64)
        centre = np.argwhere(inside).mean(axis=0) + start
        lesions.append(
            Lesion(
                role=role,
                number=number,
                voxels=int(sizes[label]),
                volume_ml=int(sizes[label]) * geometry.voxel_volume_ml,
                longest_diameter_mm=longest_diameter(inside, geometry.spacing),
                centroid_mm=to_patient(centre, geometry),
            )
        )
    return tuple(lesions)


def one_lesion(mask: npt.NDArray[np.integer], number: int = 1) -> npt.NDArray[np.uint8]:
    """One lesion alone, by its number in `find_lesions`: 0 and 1, (Z, Y, X); all 0 where there is none of that number.

    Of two lesions of one size the one whose first voxel comes first in memory has the lower number.
    """
    corner, components, sizes = _components(mask)
    one = np.zeros(mask.shape, dtype=np.uint8)
    order = _largest_first(sizes)
    if number <= len(order):
        box = tuple(slice(at, at + size) for at, size in zip(corner, components.shape, strict=True))
        one[box] = components == order[number - 1]
    return one


def main_lesion(mask: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The largest lesion alone: 0 and 1, (Z, Y, X); all 0 where the mask is empty."""
    return one_lesion(mask)


def largest_lesions(mask: npt.NDArray[np.integer], most: int) -> npt.NDArray[np.uint16]:
    """Every voxel's lesion by its number, 0 outside and in lesions beyond `most`: (Z, Y, X)."""
    corner, components, sizes = _components(mask)
    number_of = np.zeros(len(sizes), dtype=np.uint16)
    for number, label in enumerate(_largest_first(sizes)[:most], start=1):
        number_of[label] = number
    numbered = np.zeros(mask.shape, dtype=np.uint16)
    box = tuple(slice(at, at + size) for at, size in zip(corner, components.shape, strict=True))
    numbered[box] = number_of[components]
    return numbered


def longest_diameter(inside: npt.NDArray[np.bool_], spacing: Triple) -> float:
    """The longest distance between two points of the lesion's surface, mm.

    The surface is where it crosses the lines between voxel centres: half a voxel outwards from the centre of a
    voxel towards each of its 6 neighbours that is outside. These are the vertices of the marching-cubes mesh, so this
    is IBSI's maximum 3-D diameter (L0JK), and a lesion of one voxel is as long as the voxel's longest side.
    Exact: the two farthest points are corners of the convex hull, and all pairs of those are compared.

    Args:
        inside: (Z, Y, X), at least one voxel True.
        spacing: (Z, Y, X), mm.
    """
    points = _surface(inside)
    # In half voxels the coordinates are small integers, with which the hull is found without rounding.
    corners = points[ConvexHull(points).vertices] * (np.asarray(spacing) / 2)
    longest = 0.0
    for start in range(0, len(corners), _ROWS):
        part = corners[start : start + _ROWS]
        longest = max(longest, float(distance.cdist(part, corners[start:], "sqeuclidean").max()))
    return float(np.sqrt(longest))


def to_patient(index: npt.NDArray[np.float64], geometry: Geometry) -> Triple:
    """A place given as [z, y, x], in voxels, may be fractional, as (x, y, z) in mm, LPS."""
    steps = index[::-1] * np.asarray(geometry.spacing)[::-1]
    x, y, z = np.asarray(geometry.origin) + geometry.direction_matrix @ steps
    return float(x), float(y), float(z)


def _components(
    mask: npt.NDArray[np.integer],
) -> tuple[tuple[int, ...], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The components within the box around all of them, which is far smaller than an image.

    Returns:
        The box's first voxel, [z, y, x]; component numbers by voxel (0 outside) in the box; the number of voxels by
        component (0 for the outside).
    """
    inside = mask > 0
    box = bounding_box(inside)
    components, _ = ndimage.label(inside[box], structure=_NEIGHBOURS)
    sizes = np.bincount(components.ravel(), minlength=1)
    sizes[0] = 0
    return tuple(part.start for part in box), components, sizes


def _largest_first(sizes: npt.NDArray[np.int64]) -> list[int]:
    return [int(label) for label in np.argsort(-sizes, kind="stable") if sizes[label] > 0]


def _surface(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(N, 3) surface points as [z, y, x] in half voxels."""
    padded = np.pad(inside, 1)
    parts = []
    for axis in range(3):
        for step in (-1, 1):
            open_side = padded & ~np.roll(padded, -step, axis)
            points = 2 * np.argwhere(open_side)
            points[:, axis] += step
            parts.append(points)
    return np.concatenate(parts).astype(np.float64)
