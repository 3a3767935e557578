"""Real scans of five vendors against ITK's own DICOM reader (GDCM), and what of them must be refused."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.dicom.read import read_series
from scanside.runtime.errors import ImageReadError, InputError, ScansideError
from scanside.runtime.images.cases import find_cases
from scanside.runtime.images.load import load_case
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

SERIES = {
    "Toshiba T2": "abdomen_scan_002_t2",
    "Toshiba ADC": "abdomen_scan_002_adc",
    "Siemens T2": "prostatex_0000/4.000000-t2tsetra-00702",
    "Siemens ADC": "prostatex_0000/7.000000-ep2ddifftraDYNDISTADC-48780",
    "Siemens calculated b": "prostatex_0000/8.000000-ep2ddifftraDYNDISTCALCBVAL-83202",
    "GE ADC": "qin_prostate_adc_seg/ADC",
    "Hitachi": "headers_dicom2nifti/hitachi/anatomical/001",
    "RLE": "headers_dicom2nifti/generic/compressed_rle/001",
}
MULTI_FRAME = {
    "Siemens XA ADC": "siemens_xa30_enhanced/11_DWI_dir80_PA",
    "Siemens XA trace": "siemens_xa30_enhanced/12_DWI_dir80_PA",
    "Siemens XA b0": "siemens_xa30_enhanced/16_DWI_dir80_PA",
    "Siemens XA phase": "siemens_xa30_enhanced/9_gre_field_mapping",
}
SINGLE = ["philips_abdomen_dwi_phantom", "abdomen_siemens_overlay"]


def assert_like_itk(folder: Path, image: sitk.Image) -> None:
    """ITK makes a nearly orthogonal header exactly orthogonal; of a single slice it knows no z spacing."""
    volume, series = read_series(folder)
    np.testing.assert_array_equal(volume.data[0], sitk.GetArrayFromImage(image).astype(np.float32))
    known = slice(None) if image.GetSize()[2] > 1 else slice(1, 3)
    np.testing.assert_allclose(volume.geometry.spacing[known], image.GetSpacing()[::-1][known], atol=1e-4)
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(volume.geometry.direction, image.GetDirection(), rtol=0, atol=3e-5)
    assert len(series.frames) == volume.geometry.shape[0]


@pytest.mark.parametrize("name", SERIES)
def test_like_itk_series_reader(name: str) -> None:
    folder = shared_data("dicom", *SERIES[name].split("/"))
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert_like_itk(folder, sitk.ReadImage(files))


@pytest.mark.parametrize("name", MULTI_FRAME)
def test_like_itk_on_multi_frame(name: str) -> None:
    folder = shared_data("dicom", *MULTI_FRAME[name].split("/"))
    assert_like_itk(folder, sitk.ReadImage(str(next(folder.iterdir()))))


@pytest.mark.parametrize("name", SINGLE)
def test_like_itk_on_one_slice(name: str) -> None:
    folder = shared_data("dicom", name)
    assert_like_itk(folder, sitk.ReadImage(str(next(folder.iterdir()))))


def test_whole_way_from_folder_to_case() -> None:
    folder = shared_data("dicom", "abdomen_scan_002_t2")
    (case,) = find_cases([folder], 1, ".nii.gz")
    loaded = load_case(case, 1)
    assert loaded.name == "abdomen_scan_002_t2"
    assert loaded.volume.data.shape == (1, 37, 512, 536)
    assert loaded.volume.data.min() < 0  # signed pixels of a distortion-corrected Toshiba T2
    assert loaded.source is not None
    assert len(loaded.source.sop_instance_uids) == 37


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("prostatex_0000/6.000000-ep2ddifftraDYNDIST-69284", "b-value (Siemens 0019,100C) (50, 400, 800)"),
        ("ge_dwi_r2", "7 images at the same position"),
        ("philips_dwi_multib", "DiffusionBValue (0.0, 2.0, 2000.0)"),
        ("headers_dicom2nifti/philips/dti/002", "DiffusionBValue (0.0, 40.0, 273.0, 800.0)"),
        ("headers_dicom2nifti/ge/dti/001_implicit", "b-value (GE 0043,1039) (0, 1000)"),
        ("philips_enhanced_fieldmap", "2 images at the same position"),
    ],
)
def test_several_volumes_in_one_series(folder: str, words: str) -> None:
    path = shared_data("dicom", *folder.split("/"))
    with pytest.raises(ScansideError) as caught:
        read_series(path)
    assert_one_sentence(str(caught.value), str(path), words)


def test_study_folder_and_segmentation_are_refused() -> None:
    study = shared_data("dicom", "prostatex_0000")
    with pytest.raises(InputError) as caught:
        find_cases([study], 1, None)
    assert_one_sentence(str(caught.value), "4.000000-t2tsetra-00702", "one series folder")
    with pytest.raises(InputError) as caught:
        read_series(shared_data("dicom", "qin_prostate_adc_seg", "seg"))
    assert_one_sentence(str(caught.value), "(SEG)")


@pytest.mark.parametrize(
    "name",
    ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"],
)
def test_encodings_of_one_image(name: str) -> None:
    plain, _ = read_series(shared_data("malformed", "pydicom", "MR_small.dcm"))
    other, _ = read_series(shared_data("malformed", "pydicom", f"MR_small_{name}.dcm"))
    np.testing.assert_array_equal(other.data, plain.data)
    assert other.geometry == plain.geometry


def test_jpeg2000_with_wrong_pixel_representation() -> None:
    volume, _ = read_series(shared_data("malformed", "pydicom", "J2K_pixelrep_mismatch.dcm"))
    assert (volume.data.min(), volume.data.max()) == (-2000, 1896)


READABLE = {"MR_small", "J2K_pixelrep_mismatch"}


def test_every_malformed_file_is_read_or_refused_in_one_sentence() -> None:
    for path in sorted(shared_data("malformed", "pydicom").iterdir()):
        if path.name.startswith(tuple(READABLE)):
            continue
        with pytest.raises(ScansideError) as caught:
            read_series(path)
        assert_one_sentence(str(caught.value), path.name)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("MR_small_jp2klossless", 0.3),
        ("MR_small_jp2klossless", 0.97),
        ("MR_small_jpeg_ls_lossless", 0.9),  # pyjpegls takes seconds to give up
        ("MR_small_RLE", 0.3),
        ("MR_small_RLE", 0.97),
    ],
)
def test_cut_compressed_pixels(tmp_path: Path, name: str, kept: float) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate, generate_frames

    dataset = dcmread(shared_data("malformed", "pydicom", f"{name}.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    frame = frame[: int(len(frame) * kept) // 2 * 2]
    dataset.PixelData = encapsulate([frame])
    dataset.save_as(tmp_path / "cut.dcm")
    with pytest.raises(ImageReadError) as caught:
        read_series(tmp_path / "cut.dcm")
    assert_one_sentence(str(caught.value), "cut.dcm", "truncated or damaged")
