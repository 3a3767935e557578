from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import GeometryError, ImageReadError, InputError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.load import load_case
from tests.support.dicom_factory import Grid, stored_values, write_series
from tests.support.sentences import assert_one_sentence


def image(path: Path, value: int = 1, spacing: float = 2.0) -> Path:
    picture = sitk.GetImageFromArray(np.full((3, 4, 5), value, np.int16))
    picture.SetSpacing((1.0, 1.0, spacing))
    sitk.WriteImage(picture, str(path))
    return path


def test_channels_in_order(tmp_path: Path) -> None:
    image(tmp_path / "a_0001.nii.gz", 7)
    image(tmp_path / "a_0000.nii.gz", 3)
    loaded = load_case(find_cases([tmp_path], 2, None)[0], 2)
    assert loaded.name == "a"
    assert loaded.source is None
    assert loaded.volume.data.shape == (2, 3, 4, 5)
    assert loaded.volume.data[:, 0, 0, 0].tolist() == [3, 7]


def test_dicom_channels_keep_the_first_series(tmp_path: Path) -> None:
    folders = [
        write_series(
            tmp_path / name, stored_values(seed=seed), change=lambda _, ds, s=seed: _other_series(ds, s)
        )
        for seed, name in enumerate(("t2", "adc"))
    ]
    loaded = load_case(find_cases(folders, 2, None)[0], 2)
    np.testing.assert_array_equal(loaded.volume.data, np.stack([stored_values(seed=s) for s in (0, 1)]))
    assert loaded.source is not None
    assert loaded.source.path == folders[0]


def test_dicom_and_image_on_one_grid(tmp_path: Path) -> None:
    folder = write_series(
        tmp_path / "t2", stored_values((3, 4, 5)), Grid(origin=(0, 0, 0), step=2, pixel=(1, 1))
    )
    path = image(tmp_path / "adc.nii.gz", 5)
    loaded = load_case(find_cases([folder, path], 2, None)[0], 2)
    assert loaded.volume.channels == 2
    assert loaded.source is not None
    loaded = load_case(find_cases([path, folder], 2, None)[0], 2)
    assert loaded.source is None


def refused(case: CaseInput, channels: int, error: type[InputError], *words: str) -> None:
    with pytest.raises(error) as caught:
        load_case(case, channels)
    assert_one_sentence(str(caught.value), *words)


def test_missing_channel_is_named(tmp_path: Path) -> None:
    image(tmp_path / "a_0000.nii.gz")
    image(tmp_path / "b_0001.nii.gz")
    a, b = find_cases([tmp_path], 2, None)
    refused(a, 2, InputError, "a_0001.nii.gz", str(tmp_path), "needs 2")
    refused(b, 2, InputError, "b_0000.nii.gz", "Case b")
    refused(find_cases([tmp_path], 1, None)[1], 1, InputError, "b_0000.nii.gz", "Case b")


def test_extra_channel_is_named(tmp_path: Path) -> None:
    for i in range(3):
        image(tmp_path / f"a_000{i}.nii.gz")
    refused(find_cases([tmp_path], 2, None)[0], 2, InputError, "a_0002.nii.gz", "more channels")


def test_too_few_channels(tmp_path: Path) -> None:
    case = CaseInput("a", (image(tmp_path / "a.nii.gz"),))
    refused(case, 2, InputError, "a.nii.gz", "needs 2")


def test_channels_on_different_grids(tmp_path: Path) -> None:
    case = CaseInput("a", (image(tmp_path / "x.nii.gz"), image(tmp_path / "y.nii.gz", spacing=2.5)))
    refused(case, 2, GeometryError, "x.nii.gz", "y.nii.gz", "spacing", "resample")


def test_unreadable_channel(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"nothing")
    refused(CaseInput("a", (tmp_path / "x.nii.gz",)), 1, ImageReadError, "x.nii.gz")


def _other_series(dataset: object, seed: int) -> None:
    dataset.SeriesInstanceUID = f"1.2.3.{seed}"  # type: ignore[attr-defined]
