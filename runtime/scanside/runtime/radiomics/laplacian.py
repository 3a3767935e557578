"""Laplacian of Gaussian in the lesion's box: ITK's values bit by bit, without the rest of the image.

ITK adds three chains, each the second derivative along one axis and then Gaussians along the other two, and computes
them everywhere. Every pass works on lines along its axis by themselves, so that after it only the lines and voxels of
the box are needed along that axis: the passes become smaller and smaller. Intermediate images are float32 as in ITK.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.radiomics.region import Region

_LEAST = 4
"""Voxels: ITK's recursive filter takes no shorter line."""


def laplacian(region: Region, sigma: float) -> npt.NDArray[np.float32] | None:
    """The Laplacian, normalised across scales, of a region's image.

    Args:
        sigma: mm.

    Returns:
        (Z, Y, X) of the region's box; None where pyradiomics gives no such image, since the region is too small.

    Source: `itk::LaplacianRecursiveGaussianImageFilter`; limits of size: pyradiomics `imageoperations.getLoGImage`.
    """
    spacing, size = np.array(region.image.GetSpacing()), np.array(region.image.GetSize())
    if size.min() < _LEAST or (size < np.ceil(sigma / spacing) + 1).any():
        return None
    total: npt.NDArray[np.float32] = np.zeros((), dtype=np.float32)
    for axis in range(3):
        image = _pass(region, region.image, axis, sigma, 2)
        for other in range(3):
            if other != axis:
                image = _pass(region, image, other, sigma, 0)
        part = _array(image) * (1.0 / (spacing[axis] * spacing[axis]))
        total = (total + part).astype(np.float32)
    return total


def _pass(region: Region, image: Any, axis: int, sigma: float, order: int) -> Any:
    """One recursive filter along x, y or z (0, 1, 2), and of its result the box along that axis."""
    import SimpleITK as sitk

    task = sitk.RecursiveGaussianImageFilter()
    task.SetSigma(sigma)
    task.SetNormalizeAcrossScale(True)
    task.SetOrder(order)
    task.SetDirection(axis)
    task.SetNumberOfThreads(1)  # a small image: waiting for threads takes longer
    found = task.Execute(image)
    keep = [slice(None)] * 3
    keep[2 - axis] = region.slices[2 - axis]
    return region.boxed(sitk.GetArrayViewFromImage(found)[tuple(keep)])


def _array(image: Any) -> npt.NDArray[np.float64]:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image).astype(np.float64)
