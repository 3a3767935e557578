from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scanside.runtime.errors import GeometryError
from scanside.runtime.images.orient import orientation, reorient, restore_orientation
from scanside.runtime.images.read import read_image
from scanside.runtime.volume import Geometry, Volume

SHAPE = (3, 4, 5)
SIGNED = [
    np.array([[sign[j] if order[j] == i else 0 for j in range(3)] for i in range(3)], float)
    for order in permutations(range(3))
    for sign in product((1, -1), repeat=3)
]


def volume_with(direction: np.ndarray) -> Volume:
    data = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    spacing, origin = (3.3, 0.83, 0.7), (-12.5, 33.25, 7.125)
    return Volume(data, Geometry(SHAPE, spacing, origin, tuple(direction.ravel().tolist())))


def itk_image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def assert_like_itk(volume: Volume, target: str = "RAS") -> None:
    wanted = sitk.DICOMOrient(itk_image(volume.data[0], volume.geometry), target)
    found, code = reorient(volume, target)
    direction = volume.geometry.direction
    assert code == sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(direction)
    np.testing.assert_array_equal(found.data[0], sitk.GetArrayFromImage(wanted))
    assert found.geometry.spacing == wanted.GetSpacing()[::-1]
    np.testing.assert_allclose(found.geometry.origin, wanted.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(found.geometry.direction, wanted.GetDirection(), atol=1e-12)
    assert found.data.flags.c_contiguous
    mask = (volume.data[0] * 200).astype(np.uint8)
    there, _ = reorient(Volume(mask[None].astype(np.float32), volume.geometry), target)
    back = restore_orientation(there.data[0].astype(np.uint8), there.geometry, volume.geometry)
    np.testing.assert_array_equal(back, mask)
    assert back.flags.c_contiguous


@pytest.mark.parametrize("matrix", SIGNED)
def test_all_48_axis_aligned_orientations(matrix: np.ndarray) -> None:
    assert_like_itk(volume_with(matrix))


def test_other_targets() -> None:
    for target in ("LPS", "RAS", "PIR", "ASL", "LIP"):
        assert_like_itk(volume_with(SIGNED[17]), target)


@settings(max_examples=60)
@given(st.integers(0, len(SIGNED) - 1), st.tuples(*[st.floats(-180, 180)] * 3))
def test_any_oblique_orientation(index: int, angles: tuple[float, float, float]) -> None:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ SIGNED[index]
    assert_like_itk(volume_with(matrix))


@pytest.mark.parametrize("angle", [45.0, -45.0, 135.0])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_ties(axis: str, angle: float) -> None:
    assert_like_itk(volume_with(Rotation.from_euler(axis, angle, degrees=True).as_matrix()))


def test_identity_is_lps() -> None:
    assert orientation(Geometry(SHAPE, (1, 1, 1))) == "LPS"


def test_two_dimensional_is_refused() -> None:
    flat = Geometry((1, 4, 5), (999.0, 1.0, 1.0), dimension=2)
    with pytest.raises(GeometryError, match="2-D"):
        reorient(Volume(np.zeros((1, 1, 4, 5), np.float32), flat))


def oblique_file(tmp_path: Path) -> Path:
    matrix = Rotation.from_euler("xyz", (12, -17, 8), degrees=True).as_matrix() @ SIGNED[29]
    volume = volume_with(matrix)
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(itk_image(volume.data[0], volume.geometry), str(path))
    return path


@pytest.mark.parametrize(
    ("module", "reader"),
    [
        ("simpleitk_reader_writer", "SimpleITKIOWithReorient"),
        ("nibabel_reader_writer", "NibabelIOWithReorient"),
    ],
)
def test_like_nnunet_readers(tmp_path: Path, module: str, reader: str) -> None:
    nnunet = getattr(pytest.importorskip(f"nnunetv2.imageio.{module}"), reader)()
    path = oblique_file(tmp_path)
    data, properties = nnunet.read_images([str(path)])
    original = read_image(path)
    oriented, _ = reorient(original)
    np.testing.assert_array_equal(oriented.data, data)
    np.testing.assert_allclose(oriented.geometry.spacing, properties["spacing"], rtol=1e-6)
    mask = (data[0] * 200).astype(np.uint8)
    nnunet.write_seg(mask, str(tmp_path / "mask.nii.gz"), properties)
    restored = restore_orientation(mask, oriented.geometry, original.geometry)
    np.testing.assert_array_equal(restored, read_image(tmp_path / "mask.nii.gz").data[0])
