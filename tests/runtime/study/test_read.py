"""Folders of all kinds → the sequences of a study."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from scanside.runtime.dicom.keys import key_of, volumes_named
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import ImageReadError, InputError, UsageError
from scanside.runtime.study.read import read_study
from scanside.runtime.study.series_list import list_series
from tests.runtime.study.tiny_study import DWI_GRID, images, write_image, write_nifti
from tests.support.dicom_factory import ROOT
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


def uid(number: int) -> str:
    return f"{ROOT}.2.{number}"


def test_the_operators_choice_goes_and_is_recorded(dicom_study: Path) -> None:
    """The localiser-like choice of a person is told as such, with what the rules would have said."""
    series = {"t2w": uid(5), "dwi": f"{uid(6)}#b800", "adc": uid(7)}
    study = read_study(dicom_study, ALL, series=series)
    assert {name: image.how for name, image in study.images.items()} == dict.fromkeys(
        ALL, "chosen by the operator"
    )
    assert study.warnings == ()
    rows = {row.series: row for row in study.considered}
    assert rows["6 'ep2d_diff_tra' b=800"].chosen == "dwi"
    assert rows["6 'ep2d_diff_tra' b=800"].reason == "chosen by the operator"
    assert rows["1 'localizer'"].chosen is None and "localiser" in rows["1 'localizer'"].reason
    np.testing.assert_array_equal(study.images["dwi"].volume.data, images()["dwi"].data)


@pytest.mark.parametrize("mark", ["#b800", "#B800", "#b804", "#2", ""])
def test_ways_to_name_a_volume_of_a_series(dicom_study: Path, mark: str) -> None:
    study = read_study(dicom_study, ALL, series={"dwi": uid(6) + mark})
    dwi = study.images["dwi"]
    assert dwi.b == 800 and dwi.how.startswith("chosen by the operator")
    assert ("b from 800" in dwi.how) == (
        mark == ""
    )  # of a whole series the rules take the volume, and say why
    assert study.images["t2w"].how.startswith("chosen: ") and study.images["adc"].how.startswith("chosen: ")


def test_what_the_rules_would_not_have_taken_is_taken_with_a_warning(dicom_study: Path) -> None:
    study = read_study(dicom_study, ("t2w",), series={"t2w": f"{uid(6)}#b50"})
    assert study.images["t2w"].how == "chosen by the operator"
    assert "would not have been taken by the rules: it is diffusion-weighted" in study.warnings[0]


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ({"dwi": f"{uid(6)}#b50"}, ("has b = 50 s/mm²", "give the high-b image")),
        ({"b0": f"{uid(6)}#b800"}, ("has b = 800 s/mm²", "give the low-b image")),
        ({"dwi": uid(7)}, ("is an ADC map", "give the images themselves")),
        ({"t2w": uid(7)}, ("is an ADC map",)),
        ({"t2w": f"{uid(6)}#b800"}, ("t2w and dwi are the same images",)),
        ({"t2w": uid(6)}, ("Series 6 'ep2d_diff_tra' holds no T2-weighted series", "choose one of its volumes")),
        ({"dwi": "1.2.3"}, ("no series with the UID '1.2.3'", "5 't2_tse_tra_fs'")),
        ({"dwi": ""}, ("no series with the UID ''",)),
        ({"dwi": f"{uid(6)}#b400"}, ("has no volume '#b400'", "#b50, #b800")),
        ({"dwi": f"{uid(6)}#3"}, ("has no volume '#3'",)),
        ({"dwi": f"{uid(6)}#0"}, ("has no volume '#0'",)),
        ({"dwi": f"{uid(6)}#²"}, ("has no volume '#²'",)),
        ({"dwi": f"{uid(6)}#bnan"}, ("has no volume '#bnan'",)),
        ({"dwi": f"{uid(6)}#{'9' * 5000}"}, ("has no volume",)),
        ({"t2w": uid(5), "dwi": uid(5)}, ("are the same images",)),
    ],
)  # fmt: skip
def test_choices_that_cannot_be(dicom_study: Path, series: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read_study(dicom_study, (*ALL, "b0"), series=series)
    assert_one_sentence(str(caught.value), *words)


def test_overrides_that_make_no_sense(dicom_study: Path) -> None:
    with pytest.raises(UsageError) as unknown:
        read_study(dicom_study, ALL, series={"t1w": uid(5)})
    assert_one_sentence(str(unknown.value), "no sequence 't1w'")
    with pytest.raises(UsageError) as twice:
        read_study(dicom_study, ALL, {"t2w": dicom_study / "a" / "t2"}, {"t2w": uid(5)})
    assert_one_sentence(str(twice.value), "t2w", "name it once")


def test_an_ambiguous_study_is_resolved_by_the_operator(dicom_study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dicom_study, tmp_path / "study")
    for file in (folder / "a" / "t2" / "b0").iterdir():
        other = pydicom.dcmread(file)
        other.SeriesInstanceUID, other.SeriesNumber = uid(8), 8
        other.SeriesDescription = "t2_blade_tra_fs"
        other.SOPInstanceUID = f"{other.SOPInstanceUID}.8"
        other.save_as(file.with_name(f"blade_{file.name}"))
    with pytest.raises(InputError) as caught:
        read_study(folder, ALL)
    assert_one_sentence(str(caught.value), "fit t2w equally well", "by its series")
    study = read_study(folder, ALL, series={"t2w": uid(8)})
    assert study.images["t2w"].series == "8 't2_blade_tra_fs'"
    rows = {row.key: row for row in list_series(folder)}
    assert rows[uid(5)].chosen is None and rows[uid(8)].chosen is None  # the rules take neither
    assert rows[uid(5)].verdicts["t2w"].score == rows[uid(8)].verdicts["t2w"].score


def test_a_study_is_listed_by_its_headers(dicom_study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dicom_study, tmp_path / "study")
    colour = pydicom.dcmread(next((folder / "a" / "loc" / "b0").iterdir()))
    colour.SamplesPerPixel, colour.PhotometricInterpretation = 3, "RGB"
    colour.SeriesInstanceUID, colour.SeriesNumber, colour.SeriesDescription = uid(9), 9, "screen"
    colour.save_as(folder / "screen.dcm")
    for file in folder.rglob("*.dcm"):  # headers alone: there are no pixels to be read
        header = pydicom.dcmread(file)
        del header.PixelData
        header.save_as(file)
    rows = list_series(folder)
    assert [(row.name, row.key, row.images, row.b, row.chosen) for row in rows] == [
        ("1 'localizer'", uid(1), 3, None, None),
        ("5 't2_tse_tra_fs'", uid(5), 16, None, "t2w"),
        ("6 'ep2d_diff_tra' b=50", f"{uid(6)}#b50", 15, 50.0, "b0"),
        ("6 'ep2d_diff_tra' b=800", f"{uid(6)}#b800", 15, 800.0, "dwi"),
        ("7 'ep2d_diff_tra_ADC'", uid(7), 15, None, "adc"),
        ("9 'screen'", "", 0, None, None),
    ]
    assert rows[0].verdicts["t2w"].score is None and rows[0].verdicts["t2w"].reason == "is a localiser"
    assert "on the grid of the DWI" in rows[4].verdicts["adc"].reason
    assert rows[-1].problem is not None and "colour image" in rows[-1].problem
    assert all(row.problem is None for row in rows[:-1])


def test_every_key_names_its_volume(tmp_path: Path) -> None:
    folder = shared_data("dicom", "prostatex_0000")
    study = index_study(folder)
    for volume in study.volumes:
        assert volumes_named(key_of(volume, study.volumes), study.volumes) == (volume,)
    assert [row.key.rpartition("#")[2] for row in list_series(folder)][1:4] == ["b50", "b400", "b800"]
    directions = index_study(shared_data("dicom", "philips_enhanced_fieldmap"))
    keys = [key_of(volume, directions.volumes) for volume in directions.volumes]
    assert [key.rpartition("#")[2] for key in keys] == ["1", "2"]
    assert [volumes_named(key, directions.volumes)[0] for key in keys] == list(directions.volumes)


def test_adc_is_fitted_to_all_b_values_of_the_series(tmp_path: Path) -> None:
    """The real series with b = 50, 400 and 800 against the scanner's own map, which was made of the same."""
    for name in ("4.000000-t2tsetra-00702", "6.000000-ep2ddifftraDYNDIST-69284"):
        (tmp_path / name).symlink_to(shared_data("dicom", "prostatex_0000", name))
    files = [file for link in tmp_path.iterdir() for file in link.resolve().iterdir()]
    folder = tmp_path / "study"
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number}.dcm").symlink_to(file)
    study = read_study(folder, ALL)
    adc = study.images["adc"]
    assert "b = 50, 400 and 800 s/mm² (3 points)" in study.warnings[0]
    assert adc.how == "computed from b = 50, 400 and 800 (6 'ep2d_diff_tra_DYNDIST' b=800)"
    theirs, _ = read_series(shared_data("dicom", "prostatex_0000", "7.000000-ep2ddifftraDYNDISTADC-48780"))
    inside = (theirs.data > 300) & (adc.volume.data > 0) & (study.images["dwi"].volume.data > 12)
    assert inside.mean() > 0.05
    assert np.median(np.abs(adc.volume.data[inside] / theirs.data[inside] - 1)) < 0.08


@pytest.mark.parametrize("told", [True, False])
def test_a_low_b_image_of_another_series_is_brought_to_the_same_scale(
    dicom_study: Path, tmp_path: Path, told: bool
) -> None:
    """Philips scales every series by itself, and says how; without that the ADC comes with a warning."""
    folder = shutil.copytree(dicom_study, tmp_path / "study")
    shutil.rmtree(folder / "b" / "adc")
    for b, number, scale in ((50, 16, 0.5), (800, 6, 0.25)):
        for file in (folder / "b" / "dwi" / f"b{b}").iterdir():
            header = pydicom.dcmread(file)
            header.SeriesInstanceUID, header.SeriesNumber = uid(number), number
            header.RescaleSlope, header.RescaleIntercept = (2.0, 0.0) if b == 50 else (1.0, 0.0)
            if told:
                header.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
                header.add_new(0x2005100E, "FL", scale)
            header.save_as(file)
    study = read_study(folder, ALL)
    made = images()
    # Rescaled values are twice the stored ones at b = 50; 1 / (RS · SS) is 1 there and 4 at b = 800.
    factor = 2 / 4 if told else 2
    low = made["b0"].data * factor
    inside = made["adc"].data > 0
    expected = np.maximum(np.log(low[inside] / made["dwi"].data[inside]) / 750 * 1e6, 0)
    np.testing.assert_allclose(study.images["adc"].volume.data[inside], expected, rtol=1e-4, atol=1e-2)
    assert any("scaled apart" in warning for warning in study.warnings) == (not told)


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
