"""What fat suppression leaves of fat: more where the magnetic field is off, and nowhere the same.

Spectral suppression saturates a band around fat's resonance. Where gas shifts fat out of it, it stays bright: under
the right diaphragm in 42 of 52 patients at 1.5 T ("Unsuppressed fat in the right anterior diaphragmatic region on
fat-suppressed T2-weighted fast spin-echo MR images"). Elsewhere an uneven transmit field leaves shades of grey. In
EPI it also lies in the wrong place, by its chemical shift.
"""

import numpy as np
from scipy import ndimage

from scanside.runtime.arrays import Float32
from scanside.runtime.volume import Geometry
from scanside.training.phantom.motion import FieldMap, axes_of
from scanside.training.phantom.scanners import DiffusionProtocol
from scanside.training.phantom.shapes import Noise

CHEMICAL_SHIFT = 3.5e-6
"""Fat against water: 447 Hz at 3 T."""
_HZ_PER_TESLA = 42.577e6
OLEFINIC = 0.086
"""Part of fat that resonates beside water, at 4.2 and 5.3 ppm, where spectral suppression does not reach it.

Source: Hamilton et al., NMR Biomed 24:784 (2011).
"""
OLEFINIC_IN_EPI = OLEFINIC / 3
"""What of it single-shot EPI shows, whose gradient reversal dephases a part (assumed)."""
_BAND = 0.35
"""Half the width of the saturated band, as a part of the chemical shift (assumed)."""
_UNEVEN = 0.8
"""Standard deviation of the logarithm of what is left, over the body (assumed)."""
_COARSE_MM = 9.0


def fat_left(field: FieldMap, unevenness: Noise, geometry: Geometry, level: float) -> Float32:
    """(Z, Y, X) what suppression leaves of fat's main resonances, 0 to 1.

    1/(1 + (band/∣Δf∣)⁴) of it lies outside the band; of the rest `level` is left on average, log-normally.

    Args:
        field: Off-resonance.
        unevenness: Of the transmit field, over 100 mm.
        geometry: The grid, axial; the field is taken where the voxels are, without breathing or distortion.
        level: Average where the field is even.
    """
    x, y, z = axes_of(geometry)
    steps = [max(1, round(_COARSE_MM / mm)) for mm in geometry.spacing]
    gz, gy, gx = (axis[::step] for axis, step in zip((z, y, x), steps, strict=True))
    at = gx[None, None, :], gy[None, :, None], gz[:, None, None]
    band = np.float32(_BAND * CHEMICAL_SHIFT * _HZ_PER_TESLA * field.field_t)
    outside = 1 / (1 + (band / np.maximum(np.abs(field.hertz(*at)), 1)) ** 4)
    uneven = np.exp(np.float32(_UNEVEN) * unevenness.at(*at, 100.0) - np.float32(_UNEVEN**2 / 2))
    coarse = outside + (1 - outside) * np.clip(np.float32(level) * uneven, 0, 1)
    where = np.meshgrid(*(np.arange(n, dtype=np.float32) / s for n, s in zip(geometry.shape, steps, strict=True)),
                        indexing="ij", sparse=True)  # fmt: skip
    points = np.stack(np.broadcast_arrays(*where))
    return ndimage.map_coordinates(coarse, points, order=1, mode="nearest", prefilter=False).astype(
        np.float32
    )


def shifted_fat(image: Float32, protocol: DiffusionProtocol, geometry: Geometry, field_t: float) -> Float32:
    """Fat as EPI shows it: displaced along y by its chemical shift; what leaves one side comes in at the other.

    Args:
        image: (Z, Y, X) signal of fat where the fat is.
        field_t: Tesla.
    """
    hertz = -CHEMICAL_SHIFT * _HZ_PER_TESLA * field_t
    return np.roll(image, round(protocol.shift_mm(hertz) / geometry.spacing[1]), axis=-2)
