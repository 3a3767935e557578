"""ADC: its unit, its grid, and its computation from several b-values where the scanner made no map."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.errors import InputError
from scanside.runtime.volume import Geometry, Volume

UNIT = "1e-6 mm²/s"
TYPICAL = (300.0, 4000.0)
"""1e-6 mm²/s: where the median of a body lies, whatever its organs (spleen 850, pancreas 1500, fluid 2800)."""
_FACTORS = ((1.0, UNIT), (1e3, "1e-3 mm²/s"), (1e6, "mm²/s"))
LOWEST_HIGH_B = 400.0
LOWEST_DIFFUSING_B = 50.0
"""s/mm²: from here perfusion (IVIM) has little part in the decay."""
HIGHEST_LOW_B = 100.0
"""s/mm²: b-values between which two points make an ADC."""
_FEWEST = 50
RIM = 0.5 + 1e-6
"""Voxels: how far around the centres of a grid's outermost voxels it still shows something."""
_COVERED = 0.95
"""Part of the DWI that an image must cover to be brought onto its grid."""


def fitted_adc(points: Sequence[tuple[float | None, Volume]]) -> tuple[Volume, tuple[float, ...]]:
    """ADC from two or more b-values: minus the slope of ln S over b, 1e-6 mm²/s, by least squares.

    Images below b = 50 s/mm² are left out where the others reach low enough without them: perfusion raises them. With
    two points it is ln(S_low / S_high) / (b_high - b_low). It is 0 where a signal or the ADC is not positive.

    Args:
        points: b-value in s/mm² and image, in rising order.

    Returns:
        The map, and the b-values that were used.

    Raises:
        InputError: If a b-value is unknown or they are too near to each other, or the grids differ.
    """
    known = [(b, volume) for b, volume in points if b is not None]
    if len(known) < len(points) or len(known) < 2:
        raise InputError(
            "The study has no ADC map, and the b-values to compute one are unknown; add the ADC map."
        )
    diffusing = [(b, volume) for b, volume in known if b >= LOWEST_DIFFUSING_B]
    used = diffusing if len(diffusing) > 1 and diffusing[0][0] <= HIGHEST_LOW_B else known
    low, high = used[0], used[-1]
    if low[0] > HIGHEST_LOW_B or high[0] < LOWEST_HIGH_B:
        raise InputError(
            f"The study has no ADC map, and none can be computed from b = {low[0]:g} and {high[0]:g} s/mm² (b up to "
            f"{HIGHEST_LOW_B:g} and from {LOWEST_HIGH_B:g} are needed); add the ADC map."
        )
    for _, volume in used[:-1]:
        if difference := volume.geometry.difference(high[1].geometry):
            raise InputError(
                f"The study has no ADC map, and b0 and dwi do not lie on one grid ({difference}); add the ADC map."
            )
    weights = np.array([b for b, _ in used]) - np.mean([b for b, _ in used])
    weights /= (weights**2).sum()
    slope = np.zeros(high[1].data.shape)
    usable = np.ones(high[1].data.shape, dtype=bool)
    for weight, (_, volume) in zip(weights, used, strict=True):
        usable &= volume.data > 0
        slope += weight * np.log(np.maximum(volume.data, np.finfo(np.float32).tiny), dtype=np.float64)
    adc = np.where(usable, np.maximum(-slope * 1e6, 0), 0)
    return Volume(adc.astype(np.float32), high[1].geometry), tuple(b for b, _ in used)


def in_unit(adc: Volume, body: npt.NDArray[np.bool_]) -> tuple[Volume, str | None]:
    """Bring an ADC map to 1e-6 mm²/s.

    Args:
        body: (Z, Y, X), of `quality.body_of` on the DWI of the same grid; on the map itself where there is none.

    Returns:
        The map, and a warning if it had another unit.

    Raises:
        InputError: If the median in the body is no ADC in any unit.
    """
    body = body & (adc.data[0] > 0)
    if np.count_nonzero(body) < _FEWEST:
        raise InputError(
            "The ADC map holds no values in the body; check that it is the ADC map of this study."
        )
    median = float(np.median(adc.data[0][body]))
    for factor, unit in _FACTORS:
        if TYPICAL[0] <= median * factor <= TYPICAL[1]:
            if factor == 1:
                return adc, None
            warning = (
                f"The ADC map is in {unit} (median in the body {median:.3g}); it was converted to {UNIT}."
            )
            return Volume((adc.data * np.float64(factor)).astype(np.float32), adc.geometry), warning
    raise InputError(
        f"The ADC map has a median of {median:.3g} in the body, which is no ADC in {UNIT} (expected "
        f"{TYPICAL[0]:g} to {TYPICAL[1]:g}); check its unit and that it is an ADC map."
    )


def onto_grid(volume: Volume, grid: Geometry, name: str) -> Volume:
    """Interpolate an image linearly at the voxel centres of another grid, in patient space.

    A rim of the grid outside the image takes its nearest values; it must be small.

    Raises:
        InputError: If the image does not cover the grid.
    """
    where = indices_in(volume.geometry, grid_points(grid))
    covered = float(inside(volume.geometry, where).mean())
    if covered < _COVERED:
        raise InputError(
            f"{name} covers only {covered:.0%} of the dwi; use maps that were computed from this dwi."
        )
    values = ndimage.map_coordinates(
        volume.data[0], where.reshape(3, *grid.shape), order=1, mode="nearest", output=np.float32
    )
    return Volume(values[None], grid)


def grid_points(grid: Geometry) -> npt.NDArray[np.float64]:
    """(3, N) x, y, z in mm, LPS, of all voxel centres, z slowest."""
    return points_of(grid, np.indices(grid.shape).reshape(3, -1).T).T


def points_of(grid: Geometry, where: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """(N, 3) x, y, z in mm, LPS, of voxels given as (N, 3) z, y, x."""
    steps = where[:, ::-1] * np.array(grid.spacing[::-1])
    return np.asarray(np.array(grid.origin) + steps @ grid.direction_matrix.T)


def indices_in(grid: Geometry, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(3, N) fractional z, y, x of points (3, N) given as x, y, z in mm, LPS."""
    steps = grid.direction_matrix.T @ (points - np.array(grid.origin)[:, None])
    return np.asarray((steps / np.array(grid.spacing[::-1])[:, None])[::-1])


def inside(grid: Geometry, where: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which fractional indices (3, N) lie within a voxel of the grid."""
    size = np.array(grid.shape)[:, None]
    return np.asarray(((where >= -RIM) & (where <= size - 1 + RIM)).all(axis=0))
