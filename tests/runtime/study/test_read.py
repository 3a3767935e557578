"""Folders of all kinds → the sequences of a study."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.errors import ImageReadError, InputError, UsageError
from scanside.runtime.study.read import read_study
from tests.runtime.study.tiny_study import DWI_GRID, images, write_image, write_nifti
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

ALL = ("t2w", "dwi", "adc")


def test_nifti_by_name(tmp_path: Path) -> None:
    study = read_study(write_nifti(tmp_path / "P001"), ALL)
    assert study.name == "P001" and list(study.images) == list(ALL) and study.warnings == ()
    for name, image in study.images.items():
        np.testing.assert_array_equal(image.volume.data, images()[name].data)
        assert image.how == "named so" and image.series == f"{name}.nii.gz" and image.source is None


def test_dicom_study_gives_the_images_of_the_nifti_study(dicom_study: Path) -> None:
    study = read_study(dicom_study, ("t2w", "dwi", "b0", "adc"))
    for name, image in study.images.items():
        np.testing.assert_array_equal(image.volume.data, images()[name].data)
        assert image.volume.geometry.difference(images()[name].geometry) is None
        assert image.source is not None and len(image.source.instances) == len(image.volume.data[0])
    assert [study.images[name].b for name in study.images] == [None, 800.0, 50.0, None]
    chosen = {row.series: row.chosen for row in study.considered}
    assert chosen == {
        "1 'localizer'": None,
        "5 't2_tse_tra_fs'": "t2w",
        "6 'ep2d_diff_tra' b=50": "b0",
        "6 'ep2d_diff_tra' b=800": "dwi",
        "7 'ep2d_diff_tra_ADC'": "adc",
    }
    assert all(row.reason for row in study.considered)


def test_only_what_is_needed_is_read(dicom_study: Path) -> None:
    assert list(read_study(dicom_study, ("t2w",)).images) == ["t2w"]


def test_a_missing_adc_map_is_computed_and_said_so(dicom_study: Path, tmp_path: Path) -> None:
    shutil.rmtree(shutil.copytree(dicom_study, tmp_path / "study") / "b" / "adc")
    study = read_study(tmp_path / "study", ALL)
    adc = study.images["adc"]
    assert "two points" in study.warnings[0] and "b = 50 and 800" in study.warnings[0]
    assert adc.how.startswith("computed from b = 50") and adc.b is None
    made = images()
    inside = made["adc"].data > 0
    expected = np.log(made["b0"].data[inside] / made["dwi"].data[inside]) / 750 * 1e6
    np.testing.assert_allclose(adc.volume.data[inside], np.maximum(expected, 0), rtol=1e-5, atol=1e-3)


def test_b_values_of_nifti_come_from_beside_it(tmp_path: Path) -> None:
    folder = write_nifti(tmp_path, names=("t2w", "dwi", "b0"))
    with pytest.raises(InputError) as caught:
        read_study(folder, ALL)
    assert_one_sentence(str(caught.value), "b-values", "unknown")
    (folder / "dwi.bval").write_text("800\n")
    (folder / "b0.bval").write_text("0 0\n")
    study = read_study(folder, ALL)
    assert study.images["dwi"].b == 800 and "b = 0 and 800" in study.warnings[0]


@pytest.mark.parametrize(
    ("missing", "words"), [("t2w", "T2-weighted"), ("dwi", "diffusion-weighted"), ("adc", "ADC map")]
)
def test_a_missing_sequence_is_named(tmp_path: Path, missing: str, words: str) -> None:
    folder = write_nifti(tmp_path, names=tuple(name for name in ALL if name != missing))
    with pytest.raises(InputError) as caught:
        read_study(folder, ALL)
    assert_one_sentence(str(caught.value), words, f"--{missing}", "nii.gz")


def test_a_real_study_without_dwi_is_refused_with_the_reasons(tmp_path: Path) -> None:
    for name in ("abdomen_scan_002_t2", "abdomen_scan_002_adc"):
        (tmp_path / name).mkdir()
        for file in shared_data("dicom", name).iterdir():
            (tmp_path / name / file.name).symlink_to(file)
    with pytest.raises(InputError) as caught:
        read_study(tmp_path, ALL)
    assert_one_sentence(
        str(caught.value), "no diffusion-weighted series", "'DIFF B500' b=500 is a map", "--dwi"
    )


def test_a_real_study_is_read() -> None:
    study = read_study(shared_data("dicom", "prostatex_0000"), ("t2w", "dwi", "b0", "adc"))
    assert [image.volume.data.shape[1:] for image in study.images.values()] == [
        (19, 384, 384),
        *[(19, 128, 84)] * 3,
    ]
    low, high = (study.images[name].volume.data for name in ("b0", "dwi"))
    assert low.mean() > 1.5 * high.mean()


def test_given_paths_override_the_choice_and_are_recorded(dicom_study: Path, tmp_path: Path) -> None:
    folder = dicom_study
    other = write_image(images()["t2w"], tmp_path / "mine.nii.gz")
    study = read_study(folder, ALL, {"t2w": other, "dwi": folder / "b" / "dwi"})
    assert study.images["t2w"].how == "given with --t2w" and study.images["t2w"].path == other
    assert study.images["dwi"].how.startswith("given with --dwi: b from 800") and study.images["dwi"].b == 800
    assert study.images["adc"].how.startswith("chosen: on the grid of the DWI")
    one = read_study(folder, ALL, {"dwi": folder / "b" / "dwi" / "b800"})
    assert one.images["dwi"].how == "given with --dwi"


def test_all_paths_given_need_no_study_beyond_them(tmp_path: Path) -> None:
    given = {name: write_image(images()[name], tmp_path / f"image_{name}.nii.gz") for name in ALL}
    assert list(read_study(tmp_path, ALL, given).images) == list(ALL)


def test_the_low_b_image_is_never_taken_for_the_dwi(dicom_study: Path) -> None:
    folder = dicom_study
    with pytest.raises(InputError) as caught:
        read_study(folder, ALL, {"dwi": folder / "b" / "dwi" / "b50"})
    assert_one_sentence(str(caught.value), "b = 50", "give the high-b image")


def test_a_given_folder_without_the_sequence_is_refused(dicom_study: Path) -> None:
    folder = dicom_study
    with pytest.raises(InputError) as caught:
        read_study(folder, ALL, {"adc": folder / "b" / "dwi"})
    assert_one_sentence(str(caught.value), "no ADC map", "is not an ADC map", "--adc")


def test_series_in_folders_with_the_sequences_names(dicom_study: Path, tmp_path: Path) -> None:
    made = dicom_study
    folder = tmp_path / "P001"
    for name, source in (
        ("t2w", made / "a" / "t2" / "b0"),
        ("dwi", made / "b" / "dwi" / "b800"),
        ("adc", made / "b" / "adc" / "b0"),
    ):
        shutil.copytree(source, folder / name)
    study = read_study(folder, ALL)
    assert {image.how for image in study.images.values()} == {"named so"}


def test_a_dicom_study_with_a_folder_named_adc_is_still_a_study(dicom_study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dicom_study, tmp_path / "study")
    (folder / "b" / "adc").rename(folder / "ADC")
    assert read_study(folder, ALL).images["adc"].how.startswith("chosen")


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError) as missing:
        read_study(tmp_path / "nowhere", ALL)
    assert_one_sentence(str(missing.value), "nowhere")
    with pytest.raises(InputError) as empty:
        read_study(tmp_path, ALL)
    assert_one_sentence(str(empty.value), "no DICOM images")
    write_image(images()["t2w"], tmp_path / "scan1.nii.gz")
    with pytest.raises(UsageError) as unnamed:
        read_study(tmp_path, ALL)
    assert_one_sentence(str(unnamed.value), "scan1.nii.gz", "--t2w")
    folder = write_nifti(tmp_path / "twice")
    shutil.copy(folder / "t2w.nii.gz", folder / "T2W.nii.gz")
    with pytest.raises(InputError) as twice:
        read_study(folder, ALL)
    assert_one_sentence(str(twice.value), "t2w more than once")


def test_the_grid_of_a_study_is_that_of_its_files(tmp_path: Path) -> None:
    study = read_study(write_nifti(tmp_path), ALL)
    assert study.images["dwi"].volume.geometry.difference(DWI_GRID) is None
