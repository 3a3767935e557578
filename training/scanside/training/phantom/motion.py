"""Where a voxel of an acquisition comes from: breathing, EPI distortion by the field of gas, large-scale deformation.

The field is shimmed until the image folds nowhere, gas included. What is left is mild: up to about 25 Hz in tissue at
3 T and a shift of about a millimetre, where patients have 50 to 200 Hz beside gas. Breathing is the larger part of what
lies between T2WI and DWI here.

Everything is a pull-back: for each voxel, the point of the body whose signal it holds. Masks follow the same way, so
the mask of a sequence has that sequence's geometry.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.volume import Geometry
from scanside.training.phantom.anatomy import Anatomy
from scanside.training.phantom.scanners import DiffusionProtocol
from scanside.training.phantom.shapes import Array

Doubles = npt.NDArray[np.float64]

_HZ_PER_TESLA = 42.577e6
_AIR = 9.4e-6
"""Susceptibility of gas against tissue (SI)."""
_COARSE_MM = 6.0
_STEEPEST = 0.6
"""Largest change of the EPI shift per mm that the shim leaves: beyond 1 the image folds over itself."""


@dataclass(frozen=True, eq=False)
class Breath:
    """Where the organs stood during an acquisition.

    Attributes:
        offsets: (Z, 3) x, y, z displacement of each slice's organs, mm.
    """

    offsets: Doubles


def draw_breath(rng: np.random.Generator, slices: int, jitter_mm: float) -> Breath:
    """One breathing state for the acquisition and a jitter per slice.

    Ranges (full 13 mm along z, 6.5 mm along y, 2 mm along x) as in the abdominal phantom of MRM 81:1863 (2019).
    """
    state = np.clip(rng.standard_normal(3), -2, 2) * [0.5, 1.6, 3.2]
    slicewise = np.clip(rng.standard_normal((slices, 3)), -2, 2) * [0.2, 0.5, 1.0] * jitter_mm
    return Breath(state + slicewise)


def held_weight(y: Array) -> Array:
    """How much organs at y follow the breath: fully in front, not at all at the spine."""
    return 1 / (1 + np.exp((y - np.float32(55)) * np.float32(1 / 14)))


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Off-resonance by gas pockets after shimming: dipole fields of soft spheres.

    Attributes:
        gas: (N, 4) x, y, z and radius, mm.
        field_t: Tesla.
        shim: What is left of the field, as a part.
        ramp: (3,) Hz per mm at 3 T that the shim leaves as a slope.
        centre: (x, y, z): where the slope is zero.
    """

    gas: Doubles
    field_t: float
    shim: float
    ramp: Doubles
    centre: tuple[float, float, float]

    def hertz(self, x: Array, y: Array, z: Array) -> Array:
        """Off-resonance at points, Hz. Proportional to the field strength."""
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.float32)
        for gx, gy, gz, radius in self.gas.astype(np.float32):
            dx, dy, dz = x - gx, y - gy, z - gz
            square = dx**2 + dy**2 + dz**2
            soft = square + np.float32(0.6) * radius**2
            total += radius**3 * (3 * dz**2 - square) / (soft * soft * np.sqrt(soft))
        total *= np.float32(_HZ_PER_TESLA * self.field_t * _AIR / 3)
        slope = [float(r) * self.field_t / 3 for r in self.ramp]
        for value, centre, rate in zip((x, y, z), self.centre, slope, strict=True):
            total += (value - np.float32(centre)) * np.float32(rate)
        return total * np.float32(self.shim)


def draw_field(rng: np.random.Generator, anatomy: Anatomy, field_t: float) -> FieldMap:
    """The field around a patient's gas, shimmed on the upper abdomen."""
    shim, ramp = float(rng.uniform(0.5, 0.9)), rng.normal(0, 0.25, 3)
    return FieldMap(anatomy.gas, field_t, shim, ramp, anatomy.centre)


@dataclass(frozen=True, eq=False)
class Distortion:
    """The EPI shift on a grid.

    Attributes:
        source_y: (Z, Y, X) y of the point that each voxel shows, mm.
        jacobian: (Z, Y, X) how densely the signal lies there: d source / d image.
        strength: Factor by which the field had to be shimmed further so that the image does not fold.
    """

    source_y: Array
    jacobian: Array
    strength: float


def distort(field: FieldMap, protocol: DiffusionProtocol, geometry: Geometry) -> Distortion:
    """Solve y_image = y + shift(y) for y at every voxel, by fixed-point iteration on a coarse grid.

    Source of the shift: `DiffusionProtocol.shift_mm`. The polarity is anterior to posterior.
    """
    x, y, z = axes_of(geometry)
    nodes_y = np.arange(y[0] - 6, y[-1] + 6 + _COARSE_MM, _COARSE_MM, dtype=np.float32)
    nodes_x = np.arange(x[0], x[-1] + _COARSE_MM, _COARSE_MM, dtype=np.float32)
    gx, gy, gz = nodes_x[None, None, :], nodes_y[None, :, None], z[:, None, None]
    per_hertz = np.float32(protocol.shift_mm(1.0))
    steep = np.abs(np.diff(field.hertz(gx, gy, gz) * per_hertz, axis=1)).max() / _COARSE_MM
    strength = min(1.0, _STEEPEST / max(float(steep), 1e-6))
    per_hertz *= np.float32(strength)
    source = np.broadcast_to(gy, (len(z), len(nodes_y), len(nodes_x))).astype(np.float32)
    for _ in range(8):
        source = gy - per_hertz * field.hertz(gx, source, gz)
    rows = np.interp(y, nodes_y, np.arange(len(nodes_y)))
    columns = np.interp(x, nodes_x, np.arange(len(nodes_x)))
    where = np.stack(np.meshgrid(np.arange(len(z)), rows, columns, indexing="ij"))
    shift = ndimage.map_coordinates(source - gy, where.astype(np.float32), order=1, mode="nearest")
    fine: Array = (y[None, :, None] + shift).astype(np.float32)
    jacobian = np.gradient(fine, geometry.spacing[1], axis=1)
    return Distortion(fine, np.clip(jacobian, 0.2, 3.0).astype(np.float32), strength)


def axes_of(geometry: Geometry) -> tuple[Array, Array, Array]:
    """x, y and z of the voxel centres of an axial grid (identity direction), mm."""
    (nz, ny, nx), (sz, sy, sx), (ox, oy, oz) = geometry.shape, geometry.spacing, geometry.origin
    axes = (ox + sx * np.arange(nx), oy + sy * np.arange(ny), oz + sz * np.arange(nz))
    return axes[0].astype(np.float32), axes[1].astype(np.float32), axes[2].astype(np.float32)
