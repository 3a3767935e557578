"""The geometry phantom: three bodies of known volume and place in an oblique study, and the mask that must come back.

No two bodies have the same size, no two axes the same spacing, and nothing is symmetric: whoever flips, turns, shifts
or scales an image or a mask changes a volume or a centroid. T2WI and DWI lie on grids of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64
from scanside.runtime.volume import Geometry, Volume

BRIGHT, BODY, THRESHOLD = 1000.0, 200.0, 550.0
"""Signal of the bodies and around them; the network of `geometry.bundle` calls lesion what is above the third."""
VOLUME_TOLERANCE, PLACE_TOLERANCE_MM = 0.02, 0.5
"""Of a body cut into voxels, against its formula: relative, and mm. (The tests show what the grids cost.)"""
B_VALUES = {"b0": 50.0, "dwi": 800.0}

Triple = tuple[float, float, float]


def _turned(x: float, y: float, z: float) -> tuple[float, ...]:
    """Direction cosines after turns about z, y and x, degrees."""
    a, b, c = np.radians([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple((about_x @ about_y @ about_z).ravel().tolist())


def _grid(
    shape: tuple[int, int, int], spacing: Triple, centre: Triple, direction: tuple[float, ...]
) -> Geometry:
    """A grid whose middle lies at `centre` (x, y, z), mm."""
    half = np.array([(n - 1) * mm / 2 for n, mm in zip(shape, spacing, strict=True)][::-1])
    origin = np.array(centre) - np.reshape(direction, (3, 3)) @ half
    return Geometry(shape, spacing, (float(origin[0]), float(origin[1]), float(origin[2])), direction)


T2W = _grid((30, 88, 80), (4.0, 1.75, 2.0), (-4.0, 11.0, 37.0), _turned(11.0, -8.0, 6.0))
DWI = _grid((26, 72, 68), (4.5, 2.25, 2.5), (-2.0, 9.0, 35.0), _turned(-7.0, 10.0, -5.0))


@dataclass(frozen=True)
class Body:
    """A body in the patient.

    Attributes:
        centre: (x, y, z), mm, LPS.
        half: Half axes of an ellipsoid, or half edges of a box, along x, y, z, mm.
    """

    name: str
    shape: str
    centre: Triple
    half: Triple

    @property
    def volume_ml(self) -> float:
        """By its formula."""
        full = 8.0 if self.shape == "box" else 4.0 / 3.0 * np.pi
        return float(full * np.prod(self.half)) / 1000.0

    def holds(self, points: Float64) -> npt.NDArray[np.bool_]:
        """Whether points (..., 3), mm, lie inside."""
        scaled = (points - np.array(self.centre)) / np.array(self.half)
        if self.shape == "box":
            return np.asarray((np.abs(scaled) <= 1.0).all(axis=-1))
        return np.asarray((scaled**2).sum(axis=-1) <= 1.0)


BODIES = (
    Body("ellipsoid", "ellipsoid", (-24.0, 17.0, 51.0), (24.0, 17.0, 20.0)),
    Body("box", "box", (33.0, -9.0, 30.0), (12.0, 19.0, 13.0)),
    Body("ball", "ellipsoid", (-11.0, -27.0, 17.0), (13.0, 13.0, 13.0)),
)
"""The largest first, as lesions are numbered. They are parallel to the patient's axes, and oblique in every image."""


def points(grid: Geometry) -> Float64:
    """(Z, Y, X, 3): x, y, z of every voxel's centre, mm."""
    z, y, x = np.indices(grid.shape, dtype=np.float64)
    steps = np.stack([x, y, z], axis=-1) * np.array(grid.spacing[::-1])
    return np.asarray(steps @ grid.direction_matrix.T + np.array(grid.origin))


@cache
def meant(grid: Geometry) -> npt.NDArray[np.uint8]:
    """The mask that must come back (Z, Y, X): 1, 2, 3 in the bodies, 0 elsewhere. Made once, not to be changed."""
    at = points(grid)
    mask = np.zeros(grid.shape, np.uint8)
    for number, body in enumerate(BODIES, 1):
        mask[body.holds(at)] = number
    mask.setflags(write=False)
    return mask


@cache
def images() -> Mapping[str, Volume]:
    """t2w, b0, dwi and adc of the phantom; whole numbers, the same in every run. Made once, not to be changed."""
    made = {}
    for name, grid in (("t2w", T2W), ("b0", DWI), ("dwi", DWI), ("adc", DWI)):
        random = np.random.default_rng(20261)
        at = points(grid)
        middle = (at - np.array((-3.0, 10.0, 36.0)))[..., :2] / np.array((72.0, 66.0))
        inside = (middle**2).sum(axis=-1) < 1.0
        around, bright = (1500.0, 1100.0) if name == "adc" else (BODY, BRIGHT)
        signal = np.where(meant(grid) > 0, bright, around) + random.normal(0.0, 8.0, grid.shape)
        air = 0.0 if name == "adc" else np.abs(random.normal(0.0, 4.0, grid.shape))
        data = np.rint(np.where(inside | (meant(grid) > 0), signal, air)).clip(0, 4095)
        voxels = data.astype(np.float32)[None]
        voxels.setflags(write=False)
        made[name] = Volume(voxels, grid)
    return MappingProxyType(made)
