"""An image as a radiologist looks at it, with the lesions on it, and where its slices lie in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.errors import GeometryError
from scanside.runtime.images.orient import reorient
from scanside.runtime.study.diffusion import indices_in
from scanside.runtime.study.report import LesionFound, StudyReport
from scanside.runtime.volume import Geometry, Triple, Volume

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_WINDOW = (1.0, 98.0)
"""Percentiles of the image that are black and white at first."""
_OBLIQUE = 0.35
"""Cosine from which an edge carries a second letter: 20° to the body's axis."""


@dataclass(frozen=True)
class Spot:
    """A lesion of the report.

    Attributes:
        role: The segmenter that found it.
        number: 1 for the largest of its role.
        centre: (x, y, z), mm, LPS.
    """

    role: str
    number: int
    centre: Triple


def spot_of(lesion: LesionFound) -> Spot:
    """Where a lesion of the report is."""
    return Spot(lesion.role, lesion.number, lesion.centroid_mm)


def spots_in(report: StudyReport | None, role: str | None = None) -> list[Spot]:
    """The lesions of a report; those of one segmenter where it is named."""
    lesions = report.lesions if report is not None else None
    return [spot_of(lesion) for lesion in lesions or () if role in (None, lesion.role)]


@dataclass(frozen=True, eq=False)
class Stack:
    """An image turned so that x grows to the patient's left, y to the back, z to the head.

    Attributes:
        image: (Z, Y, X) float32.
        lesions: (Z, Y, X) int: number of the lesion, 0 outside; None where there is no mask.
        geometry: Of both.
        auto: Values that are black and white at first.
    """

    image: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32] | None
    geometry: Geometry
    auto: tuple[float, float]

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.geometry.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.image.nbytes + (0 if self.lesions is None else self.lesions.nbytes)

    def extent(self, lesion: int) -> tuple[float, float]:
        """Height and width of a lesion in the plane of the slices, mm; 0 where there is none."""
        if self.lesions is None:
            return 0.0, 0.0
        covered = (self.lesions == lesion).any(axis=0)
        sides = [np.flatnonzero(covered.any(axis=1 - axis)) for axis in (0, 1)]
        rows, columns = (
            (side[-1] - side[0] + 1) * self.geometry.spacing[1 + axis] if len(side) else 0.0
            for axis, side in enumerate(sides)
        )
        return float(rows), float(columns)

    def slices_of(self, lesion: int) -> tuple[int, int] | None:
        """The first and the last slice of a lesion, from 0; None where there is none."""
        if self.lesions is None:
            return None
        found = np.flatnonzero((self.lesions == lesion).any(axis=(1, 2)))
        return (int(found[0]), int(found[-1])) if len(found) else None

    def value(self, place: Triple) -> float | None:
        """The value of the voxel at a place; None beyond the image."""
        index = [int(np.floor(part + 0.5)) for part in index_of(self.geometry, place)]
        if any(not 0 <= at < size for at, size in zip(index, self.geometry.shape, strict=True)):
            return None
        return float(self.image[tuple(index)])

    @property
    def middle(self) -> Triple:
        """The patient position in the middle of the image."""
        return position(self.geometry, tuple((size - 1) / 2 for size in self.geometry.shape))


def stack_of(volume: Volume, mask: Volume | None = None, spots: Sequence[Spot] = ()) -> Stack:
    """Turn an image and its mask.

    Args:
        volume: (1, Z, Y, X).
        mask: On the same grid, lesions > 0.
        spots: The lesions of the report, by which those of the mask are numbered.

    Raises:
        GeometryError: If the mask is not on the image's grid, or the image is a single picture.
    """
    if mask is not None and (difference := volume.geometry.difference(mask.geometry)):
        raise GeometryError(
            f"The mask does not lie on the grid of the image ({difference}); run the study again."
        )
    upright, _ = reorient(volume, "LPS")
    low, high = (float(value) for value in np.percentile(upright.data[0], _WINDOW))
    lesions = None if mask is None else _numbered(reorient(mask, "LPS")[0], spots)
    return Stack(upright.data[0], lesions, upright.geometry, (low, max(high, low + 1e-6)))


def _numbered(mask: Volume, spots: Sequence[Spot]) -> npt.NDArray[np.int32]:
    """Number components as the lesions whose centres are nearest; largest first without a report."""
    components, count = ndimage.label(mask.data[0] > 0, structure=_NEIGHBOURS)
    numbers = np.zeros(count + 1, np.int32)
    if spots and count:
        centres = ndimage.center_of_mass(components > 0, components, range(1, count + 1))
        places = np.array([position(mask.geometry, centre) for centre in centres])
        wanted = np.array([spot.centre for spot in spots])
        nearest = np.linalg.norm(places[:, None] - wanted[None], axis=2).argmin(axis=1)
        numbers[1:] = [spots[int(n)].number for n in nearest]
    elif count:
        sizes = np.bincount(components.ravel())[1:]
        numbers[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return np.asarray(numbers[components])


def position(geometry: Geometry, index: Sequence[float]) -> Triple:
    """The place of [z, y, x], in voxels, as (x, y, z) in mm, LPS."""
    steps = np.array(index[::-1]) * np.array(geometry.spacing[::-1])
    x, y, z = np.array(geometry.origin) + geometry.direction_matrix @ steps
    return float(x), float(y), float(z)


def index_of(geometry: Geometry, place: Triple) -> Triple:
    """Where a place of the patient lies in the grid, [z, y, x], fractional."""
    z, y, x = indices_in(geometry, np.array(place)[:, None])[:, 0]
    return float(z), float(y), float(x)


def slice_at(geometry: Geometry, place: Triple) -> int | None:
    """The slice whose plane is nearest to a place; None where the place lies beyond the first or last slice.

    A place half a slice beyond the last plane still belongs to it, as its slice is so thick.
    """
    z = index_of(geometry, place)[0]
    if not -0.5 - 1e-6 <= z <= geometry.shape[0] - 0.5 + 1e-6:
        return None
    return int(np.clip(np.floor(z + 0.5), 0, geometry.shape[0] - 1))


def on_slice(geometry: Geometry, number: int, place: Triple) -> Triple:
    """The place moved along the slice normal into the plane of a slice."""
    _, y, x = index_of(geometry, place)
    return position(geometry, (number, y, x))


def edges(geometry: Geometry) -> tuple[str, str, str, str]:
    """What lies at the left, right, upper and lower edge of a slice: `R`, `L`, `A`, `P`; two letters where oblique."""
    matrix = geometry.direction_matrix
    return _side(-matrix[:, 0]), _side(matrix[:, 0]), _side(-matrix[:, 1]), _side(matrix[:, 1])


def _side(direction: npt.NDArray[np.float64]) -> str:
    order = np.argsort(-np.abs(direction), kind="stable")
    letters = ["RL", "AP", "IS"]
    return "".join(
        letters[axis][int(direction[axis] > 0)]
        for place, axis in enumerate(order)
        if place == 0 or abs(direction[axis]) >= _OBLIQUE
    )


def place_words(place: Triple) -> str:
    """A patient position as a radiologist reads it: `L17 A35 S1`, mm."""
    return " ".join(
        f"{letters[int(value >= 0)]}{abs(value):.0f}"
        for value, letters in zip(place, ("RL", "AP", "IS"), strict=True)
    )
