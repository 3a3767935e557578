"""`Volume`: an image with several channels on one regular grid in patient space."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import GeometryError, InputError

Triple = tuple[float, float, float]
Measure = Literal["ml", "mm2"]

ORTHONORMAL_TOLERANCE = 1e-3
"""How far the direction matrix may be from orthonormal. Headers store cosines with 5 to 7 digits."""

AGREEMENT_TOLERANCE = 1e-3
"""mm (origin, spacing) and unit (direction): within this, channels lie on the same grid."""


FLAT_SPACING = 999
"""A picture gets this multiple of its largest spacing as z spacing (nnU-Net `SimpleITKIO`); nothing is so thick."""


@dataclass(frozen=True)
class Geometry:
    """A regular grid of voxels in patient space (LPS, mm). Arrays are indexed [z, y, x].

    Attributes:
        shape: (Z, Y, X), number of voxels.
        spacing: (Z, Y, X), mm, positive.
        origin: (x, y, z), mm, LPS: centre of voxel [0, 0, 0].
        direction: 9 cosines, row-major 3×3; its columns are the directions of the x, y and z index.
        dimension: 2 when the image was a single 2-D picture (a mask is then written in 2-D), else 3.
        scaled: False where the file says no spacing and nnU-Net's is assumed: lengths, areas and volumes mean nothing.

    Raises:
        GeometryError: If a field is not finite, not positive, or the direction is not orthonormal.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    dimension: int = 3
    scaled: bool = True

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"The image has shape {self.shape}; three sizes of at least 1 are needed.")
        if not (np.all(np.isfinite(self.spacing)) and min(self.spacing) > 0):
            raise GeometryError(f"The voxel spacing {self.spacing} mm is not positive and finite.")
        if not np.all(np.isfinite(self.origin)):
            raise GeometryError(f"The image origin {self.origin} mm is not finite.")
        matrix = self.direction_matrix
        if not np.allclose(matrix @ matrix.T, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
            raise GeometryError("The image axes are not orthogonal unit vectors; resample the image first.")

    @property
    def direction_matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64: columns are the directions of the x, y and z index in LPS."""
        return np.asarray(self.direction, dtype=np.float64).reshape(3, 3)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, ml."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel of a picture, mm²: its thickness is invented and measures nothing."""
        return float(self.spacing[1] * self.spacing[2])

    @property
    def measure(self) -> Measure | None:
        """What a label's size is: a volume, the area of a picture, or nothing where the file says no spacing."""
        if not self.scaled:
            return None
        return "mm2" if self.dimension == 2 else "ml"

    def difference(self, other: Self) -> str | None:
        """What differs from `other`, in words, or None when both are the same grid within 1e-3 mm."""
        if self.shape != other.shape:
            return f"size {self.shape} against {other.shape}"
        for name in ("spacing", "origin", "direction"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if not np.allclose(mine, theirs, rtol=0, atol=AGREEMENT_TOLERANCE):
                return f"{name} {_numbers(mine)} against {_numbers(theirs)}"
        return None


def picture(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    origin: tuple[float, float] = (0.0, 0.0),
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 1.0),
) -> Geometry:
    """The grid of a 2-D picture.

    Args:
        shape: (Y, X).
        spacing: (Y, X), mm.
        origin: (x, y), mm.
        direction: 4 cosines, row-major 2×2.
    """
    a, b, c, d = direction
    return Geometry(
        shape=(1, *shape),
        spacing=(max(spacing) * FLAT_SPACING, *spacing),
        origin=(*origin, 0.0),
        direction=(a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0),
        dimension=2,
    )


@dataclass(frozen=True, eq=False)
class Volume:
    """Image data on a grid.

    Attributes:
        data: (C, Z, Y, X) float32, C-contiguous, finite.
        geometry: Where the voxels are.

    Raises:
        InputError: If data is not 4-D float32, is not on the grid, or holds NaN or inf.
    """

    data: npt.NDArray[np.float32]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.dtype != np.float32:
            raise InputError(
                f"Image data must be (channels, z, y, x) float32, not {self.data.dtype} of shape "
                f"{self.data.shape}; convert it with numpy first."
            )
        if self.data.shape[1:] != self.geometry.shape:
            raise GeometryError(
                f"Image data of shape {self.data.shape[1:]} is not on a {self.geometry.shape} grid."
            )
        if self.data.shape[0] < 1:
            raise InputError("The image has no channel.")
        if not np.isfinite(self.data).all():
            count = int(self.data.size - np.count_nonzero(np.isfinite(self.data)))
            raise InputError(f"The image holds {count} NaN or infinite values; repair or re-export it.")
        if not self.data.flags.c_contiguous:
            # The float32 mean of z-score normalisation depends on the memory layout (numpy's pairwise sum).
            object.__setattr__(self, "data", np.ascontiguousarray(self.data))

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return int(self.data.shape[0])


def stack(volumes: list[Volume], names: list[str]) -> Volume:
    """Put the channels of several volumes on one grid into one volume.

    Args:
        volumes: At least one.
        names: A name per volume, for the error message.

    Raises:
        GeometryError: If they do not lie on the same grid.
    """
    first = volumes[0]
    for volume, name in zip(volumes[1:], names[1:], strict=True):
        difference = first.geometry.difference(volume.geometry)
        if difference:
            raise GeometryError(
                f"{name} does not lie on the grid of {names[0]} ({difference}); resample it to that grid first."
            )
    if len(volumes) == 1:
        return first
    return Volume(np.concatenate([v.data for v in volumes]), first.geometry)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.6g}" for v in values) + ")"
