"""Cropping and resampling against pyradiomics on the whole image."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.runtime.radiomics.body import Scaling
from scanside.runtime.radiomics.config import Setting
from scanside.runtime.radiomics.engine import pyradiomics
from scanside.runtime.radiomics.laplacian import laplacian
from scanside.runtime.radiomics.region import bounding_box, region
from tests.runtime.radiomics.lesion_images import TURNED, abdomen

IDENTITY = Scaling(0.0, 1.0, 1.0, None)
spacings = st.sampled_from([0.5, 0.75, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0]) | st.floats(0.4, 4)


@settings(max_examples=25)
@given(
    st.tuples(st.sampled_from([3.0, 6.0]), spacings, spacings),
    st.tuples(spacings, spacings, st.sampled_from([0.0, 2.0, 6.0])),
    st.integers(0, 12),
    st.tuples(st.integers(-9, 9), st.integers(-40, 40), st.integers(-40, 40)),
    st.sampled_from([TURNED, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)]),
)
def test_resampling_near_the_lesion_is_resampling_the_whole_image(
    spacing, wanted, pad, shift, direction
) -> None:
    image, mask = abdomen(0, (12, 64, 70), spacing, 12 * max(spacing[1:]), direction)
    mask = np.roll(mask, shift, (0, 1, 2))
    if not mask.any():
        return
    whole, label = sitk.GetImageFromArray(image.data[0].astype(np.float64)), sitk.GetImageFromArray(mask)
    for each in (whole, label):
        each.SetSpacing(spacing[::-1])
        each.SetOrigin(image.geometry.origin)
        each.SetDirection(direction)
    expected, expected_mask = pyradiomics().imageoperations.resampleImage(
        whole, label, resampledPixelSpacing=list(wanted), interpolator="sitkBSpline", padDistance=pad, label=1
    )
    setting = Setting(binCount=8, resampledPixelSpacing=wanted, padDistance=pad)
    found = region(image.data[0], image.geometry, mask, IDENTITY, setting)
    truth = sitk.GetArrayFromImage(expected_mask) == 1
    if found is None:
        assert not truth.any()
        return
    np.testing.assert_array_equal(found.inside, truth)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(found.image), sitk.GetArrayFromImage(expected), rtol=0, atol=1e-9 * 600
    )
    for ours, theirs in (
        (found.image.GetOrigin(), expected.GetOrigin()),
        (found.image.GetSpacing(), expected.GetSpacing()),
        (found.image.GetDirection(), expected.GetDirection()),
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_without_resampling_the_region_is_the_box_and_its_margin() -> None:
    image, mask = abdomen()
    box = bounding_box(mask > 0)
    found = region(image.data[0], image.geometry, mask, IDENTITY, Setting(binCount=8, padDistance=4))
    assert found is not None
    low = np.maximum(box[0] - 4, 0)
    high = np.minimum(box[1] + 5, np.array(image.geometry.shape[::-1]))
    assert list(found.image.GetSize()) == list(high - low)
    np.testing.assert_array_equal(found.box, box - low)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.image), image.data[0][z, y, x])
    whole = sitk.GetImageFromArray(mask)
    whole.SetSpacing(image.geometry.spacing[::-1])
    whole.SetOrigin(image.geometry.origin)
    whole.SetDirection(image.geometry.direction)
    np.testing.assert_allclose(
        found.image.GetOrigin(), whole.TransformIndexToPhysicalPoint([int(v) for v in low]), atol=1e-9
    )


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("spacing", [(6.0, 1.3, 1.2), (1.0, 1.0, 1.0)])
def test_the_laplacian_in_the_box_is_itk_s_bit_by_bit(
    spacing: tuple[float, float, float], sigma: float
) -> None:
    image, mask = abdomen(6, spacing=spacing, diameter=14)
    found = region(image.data[0], image.geometry, mask, IDENTITY, Setting(binCount=8, padDistance=9))
    assert found is not None
    ((whole, _, _),) = pyradiomics().imageoperations.getLoGImage(found.image, found.mask, sigma=[sigma])
    ours = laplacian(found, sigma)
    assert ours is not None and ours.dtype == np.float32
    np.testing.assert_array_equal(ours, sitk.GetArrayFromImage(whole)[found.slices])


def test_a_margin_of_six_sigma_leaves_little_of_the_border_in_log() -> None:
    """The recursive Gaussian has no end: what the margin leaves, in units of the filtered image's deviation."""
    image, mask = abdomen(4, (24, 200, 200), (3.0, 1.0, 1.0), 20)
    log = sitk.LaplacianRecursiveGaussianImageFilter()
    log.SetNormalizeAcrossScale(True)
    log.SetSigma(2.0)

    def filtered(pad: int) -> np.ndarray:
        found = region(image.data[0], image.geometry, mask, IDENTITY, Setting(binCount=8, padDistance=pad))
        assert found is not None
        return sitk.GetArrayFromImage(found.cut(log.Execute(found.image)))[
            sitk.GetArrayFromImage(found.cut(found.mask)) == 1
        ]

    truth = filtered(400)
    errors = [float(np.abs(filtered(pad) - truth).max() / truth.std()) for pad in (4, 8, 12, 16, 24)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 1e-3 and errors[4] < 1e-6
