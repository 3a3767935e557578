"""What an observer of a phantom study may know: images without noise, with the lesion and without it, and the noise."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.arrays import Float32, Mask
from scanside.runtime.masks.overlap import dice
from scanside.training.evaluation.contrast import contrast
from scanside.training.phantom.render import LABELS
from scanside.training.phantom.study import PhantomStudy

ROLES = ("t2w", "dwi")
_GLAND = [LABELS.index(name) for name in ("pancreas", "obstructed")]


@dataclass(frozen=True, eq=False)
class Scene:
    """One acquisition around pancreas and lesion. Arrays are crops of one box.

    Attributes:
        clean: (C, Z, Y, X) without noise; C is 1 for T2WI, and low b and high b for DWI: together they are the ADC too.
        bare: The same of the same body without the lesion.
        sigma: (C,) standard deviation of the noise of each.
        fraction: (Z, Y, X) how much of each voxel is lesion.
        mask: (Z, Y, X) the reader's.
        gland: (Z, Y, X) pancreas of the body without the lesion: where the middle of a lesion may lie.
        spacing: (Z, Y, X), mm.
        contrast: See `contrast`; of the image with its noise, high b for DWI.
        grid_dice: See `grid_dice`.
    """

    clean: Float32
    bare: Float32
    sigma: npt.NDArray[np.float64]
    fraction: Float32
    mask: Mask
    gland: Mask
    spacing: tuple[float, float, float]
    contrast: float
    grid_dice: float


def scene_of(study: PhantomStudy, role: str, network_mm: tuple[float, float, float]) -> Scene:
    """The scene of an acquisition.

    Args:
        study: Made with `bare`.
        role: t2w or dwi.
        network_mm: (Z, Y, X) spacing that the network segments at.
    """
    known, volume, mask = study.truth[role], study.images[role], study.masks[role] > 0
    spacing = volume.geometry.spacing
    gland = np.isin(known["bare_labels"], _GLAND)
    box = _box(gland, mask)
    sigma = np.array([known["sigma"]])
    if role == "dwi":
        sigma = sigma / np.sqrt([1.0, study.scanner.dwi.averages])
    return Scene(
        clean=known["clean"][:, *box],
        bare=known["bare"][:, *box],
        sigma=sigma,
        fraction=known["lesion"][box],
        mask=mask[box],
        gland=gland[box],
        spacing=spacing,
        contrast=contrast(volume.data[0], mask, spacing),
        grid_dice=grid_dice(mask, spacing, network_mm),
    )


def grid_dice(mask: Mask, spacing: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Dice of a mask with itself after a way to another spacing and back, linear, cut at one half each time.

    Args:
        mask: (Z, Y, X).
        spacing, other: (Z, Y, X), mm.
    """
    shape = [max(1, round(n * a / b)) for n, a, b in zip(mask.shape, spacing, other, strict=True)]
    return dice(mask, _resized(_resized(mask, shape), mask.shape))


def _resized(mask: Mask, shape: list[int] | tuple[int, ...]) -> Mask:
    factors = [new / old for new, old in zip(shape, mask.shape, strict=True)]
    fine = ndimage.zoom(mask.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(fine >= 0.5)


def _box(gland: Mask, mask: Mask) -> tuple[slice, slice, slice]:
    """Gland and lesion, and half a lesion more on every side: where a lesion whose middle is in the gland may reach."""
    rows = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        wide = np.flatnonzero(mask.any(axis=others))
        inside = np.flatnonzero((gland | mask).any(axis=others))
        more = (int(wide[-1]) - int(wide[0])) // 2 + 3
        rows.append(slice(max(0, int(inside[0]) - more), int(inside[-1]) + 1 + more))
    return rows[0], rows[1], rows[2]
