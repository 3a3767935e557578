"""Splines axis by axis are ITK's."""

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from scanside.runtime.radiomics.body import Scaling
from scanside.runtime.radiomics.config import Setting
from scanside.runtime.radiomics.region import region
from scanside.runtime.radiomics.spline import spline
from tests.runtime.radiomics.lesion_images import abdomen


def by_itk(
    values: npt.NDArray[np.float64], start: list[float], step: list[float], size: list[int]
) -> npt.NDArray[np.float64]:
    """The same of ITK; everything in z, y, x."""
    task = sitk.ResampleImageFilter()
    task.SetInterpolator(sitk.sitkBSpline)
    task.SetOutputOrigin(start[::-1])
    task.SetOutputSpacing(step[::-1])
    task.SetSize(size[::-1])
    return np.asarray(sitk.GetArrayFromImage(task.Execute(sitk.GetImageFromArray(values))))


@pytest.mark.parametrize(
    ("shape", "start", "step", "size"),
    [
        (
            (6, 40, 37),
            [0.0, -0.31, 3.7],
            [1.0, 0.69, 1.9],
            [6, 50, 15],
        ),  # z as it is, y beyond the near border
        ((25, 20, 21), [2.0, 0.2, 1.1], [1.0, 0.37, 0.53], [20, 54, 39]),  # y and x beyond the far border
        (
            (5, 12, 2),
            [0.4, 0.3, -0.2],
            [0.8, 3.0, 0.3],
            [4, 4, 5],
        ),  # across slices, and an axis of two voxels
    ],
)
def test_equals_itk(shape: tuple[int, ...], start: list[float], step: list[float], size: list[int]) -> None:
    values = np.random.default_rng(3).normal(size=shape)
    expected = by_itk(values, start, step, size)
    found = spline(
        values,
        [
            np.asarray(a + b * np.arange(n), dtype=np.float64)
            for a, b, n in zip(start, step, size, strict=True)
        ],
    )
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert np.array_equal(found == 0, expected == 0)  # outside of the image


def test_on_the_far_border_itk_decides() -> None:
    assert spline(np.ones((4, 8, 8)), [np.arange(4.0), np.array([1.5, 7.5]), np.array([0.5])]) is None


def test_a_region_without_bins_has_the_same_values_and_mask() -> None:
    image, mask = abdomen()
    setting = Setting(binCount=8, resampledPixelSpacing=(2.3, 2.3, 0.0), padDistance=6)
    scaling = Scaling(10.0, 3.0, 1.0, None)
    exact = region(image.data[0], image.geometry, mask, scaling, setting)
    lean = region(image.data[0], image.geometry, mask, scaling, setting, bins=False)
    least = region(image.data[0], image.geometry, mask, scaling, setting, margin=False, bins=False)
    assert exact is not None
    assert lean is not None
    assert least is not None
    whole, inside = sitk.GetArrayFromImage(exact.image), exact.inside
    np.testing.assert_allclose(sitk.GetArrayFromImage(lean.image), whole, rtol=0, atol=1e-9)
    assert np.array_equal(lean.inside, inside)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(least.image)[least.inside], whole[inside], rtol=0, atol=1e-9
    )
    assert least.image.GetSize() == tuple((exact.box[1] - exact.box[0] + 1).tolist())
    np.testing.assert_allclose(least.image.GetOrigin(), exact.cut(exact.image).GetOrigin(), atol=1e-9)
