"""Bring a volume to a canonical orientation and a mask back, by flips and axis swaps alone."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import GeometryError
from scanside.runtime.images.letters import LETTERS
from scanside.runtime.remark import Remark
from scanside.runtime.volume import Geometry, Volume

_Scalar = TypeVar("_Scalar", bound=np.generic)


def orientation(geometry: Geometry) -> str:
    """Three letters: where the x, y and z index point to. `LPS` is the identity direction.

    Source: ITK `DICOMOrientation::DirectionCosinesToOrientation`: the largest cosine takes its row and
    column, then the largest of the rest; of equal ones the last in row-major order.
    """
    matrix = geometry.direction_matrix
    left = [(abs(matrix[row, column]), row, column) for row in range(3) for column in range(3)]
    letters = [""] * 3
    while left:
        _, row, column = max(left)
        letters[column] = LETTERS[row][int(matrix[row, column] > 0)]
        left = [item for item in left if item[1] != row and item[2] != column]
    return "".join(letters)


def reorient(volume: Volume, target: str = "RAS") -> tuple[Volume, str]:
    """Flip and permute the axes so that the x, y and z index point to `target`.

    Args:
        volume: (C, Z, Y, X), 3-D.
        target: For example `RAS`: x to the right, y to anterior, z to superior, as nibabel says it too.

    Returns:
        The reoriented volume, and the orientation it had.

    Raises:
        GeometryError: If the volume is a 2-D picture.

    Source: `DICOMOrient` as in nnU-Net v2 `SimpleITKIOWithReorient`; parity in
    tests/runtime/images/test_orient.py.
    """
    data, geometry = reoriented(volume.data, volume.geometry, target)
    return Volume(data, geometry), orientation(volume.geometry)


def reoriented(
    array: npt.NDArray[_Scalar], geometry: Geometry, target: str
) -> tuple[npt.NDArray[_Scalar], Geometry]:
    """`reorient` for any array, such as a mask.

    Args:
        array: (…, Z, Y, X) on `geometry`.

    Returns:
        The array, C-contiguous, and its geometry.

    Raises:
        GeometryError: If the grid is a 2-D picture.
    """
    if geometry.dimension == 2:
        raise GeometryError("A 2-D image has no orientation to bring to RAS; give the model a 3-D image.")
    code = orientation(geometry)
    pairs = [(from_, to) for from_ in range(3) for to in range(3) if _same_line(code[from_], target[to])]
    signed = np.zeros((3, 3))
    for from_, to in pairs:
        signed[from_, to] = 1.0 if code[from_] == target[to] else -1.0
    return np.ascontiguousarray(_apply(array, signed)), _moved(geometry, signed)


def restore_orientation(
    mask: npt.NDArray[_Scalar], oriented: Geometry, original: Geometry
) -> npt.NDArray[_Scalar]:
    """Undo `reorient` for a mask, or for any other array on its grid.

    Args:
        mask: (Z, Y, X) on `oriented`.
        oriented: Geometry that `reorient` returned.
        original: Geometry it was given.

    Returns:
        The mask on `original`, C-contiguous.
    """
    # The columns of one direction are those of the other, permuted and with signs: their product says how.
    signed = np.rint(oriented.direction_matrix.T @ original.direction_matrix)
    restored = np.ascontiguousarray(_apply(mask, signed))
    if restored.shape != original.shape:
        raise ValueError(f"the mask's grid {oriented.shape} is not {original.shape} reoriented")
    return restored


def unlike_training(geometry: Geometry, wanted: tuple[str, ...], name: str) -> list[str]:
    """A warning for an image that is computed as it is stored, though it is not stored as those of the training."""
    stored = orientation(geometry)
    if not wanted or stored in wanted or geometry.dimension != 3:
        return []
    words = (
        f"{name} is stored as {stored}, not as {wanted[0]}; as nnunetv2 does, it was computed as it is stored, which "
        "may cost accuracy: `scanside run` turns it."
    )
    return [Remark(words, "orientation")]


def _same_line(a: str, b: str) -> bool:
    return any(a in letters and b in letters for letters in LETTERS)


def _apply(array: npt.NDArray[_Scalar], signed: npt.NDArray[np.float64]) -> npt.NDArray[_Scalar]:
    """Permute and flip the last three axes (z, y, x); `signed[i, j]` = ±1: new index j runs along old i."""
    source = [int(np.flatnonzero(signed[:, axis])[0]) for axis in range(3)]
    lead = array.ndim - 3
    last = array.ndim - 1
    moved = array.transpose([*range(lead), *(last - source[axis] for axis in (2, 1, 0))])
    flips = tuple(last - axis for axis in range(3) if signed[source[axis], axis] < 0)
    return np.flip(moved, flips) if flips else moved


def _moved(geometry: Geometry, signed: npt.NDArray[np.float64]) -> Geometry:
    matrix = geometry.direction_matrix
    size, spacing = np.array(geometry.shape[::-1]), np.array(geometry.spacing[::-1])
    source = [int(np.flatnonzero(signed[:, axis])[0]) for axis in range(3)]
    reversed_axes = (signed.sum(axis=1) < 0).astype(np.float64)
    origin = np.array(geometry.origin) + matrix @ (reversed_axes * spacing * (size - 1))
    shape = tuple(int(size[axis]) for axis in reversed(source))
    step = tuple(float(spacing[axis]) for axis in reversed(source))
    return replace(
        geometry,
        shape=(shape[0], shape[1], shape[2]),
        spacing=(step[0], step[1], step[2]),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple((matrix @ signed).ravel().tolist()),
    )
