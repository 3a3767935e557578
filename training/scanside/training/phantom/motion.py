"""Where a voxel of an acquisition comes from: breathing, EPI distortion by the field of gas, large-scale deformation.

The field is that of gas in stomach and colon and of the lungs, shimmed to first order: 50 to 200 Hz beside
gas at 3 T, half of it at 1.5 T, and up to a few mm of EPI shift in the pancreas. Where the image would fold over
itself, mostly inside gas, the shift is flattened there and nowhere else (`Distortion.folded`).

Everything is a pull-back: for each voxel, the point of the body whose signal it holds. Masks follow the same way, so
the mask of a sequence has that sequence's geometry.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.volume import Geometry
from scanside.training.phantom.anatomy import Anatomy
from scanside.training.phantom.scanners import DiffusionProtocol

Doubles = npt.NDArray[np.float64]

_HZ_PER_TESLA = 42.577e6
_AIR = 9.4e-6
"""Susceptibility of gas against tissue (SI)."""
_NODES_MM = 3.0
_MARGIN_MM = 48.0
"""How far beyond the grid signal is followed that the field carries into it."""
_FLATTEST = 0.25
"""Least distance in the image per mm of body: below 0 the image folds over itself."""
_SHIM_MM = (150.0, 90.0, 90.0)
"""Half the box (x, y, z) around the middle of the examination that is shimmed."""


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


def held_weight(y: Float32) -> Float32:
    """How much organs at y follow the breath: fully in front, not at all at the spine."""
    return 1 / (1 + np.exp((y - np.float32(55)) * np.float32(1 / 14)))


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Off-resonance by gas pockets after shimming: dipole fields of soft spheres.

    Attributes:
        gas: (N, 4) x, y, z and radius, mm.
        field_t: Tesla.
        shim: What higher-order shims leave of the field, as a part.
        ramp: (3,) Hz per mm at 3 T that the shim adds as a slope.
        centre: (x, y, z): where the slope is zero.
        offset: Hz at 3 T that the centre frequency adds.
    """

    gas: Doubles
    field_t: float
    shim: float
    ramp: Doubles
    centre: tuple[float, float, float]
    offset: float = 0.0

    def hertz(self, x: Float32, y: Float32, z: Float32) -> Float32:
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
        total += np.float32(self.offset * self.field_t / 3)
        return total * np.float32(self.shim)


def draw_field(rng: np.random.Generator, anatomy: Anatomy, field_t: float) -> FieldMap:
    """The field around a patient's gas, shimmed to first order over the upper abdomen, not perfectly."""
    left, error = float(rng.uniform(0.7, 1.0)), rng.normal(0, [0.25, 0.25, 0.25, 20.0])
    plain = FieldMap(anatomy.gas, 3.0, 1.0, np.zeros(3), anatomy.centre)
    box = np.stack(np.meshgrid(*(np.linspace(-mm, mm, 9) for mm in _SHIM_MM), indexing="ij")).reshape(3, -1)
    points = (box + np.array(anatomy.centre)[:, None]).astype(np.float32)
    apart = np.linalg.norm(points.T[:, None] - anatomy.gas[None, :, :3], axis=2)
    tissue = (apart > anatomy.gas[:, 3] + 5).all(axis=1)
    terms = np.concatenate([box, np.ones((1, box.shape[1]))])[:, tissue].T
    fit = np.linalg.lstsq(terms, plain.hertz(points[0], points[1], points[2])[tissue], rcond=None)[0]
    return FieldMap(anatomy.gas, field_t, left, error[:3] - fit[:3], anatomy.centre, float(error[3] - fit[3]))


@dataclass(frozen=True, eq=False)
class Distortion:
    """The EPI shift on a grid.

    Attributes:
        source_y: (Z, Y, X) y of the point that each voxel shows, mm.
        jacobian: (Z, Y, X) how densely the signal lies there: d source / d image.
        folded: (Z, Y, X) bool: where several points would have landed, and the shift was flattened.
    """

    source_y: Float32
    jacobian: Float32
    folded: npt.NDArray[np.bool_]


def distort(field: FieldMap, protocol: DiffusionProtocol, geometry: Geometry) -> Distortion:
    """Where y + shift(y) lands, for points every 3 mm of every column, and its inverse on the grid.

    Source of the shift: `DiffusionProtocol.shift_mm`. The polarity is anterior to posterior.
    """
    x, y, z = axes_of(geometry)
    nodes = np.arange(y[0] - _MARGIN_MM, y[-1] + _MARGIN_MM + _NODES_MM, _NODES_MM, dtype=np.float32)
    columns = np.arange(x[0], x[-1] + _NODES_MM, _NODES_MM, dtype=np.float32)
    gx, gy, gz = columns[None, None, :], nodes[None, :, None], z[:, None, None]
    landing = gy + np.float32(protocol.shift_mm(1.0)) * field.hertz(gx, gy, gz)
    flat = _unfolded(landing, gy)
    touched = (np.abs(flat - landing) > 0.05).astype(np.float32)
    source, folded = (np.empty((len(z), len(y), len(columns)), dtype=np.float32) for _ in range(2))
    for k, j in np.ndindex(len(z), len(columns)):
        source[k, :, j] = np.interp(y, flat[k, :, j], nodes)
        folded[k, :, j] = np.interp(y, flat[k, :, j], touched[k, :, j])
    place = np.interp(x, columns, np.arange(len(columns)))
    left = np.minimum(place.astype(np.intp), len(columns) - 2)
    share = (place - left).astype(np.float32)
    fine, flattened = (
        part[..., left] * (1 - share) + part[..., left + 1] * share for part in (source, folded)
    )
    jacobian = np.gradient(fine, geometry.spacing[1], axis=1)
    return Distortion(fine, np.clip(jacobian, 0.2, 1 / _FLATTEST).astype(np.float32), flattened > 0)


def _unfolded(landing: Float32, y: Float32) -> Float32:
    """The same places along y (axis 1) where they rise by `_FLATTEST` per mm at least; elsewhere, the nearest that do.

    It is the mean of the largest landing before a point and the smallest after it, above a line of that slope.
    """
    line = np.float32(_FLATTEST) * y
    lean = landing - line
    before = np.maximum.accumulate(lean, axis=1)
    after = np.minimum.accumulate(lean[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.float32(0.5) * (before + after) + line)


def axes_of(geometry: Geometry) -> tuple[Float32, Float32, Float32]:
    """x, y and z of the voxel centres of an axial grid (identity direction), mm."""
    (nz, ny, nx), (sz, sy, sx), (ox, oy, oz) = geometry.shape, geometry.spacing, geometry.origin
    axes = (ox + sx * np.arange(nx), oy + sy * np.arange(ny), oz + sz * np.arange(nz))
    return axes[0].astype(np.float32), axes[1].astype(np.float32), axes[2].astype(np.float32)
