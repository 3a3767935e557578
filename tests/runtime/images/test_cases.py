from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import InputError, ScansideError, UsageError
from scanside.runtime.images.cases import CaseInput, find_cases
from tests.support.dicom_factory import stored_values, write_series
from tests.support.sentences import assert_one_sentence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cases"
    path.mkdir()
    return path


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def series(folder: Path, uid: str = "1.2.3", slices: int = 3) -> Path:
    return write_series(
        folder, stored_values((slices, 4, 4)), change=lambda _, ds: setattr(ds, "SeriesInstanceUID", uid)
    )


def test_nnunet_folder(folder: Path) -> None:
    touch(
        folder, "b_0001.nii.gz", "b_0000.nii.gz", "a_2_0000.nii.gz", "a_2_0001.nii.gz", ".hidden_0000.nii.gz"
    )
    touch(folder, "dataset.json", "._a_2_0000.nii.gz")
    assert find_cases([folder], 2, ".nii.gz") == [
        CaseInput("a_2", (folder / "a_2_0000.nii.gz", folder / "a_2_0001.nii.gz")),
        CaseInput("b", (folder / "b_0000.nii.gz", folder / "b_0001.nii.gz")),
    ]


def test_missing_and_extra_channels_do_not_stop_the_others(folder: Path) -> None:
    touch(folder, "a_0000.nrrd", "b_0001.nrrd", "c_0000.nrrd", "c_0001.nrrd", "c_0003.nrrd")
    assert find_cases([folder], 2, None) == [
        CaseInput("a", (folder / "a_0000.nrrd", folder / "a_0001.nrrd")),
        CaseInput("b", (folder / "b_0000.nrrd", folder / "b_0001.nrrd")),
        CaseInput("c", (folder / "c_0000.nrrd", folder / "c_0001.nrrd", folder / "c_0003.nrrd")),
    ]


def test_one_channel_never_takes_the_wrong_file(folder: Path) -> None:
    touch(folder, "a_0001.nii.gz")
    expected = (folder / "a_0000.nii.gz", folder / "a_0001.nii.gz")
    assert find_cases([folder], 1, None) == [CaseInput("a", expected)]


def test_upper_case_endings(folder: Path) -> None:
    touch(folder, "A_0000.NII.GZ")
    assert find_cases([folder], 1, ".nii.gz") == [CaseInput("A", (folder / "A_0000.NII.GZ",))]


def test_preferred_ending_decides(folder: Path) -> None:
    touch(folder, "a_0000.nii.gz", "b_0000.mha", "c_0000.nii")
    assert [case.name for case in find_cases([folder], 1, ".mha")] == ["b"]
    assert [case.name for case in find_cases([folder], 1, ".nii")] == ["c"]
    with pytest.raises(UsageError) as caught:
        find_cases([folder], 1, ".nrrd")
    assert_one_sentence(str(caught.value), str(folder), ".mha", ".nii", ".nii.gz")


def test_files_for_one_channel_are_cases(folder: Path) -> None:
    a, b, c = touch(folder, "z_0000.nii.gz", "a.mha", "case_0001.nii")
    assert find_cases([a, b, c], 1, None) == [
        CaseInput("z", (a,)),
        CaseInput("a", (b,)),
        CaseInput("case_0001", (c,)),
    ]


def test_files_for_all_channels_are_one_case(folder: Path) -> None:
    t2, dwi = touch(folder, "p1_t2.nii.gz", "p1_dwi.mha")
    assert find_cases([t2, dwi], 2, None) == [CaseInput("p1_t2", (t2, dwi))]
    first, second = touch(folder, "p2_0000.nii.gz", "p2_0001.nii.gz")
    assert find_cases([first, second], 2, None) == [CaseInput("p2", (first, second))]


def test_dicom_folder_is_one_case(folder: Path) -> None:
    path = series(folder / "T2 tra")
    (path / "notes.txt").write_text("x")
    assert find_cases([path], 1, ".nii.gz") == [CaseInput("T2 tra", (path,))]


def test_dicom_folders_as_channels_and_as_cases(folder: Path) -> None:
    t2, adc = series(folder / "t2", "1.2.1"), series(folder / "adc", "1.2.2")
    assert find_cases([t2, adc], 2, None) == [CaseInput("t2", (t2, adc))]
    assert [case.name for case in find_cases([t2, adc], 1, None)] == ["t2", "adc"]


def test_single_dicom_files(folder: Path) -> None:
    path = series(folder / "one", slices=1) / "IM0000.dcm"
    assert find_cases([path], 1, None) == [CaseInput("IM0000", (path,))]
    bare = path.rename(path.with_name("IM_7"))
    assert find_cases([bare], 1, None) == [CaseInput("IM_7", (bare,))]


def test_dicom_without_preamble(folder: Path) -> None:
    path = series(folder / "one", slices=1) / "IM0000.dcm"
    path.write_bytes(path.read_bytes()[132:])
    assert find_cases([path.parent], 1, None) == [CaseInput("one", (path.parent,))]


def test_current_folder_has_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series(folder)
    monkeypatch.chdir(folder)
    assert find_cases([Path()], 1, None)[0].name == "cases"


def case_refused(inputs: list[Path], channels: int, error: type[ScansideError], *words: str) -> None:
    with pytest.raises(error) as caught:
        find_cases(inputs, channels, ".nii.gz")
    assert_one_sentence(str(caught.value), *words)


def test_images_without_channel_number(folder: Path) -> None:
    touch(folder, "a.nii.gz", "b.nii.gz")
    case_refused([folder], 1, UsageError, "a.nii.gz", "rename", "_0000")


def test_one_image_without_channel_number(folder: Path) -> None:
    touch(folder, "a_0000.nii.gz", "mask.nii.gz")
    case_refused([folder], 1, UsageError, "mask.nii.gz", "rename")


def test_missing_empty_and_nested_folders(folder: Path) -> None:
    case_refused([folder / "no"], 1, InputError, "no", "check the path")
    case_refused([folder], 1, InputError, str(folder), "no DICOM files")
    for i in range(7):
        (folder / f"series{i}").mkdir()
    case_refused([folder], 1, InputError, "series0", "series4, …", "pass one series folder")


def test_wrong_number_of_channels(folder: Path) -> None:
    files = touch(folder, "a.nii.gz", "b.nii.gz", "c.nii.gz")
    case_refused(files, 2, UsageError, "needs 2", "3 were given", "c.nii.gz")
    case_refused(files[:1], 2, UsageError, "needs 2", "1 were given", "a.nii.gz")


def test_swapped_channels(folder: Path) -> None:
    files = touch(folder, "a_0001.nii.gz", "a_0000.nii.gz")
    case_refused(files, 2, UsageError, "a_0001.nii.gz", "channel 0", "order")
    others = touch(folder, "b_0000.nii.gz", "c_0000.nii.gz")
    case_refused(others, 2, UsageError, "c_0000.nii.gz", "channel 1")


def test_same_name_twice(folder: Path) -> None:
    (folder / "other").mkdir()
    files = [*touch(folder, "a_0000.nii.gz"), *touch(folder / "other", "a.mha")]
    case_refused(files, 1, UsageError, "case a", "rename")


def test_folder_of_images_among_others(folder: Path) -> None:
    images = folder / "images"
    images.mkdir()
    touch(images, "a_0000.nii.gz")
    case_refused([images, series(folder / "t2")], 1, UsageError, "images", "alone")


def test_slices_of_one_series(folder: Path) -> None:
    path = series(folder / "t2")
    case_refused(sorted(path.iterdir()), 1, UsageError, "IM0000.dcm", "one DICOM series", str(path))


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a", "a.dcm", "a.mhd"])
def test_file_that_is_no_image(folder: Path, name: str) -> None:
    (folder / name).write_text("This is no image at all, it is a text." * 10)
    case_refused([folder / name], 1, InputError, name, "neither DICOM nor an image")


def test_nothing_given() -> None:
    case_refused([], 1, UsageError, "0 were given")


def test_real_file_names(folder: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((2, 2, 2), np.uint8))
    sitk.WriteImage(image, str(folder / "ü ß (1)_0000.nii.gz"))
    assert find_cases([folder], 1, None)[0].name == "ü ß (1)"
