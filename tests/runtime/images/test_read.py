import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import GeometryError, ImageReadError, InputError
from scanside.runtime.images.files import ENDINGS
from scanside.runtime.images.read import read_image
from tests.support.interpreter import python
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

OBLIQUE = (0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8)
TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]


def picture(dtype: Any = np.int16, shape: tuple[int, ...] = (4, 6, 5), oblique: bool = True) -> sitk.Image:
    values = np.random.default_rng(1).normal(40, 30, shape)
    image = sitk.GetImageFromArray(np.clip(values, 0, 120).astype(dtype))
    image.SetSpacing((0.7, 0.83, 3.3)[: len(shape)])
    image.SetOrigin((-12.5, 33.25, 7.125)[: len(shape)])
    if oblique and len(shape) == 3:
        image.SetDirection(OBLIQUE)
    return image


def save(image: sitk.Image, path: Path, compressed: bool = True) -> Path:
    sitk.WriteImage(image, str(path), compressed)
    return path


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_same_array_and_spacing_as_nnunet(tmp_path: Path, dtype: Any, ending: str) -> None:
    nnunet = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    path = save(picture(dtype), tmp_path / f"a{ending}")
    data, properties = nnunet.read_images([str(path)])
    volume = read_image(path)
    assert volume.data.dtype == data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, data)
    assert list(volume.geometry.spacing) == properties["spacing"]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_two_dimensional_as_nnunet(tmp_path: Path, ending: str) -> None:
    nnunet = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    path = save(picture(shape=(6, 5)), tmp_path / f"a{ending}", compressed=ending != ".nii")
    data, properties = nnunet.read_images([str(path)])
    volume = read_image(path)
    assert volume.data.shape == data.shape == (1, 1, 6, 5)
    np.testing.assert_array_equal(volume.data, data)
    assert list(volume.geometry.spacing) == properties["spacing"]
    assert volume.geometry.dimension == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(tmp_path: Path, ending: str) -> None:
    path = save(picture(oblique=False), tmp_path / f"a{ending}", compressed=ending.endswith("gz"))
    volume = read_image(path)
    np.testing.assert_array_equal(volume.data[0], sitk.GetArrayFromImage(picture()).astype(np.float32))
    np.testing.assert_allclose(volume.geometry.spacing, (3.3, 0.83, 0.7), rtol=1e-6)


def test_geometry_is_lps(tmp_path: Path) -> None:
    geometry = read_image(save(picture(), tmp_path / "a.nrrd")).geometry
    assert geometry.shape == (4, 6, 5)
    assert geometry.origin == (-12.5, 33.25, 7.125)
    np.testing.assert_allclose(geometry.direction, OBLIQUE, atol=1e-12)
    corner = picture().TransformIndexToPhysicalPoint((4, 5, 3))
    step = np.array(geometry.spacing[::-1]) * (4, 5, 3)
    np.testing.assert_allclose(geometry.origin + geometry.direction_matrix @ step, corner, atol=1e-9)


def test_scaled_nifti_as_nnunet(tmp_path: Path) -> None:
    nnunet = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag((1, 2, 3, 1)))
    image.header.set_slope_inter(0.37, -11.5)
    path = tmp_path / "a.nii.gz"
    nibabel.save(image, path)
    np.testing.assert_array_equal(read_image(path).data, nnunet.read_images([str(path)])[0])


@pytest.mark.parametrize(
    "parts",
    [
        ("volumes", "pyradiomics_brain1", "brain1_image.nrrd"),
        ("volumes", "spinal_t2", "t2.nii.gz"),
        ("volumes", "ibsi_sts_003", "MR_T1_image.nii.gz"),
        ("volumes", "ibsi1_digital_phantom", "phantom.nii.gz"),
    ],
)
def test_real_images_as_nnunet(parts: tuple[str, ...]) -> None:
    nnunet = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    path = shared_data(*parts)
    data, properties = nnunet.read_images([str(path)])
    volume = read_image(path)
    np.testing.assert_array_equal(volume.data, data)
    assert list(volume.geometry.spacing) == properties["spacing"]


def test_constant_image_is_read(tmp_path: Path) -> None:
    path = save(sitk.Image([4, 4, 4], sitk.sitkUInt8), tmp_path / "zero.nii.gz")
    assert not read_image(path).data.any()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, ending: str, kept: float) -> None:
    noise = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 2000, (8, 30, 30)).astype(np.int16))
    whole = save(noise, tmp_path / f"whole{ending}", compressed=ending.endswith("gz")).read_bytes()
    path = tmp_path / f"part{ending}"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), f"part{ending}")


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    noise = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 2000, (8, 30, 30)).astype(np.int16))
    path = save(noise, tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), "a.nii.gz")


def test_gzip_of_several_members_and_trailing_bytes_are_read(tmp_path: Path) -> None:
    plain = save(picture(), tmp_path / "a.nii", compressed=False).read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    np.testing.assert_array_equal(read_image(path).data, read_image(tmp_path / "a.nii").data)
    path.write_bytes(gzip.compress(plain + b"\0" * 17))
    np.testing.assert_array_equal(read_image(path).data, read_image(tmp_path / "a.nii").data)


def test_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = save(picture(), tmp_path / "a.nii", compressed=False)
    content = bytearray(path.read_bytes())
    content[42:48] = (30000).to_bytes(2, "little") * 3
    path.write_bytes(content)
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), "a.nii")


@pytest.mark.parametrize("spacing", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_without_spacing_is_refused(tmp_path: Path, spacing: float, ending: str) -> None:
    content = bytearray(save(picture(oblique=False), tmp_path / "a.nii", compressed=False).read_bytes())
    content[84:88] = struct.pack("<f", spacing)
    path = tmp_path / f"b{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    with pytest.raises(GeometryError) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), path.name, "spacing")


def test_big_endian_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    path = tmp_path / "big.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5)), np.diag((1.5, 2.5, 3.5, 1)), header), path)
    assert read_image(path).geometry.spacing == (3.5, 2.5, 1.5)
    content = bytearray(path.read_bytes())
    content[80:84] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(GeometryError):
        read_image(path)


def complex_picture() -> sitk.Image:
    return sitk.RealAndImaginaryToComplex(*[picture(np.float32)] * 2)


def four_dimensional() -> sitk.Image:
    return sitk.JoinSeries([picture(oblique=False)] * 3)


def with_value(value: float) -> sitk.Image:
    image = picture(np.float64)
    image[1, 1, 1] = value
    return image


@pytest.mark.parametrize(
    ("image", "ending", "error", "word"),
    [
        (four_dimensional(), ".nii.gz", InputError, "4-dimensional"),
        (sitk.Compose([picture(np.uint8)] * 3), ".nii.gz", InputError, "several values per voxel"),
        (sitk.Compose([picture(np.float32)] * 2), ".nrrd", InputError, "several values per voxel"),
        (
            sitk.RealAndImaginaryToComplex(*[picture(np.float32)] * 2),
            ".nrrd",
            InputError,
            "several values per voxel",
        ),
        (with_value(np.nan), ".nrrd", InputError, "NaN or infinite"),
        (with_value(np.inf), ".mha", InputError, "NaN or infinite"),
        (with_value(1e300), ".mha", InputError, "NaN or infinite"),
    ],
)
def test_what_is_not_one_finite_volume_is_refused(
    tmp_path: Path, image: sitk.Image, ending: str, error: type[InputError], word: str
) -> None:
    path = save(image, tmp_path / f"odd{ending}")
    with pytest.raises(error) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), f"odd{ending}", word)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.nii.gz", tmp_path):
        with pytest.raises(ImageReadError) as caught:
            read_image(path)
        assert_one_sentence(str(caught.value), path.name, "check the path")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b", b"\0" * 400, b"NRRD0004\n"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_not_an_image(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"fake{ending}"
    path.write_bytes(content)
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    assert_one_sentence(str(caught.value), f"fake{ending}")


def test_sheared_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), affine)
    image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "sheared.nii.gz")
    with pytest.raises(GeometryError) as caught:
        read_image(tmp_path / "sheared.nii.gz")
    assert_one_sentence(str(caught.value), "sheared.nii.gz", "resample")


def test_reading_files_never_imports_dicom(tmp_path: Path) -> None:
    save(picture(), tmp_path / "a_0000.nii.gz")
    code = (
        "import sys; from pathlib import Path\n"
        "import scanside.runtime.images, scanside.runtime.images.write\n"
        "from scanside.runtime.images.cases import find_cases\n"
        "from scanside.runtime.images.load import load_case\n"
        "assert 'SimpleITK' not in sys.modules\n"
        f"load_case(find_cases([Path({str(tmp_path)!r})], 1, None)[0], 1)\n"
        "print(sorted({'pydicom', 'highdicom', 'gdcm', 'scanside.runtime.dicom'} & set(sys.modules)))"
    )
    run = python(code)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""
