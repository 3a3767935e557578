"""Image and mask → the region that is measured: normalised, cropped, resampled, as SimpleITK images.

Cropping is a part of the recipe. Filters see the box around the lesion and `padDistance` voxels on every side, which is
pyradiomics' `preCrop`, and without which a patient would cost seconds. The Laplacian of Gaussian is a recursive
filter without end: over a smaller image its values differ (by the margin's truncation) from those over the whole
image. What matters is that the margin is the same in training and at the scanner, and so it stands in radiomics.yaml.

Resampling is done on a grid that is fixed to the whole image, as pyradiomics does it; only what lies around the
lesion is interpolated. The spline's coefficients are recursive too, but fade by 0.27 a voxel, so that `_SPLINE` voxels
leave nothing of the border that float64 could hold (tests/runtime/radiomics/test_region.py).

What is not needed is not computed: without filters there is no margin; and only where grey values are discretised,
and the last bit may decide on a bin, ITK itself interpolates. Otherwise `spline.py` does, in a tenth of the time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.radiomics.body import Scaling
from scanside.runtime.radiomics.config import Setting
from scanside.runtime.radiomics.spline import spline
from scanside.runtime.volume import Geometry

Ints = npt.NDArray[np.int64]
_SPLINE = 30
_MATCHING = 1e-5
"""Relative: a spacing this near to the one asked for is not resampled (pyradiomics: numpy.allclose)."""


@dataclass(frozen=True)
class Region:
    """What is measured.

    Attributes:
        image: SimpleITK image, float64: the box and its margin.
        mask: SimpleITK image, uint8, label 1, on the same grid.
        box: (2, 3): first and last voxel of the lesion in x, y, z.
    """

    image: Any
    mask: Any
    box: Ints

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(Z, Y, X): the lesion, on the grid of the region."""
        return _inside(self.mask)

    def with_mask(self, mask: Any) -> "Region":
        """The same image with a part of the lesion, which must not be empty."""
        import SimpleITK as sitk

        return Region(self.image, sitk.Cast(mask, sitk.sitkUInt8), bounding_box(_inside(mask)))

    def cut(self, image: Any) -> Any:
        """The box without its margin, of any image on the region's grid."""
        import SimpleITK as sitk

        box = self.boxed(sitk.GetArrayViewFromImage(image)[self.slices])
        box.SetDirection(image.GetDirection())
        box.SetOrigin(image.TransformIndexToPhysicalPoint(self.box[0].tolist()))
        return box

    def boxed(self, values: npt.NDArray[Any]) -> Any:
        """(Z, Y, X) values as an image of the region's spacing: all that features and filters ask of geometry."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.image.GetSpacing())
        return image

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box in z, y, x."""
        return tuple(slice(low, high) for low, high in zip(*_ends(self.box), strict=True))[::-1]


def region(
    data: npt.NDArray[np.float32],
    geometry: Geometry,
    mask: npt.NDArray[np.uint8],
    scaling: Scaling,
    setting: Setting,
    margin: bool = True,
    bins: bool = True,
) -> Region | None:
    """The region of a mask; None when nothing of it is left after resampling.

    Args:
        data: (Z, Y, X) grey values.
        mask: (Z, Y, X), not empty.
        margin: Filters will run, which see `padDistance` voxels around the lesion.
        bins: Grey values will be discretised: they are to be ITK's to the last bit.
    """
    box = bounding_box(mask > 0)
    size = np.array(geometry.shape[::-1])
    spacing = np.array(geometry.spacing[::-1])
    wanted = _wanted_spacing(spacing, box, setting)
    if wanted is None:
        near = _grow(box, setting.padDistance if margin else 0, size)
        image, roi = _cut(scaling, data, geometry, near), _cut(None, mask, geometry, near)
        return _region(_truncated(image) if setting.integers else image, roi)
    start, count = _grid(box, size, spacing, wanted, setting.padDistance)
    # Where a new voxel's centre lies on the border of two old ones, rounding decides between them. The mask is
    # therefore not cropped: with the same numbers as pyradiomics the same of the two is chosen.
    roi = _cut(None, mask, geometry, np.stack([np.zeros_like(size), size - 1]))
    origin = roi.TransformContinuousIndexToPhysicalPoint(start.tolist())
    roi = _resampled(roi, origin, wanted, count, "sitkNearestNeighbor")
    inside = _inside(roi)
    if not inside.any():
        return None
    step = wanted / spacing
    if not margin and not bins:
        (x0, y0, z0), (x1, y1, z1) = _ends(bounding_box(inside))
        roi, start = roi[x0:x1, y0:y1, z0:z1], start + np.array([x0, y0, z0]) * step
    count = np.array(roi.GetSize())
    near = np.stack([np.floor(start), np.ceil(start + (count - 1) * step)]).astype(np.int64)
    near = _grow(near, _SPLINE, size)
    image = None
    if setting.interpolator == "sitkBSpline" and not (bins or setting.integers):
        image = _splined(_part(scaling, data, near), roi, start - near[0], step)
    if image is None:
        image = _cut(scaling, data, geometry, near)
        image = _resampled(image, roi.GetOrigin(), wanted, count, setting.interpolator)
    return _region(_truncated(image) if setting.integers else image, roi)


def bounding_box(inside: npt.NDArray[np.bool_]) -> Ints:
    """(2, 3): first and last True voxel in x, y, z."""
    ends = []
    for axis in (2, 1, 0):
        other = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(inside.any(axis=other))
        ends.append((where[0], where[-1]))
    return np.array(ends, dtype=np.int64).T


def _wanted_spacing(
    spacing: npt.NDArray[np.float64], box: Ints, setting: Setting
) -> npt.NDArray[np.float64] | None:
    """(x, y, z) mm, or None when nothing is resampled. An axis with one voxel of lesion stays as it is."""
    if setting.resampledPixelSpacing is None:
        return None
    wanted = np.array(setting.resampledPixelSpacing)
    wanted = np.where((wanted == 0) | (box[0] == box[1]), spacing, wanted)
    return None if np.allclose(spacing, wanted, rtol=_MATCHING, atol=1e-8) else wanted


def _grid(
    box: Ints, size: Ints, spacing: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], pad: int
) -> tuple[npt.NDArray[np.float64], Ints]:
    """First voxel (in voxels of the image, fractional) and size of pyradiomics' resampling grid, in x, y, z.

    The corners of the two grids' first voxels lie on each other. Source: pyradiomics `imageoperations.resampleImage`.
    """
    ratio = spacing / wanted
    first = np.maximum(np.floor((box[0] - 0.5) * ratio - pad), 0)
    last = np.minimum(np.ceil((box[1] + 0.5) * ratio + pad), np.ceil(size * ratio) - 1)
    start = 0.5 * (wanted - spacing) / spacing + first / ratio
    return start, (last - first + 1).astype(np.int64)


def _ends(box: Ints) -> tuple[list[int], list[int]]:
    """First voxels, and the ones after the last."""
    return box[0].tolist(), (box[1] + 1).tolist()


def _grow(box: Ints, margin: int, size: Ints) -> Ints:
    return np.clip(box + np.array([[-margin], [margin]]), 0, size - 1)


def _part(scaling: Scaling | None, array: npt.NDArray[Any], box: Ints) -> npt.NDArray[Any]:
    """A box of an array: scaled grey values, or a mask of 0 and 1."""
    (x0, y0, z0), (x1, y1, z1) = _ends(box)
    part = array[z0:z1, y0:y1, x0:x1]
    return (part > 0).astype(np.uint8) if scaling is None else scaling.apply(part.astype(np.float64))


def _cut(scaling: Scaling | None, array: npt.NDArray[Any], geometry: Geometry, box: Ints) -> Any:
    """The same as a SimpleITK image where it lies."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(_part(scaling, array, box))
    image.SetSpacing(geometry.spacing[::-1])
    image.SetDirection(geometry.direction)
    image.SetOrigin(geometry.origin)
    image.SetOrigin(image.TransformIndexToPhysicalPoint(box[0].tolist()))
    return image


def _resampled(
    image: Any, origin: tuple[float, ...], spacing: npt.NDArray[np.float64], size: Ints, interpolator: str
) -> Any:
    import SimpleITK as sitk

    task = sitk.ResampleImageFilter()
    task.SetOutputSpacing(spacing.tolist())
    task.SetOutputDirection(image.GetDirection())
    task.SetOutputOrigin(origin)
    task.SetSize(size.tolist())
    task.SetOutputPixelType(image.GetPixelID())
    task.SetInterpolator(getattr(sitk, interpolator))
    return task.Execute(image)


def _splined(
    values: npt.NDArray[np.float64], like: Any, start: npt.NDArray[np.float64], step: npt.NDArray[np.float64]
) -> Any:
    """An image on the grid of another, whose first voxel lies at `start` of `values`; both in x, y, z."""
    import SimpleITK as sitk

    grid = zip(start, step, like.GetSize(), strict=True)
    found = spline(values, [first + by * np.arange(count) for first, by, count in grid][::-1])
    if found is None:
        return None
    image = sitk.GetImageFromArray(found)
    image.CopyInformation(like)
    return image


def _truncated(image: Any) -> Any:
    import SimpleITK as sitk

    whole = sitk.GetImageFromArray(np.trunc(sitk.GetArrayViewFromImage(image)))
    whole.CopyInformation(image)
    return whole


def _region(image: Any, mask: Any) -> Region | None:
    inside = _inside(mask)
    return Region(image, mask, bounding_box(inside)) if inside.any() else None


def _inside(mask: Any) -> npt.NDArray[np.bool_]:
    import SimpleITK as sitk

    return np.asarray(sitk.GetArrayViewFromImage(mask) == 1)
