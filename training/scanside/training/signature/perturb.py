"""Perturbations: how else the lesion could have been outlined, and how else it could have been imaged.

Source of the kinds: Zwanenburg et al. 2019 (volume adaptation, contour randomisation, rotation, translation, noise).
Everything happens within slices: slices of 5 to 7 mm are not interpolated.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.arrays import Uint8
from scanside.runtime.volume import Geometry, Triple, Volume

KINDS = ("smaller", "larger", "contour", "moved")
VOLUME_CHANGE = (0.10, 0.20)
"""Part of the volume that `smaller` and `larger` take away or add."""
CONTOUR_MM, CONTOUR_SCALE_MM = 1.2, 6.0
"""Standard deviation of the random contour, and over which length it changes."""
ROTATION_DEGREES = (2.0, 6.0)
SHIFT_VOXELS = (0.25, 0.75)
MARGIN_MM = 12.0


@dataclass(frozen=True, eq=False)
class Perturbed:
    """A study, perturbed.

    Attributes:
        images: By sequence.
        masks: By role.
    """

    images: dict[str, Volume]
    masks: dict[str, Uint8]


def names(count: int) -> tuple[str, ...]:
    """Names of `count` perturbations: the four kinds in turn, with other random numbers in each round."""
    return tuple(f"{KINDS[i % len(KINDS)]}-{i // len(KINDS) + 1}" for i in range(count))


def perturb(
    name: str,
    images: Mapping[str, Volume],
    masks: Mapping[str, Uint8],
    roles: Mapping[str, str],
    patient: str,
    seed: int,
) -> Perturbed:
    """Perturb a study. The same patient, name and seed give the same result, whatever was done before.

    Args:
        name: One of `names`.
        masks: By role, 0 and 1; an empty mask stays empty.
        roles: Sequence → role: whose mask lies on its grid.
    """
    random = np.random.default_rng([seed, zlib.crc32(f"{patient}/{name}".encode())])
    kind = name.rpartition("-")[0]
    grids = {role: images[sequence].geometry for sequence, role in roles.items() if sequence in images}
    if kind == "moved":
        return _moved(images, masks, roles, grids, random)
    changed = {}
    for role, mask in masks.items():
        if kind == "contour":
            changed[role] = random_contour(mask, grids[role].spacing, random)
        else:
            part = random.uniform(*VOLUME_CHANGE) * (-1 if kind == "smaller" else 1)
            changed[role] = adapt_volume(mask, grids[role].spacing, part, random)
    return Perturbed(dict(images), changed)


def adapt_volume(mask: Uint8, spacing: Triple, part: float, random: np.random.Generator) -> Uint8:
    """Erode or dilate so that the volume changes by `part`, to the voxel; at least one voxel stays.

    Voxels are taken away or added by their distance (mm) from the surface; a tie is broken at random.
    """
    if not mask.any():
        return mask.copy()
    box = _around(mask, spacing)
    inside = mask[box] > 0
    wanted = max(1, round(int(inside.sum()) * (1 + part)))
    distance = signed_distance(inside, spacing) + random.uniform(0, 1e-3, inside.shape)
    order = np.argsort(distance, axis=None)[: min(wanted, distance.size)]
    changed = np.zeros(inside.shape, dtype=np.uint8)
    changed.flat[order] = 1
    return _put(mask, box, changed)


def random_contour(mask: Uint8, spacing: Triple, random: np.random.Generator) -> Uint8:
    """Move the surface in and out by a smooth random field; a lesion that would vanish stays as it is."""
    if not mask.any():
        return mask.copy()
    box = _around(mask, spacing)
    inside = mask[box] > 0
    field = ndimage.gaussian_filter(
        random.standard_normal(inside.shape), [CONTOUR_SCALE_MM / mm for mm in spacing], mode="wrap"
    )
    field *= CONTOUR_MM / max(float(field.std()), 1e-12)
    changed = (signed_distance(inside, spacing) + field <= 0).astype(np.uint8)
    return _put(mask, box, changed if changed.any() else inside.astype(np.uint8))


def signed_distance(inside: npt.NDArray[np.bool_], spacing: Triple) -> npt.NDArray[np.float64]:
    """mm to the surface, half a voxel off the centres: negative inside."""
    half = min(spacing) / 2
    out = ndimage.distance_transform_edt(~inside, sampling=spacing)
    within = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    distance: npt.NDArray[np.float64] = np.where(inside, half - within, out - half)
    return distance


def noise_level(data: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the noise of an image (Z, Y, X), from differences of diagonal neighbours within slices.

    Source: Immerkær 1996, with the median in place of the mean, so that edges and air count little.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)[None]
    residual = np.abs(ndimage.convolve(data.astype(np.float64), kernel))[data != 0]  # exact 0 is padding
    return float(np.median(residual)) / (0.6745 * 6) if residual.size else 0.0


def _moved(
    images: Mapping[str, Volume],
    masks: Mapping[str, Uint8],
    roles: Mapping[str, str],
    grids: Mapping[str, Geometry],
    random: np.random.Generator,
) -> Perturbed:
    """Patient turned and shifted by a part of a voxel within slices, noise as much as there is added."""
    moves = {}
    for role in sorted(grids):
        angle = np.deg2rad(random.uniform(*ROTATION_DEGREES)) * random.choice((-1, 1))
        shift = random.uniform(*SHIFT_VOXELS, size=2) * random.choice((-1, 1), size=2)
        moves[role] = _affine(masks[role], grids[role].spacing, float(angle), shift)
    moved_images = {}
    for sequence in sorted(images):
        volume, (matrix, offset) = images[sequence], moves[roles[sequence]]
        data = ndimage.affine_transform(volume.data[0], matrix, offset, order=1, mode="nearest")
        level = noise_level(volume.data[0])
        data = data + level * random.standard_normal(data.shape, dtype=np.float32)
        moved_images[sequence] = Volume(data[None].astype(np.float32), volume.geometry)
    moved_masks = {}
    for role, mask in masks.items():
        soft = ndimage.affine_transform(mask.astype(np.float32), *moves[role], order=1)
        moved_masks[role] = (soft >= 0.5).astype(np.uint8) if (soft >= 0.5).any() else mask.copy()
    return Perturbed(moved_images, moved_masks)


def _affine(
    mask: Uint8, spacing: Triple, angle: float, shift: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Output → input voxel: a rotation about the lesion within slices, in mm, and a shift in voxels."""
    centre = np.argwhere(mask).mean(axis=0) if mask.any() else (np.array(mask.shape) - 1) / 2
    sine, cosine = np.sin(angle), np.cos(angle)
    aspect = spacing[1] / spacing[2]
    matrix = np.array([[1, 0, 0], [0, cosine, -sine / aspect], [0, sine * aspect, cosine]])
    return matrix, centre - matrix @ centre + np.array([0.0, *shift])


def _around(mask: Uint8, spacing: Triple) -> tuple[slice, ...]:
    found = ndimage.find_objects((mask > 0).astype(np.uint8))[0]
    margin = [int(np.ceil(MARGIN_MM / mm)) for mm in spacing]
    return tuple(slice(max(0, part.start - m), part.stop + m) for part, m in zip(found, margin, strict=True))


def _put(mask: Uint8, box: tuple[slice, ...], part: Uint8) -> Uint8:
    whole = np.zeros_like(mask)
    whole[box] = part
    return whole
