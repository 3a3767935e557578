"""The volumes of a study, found in its files."""

from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.dicom.read import read_frames
from scanside.runtime.dicom.study import SeriesVolume, index_study
from scanside.runtime.errors import ImageReadError, InputError
from tests.runtime.dicom.studies import DWI, SHAPE, T2, add
from tests.support.dicom_factory import ROOT, Grid, stored_values, write_series
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("series-choice")


def test_shuffled_instance_numbers_do_not_matter(tmp_path: Path) -> None:
    grid, stored = Grid(step=6.0), stored_values(SHAPE)
    order = np.random.default_rng(1).permutation(SHAPE[0]).tolist()
    write_series(tmp_path, stored, grid, order=order)
    (volume,) = index_study(tmp_path).volumes
    image, _ = read_frames(list(volume.frames), volume.path)
    np.testing.assert_array_equal(image.data[0], stored.astype(np.float32))


@pytest.mark.parametrize(
    ("keyword", "what"), [("StudyInstanceUID", "2 studies"), ("PatientID", "2 patients")]
)
def test_a_mixture_is_refused(tmp_path: Path, keyword: str, what: str) -> None:
    add(tmp_path, 4, T2)
    add(tmp_path, 5, {**DWI, "DiffusionBValue": 800.0, keyword: f"{ROOT}.77"})
    with pytest.raises(InputError) as caught:
        index_study(tmp_path)
    assert_one_sentence(str(caught.value), what)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        index_study(tmp_path)
    assert_one_sentence(str(caught.value), "no DICOM images")
    add(tmp_path, 4, T2)
    (tmp_path / "notes").write_text("not DICOM, and without a mark")
    assert index_study(tmp_path).passed_over == 1
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM" + b"cut")
    with pytest.raises(ImageReadError) as caught_broken:
        index_study(tmp_path)
    assert_one_sentence(str(caught_broken.value), "broken")


def test_what_holds_no_volume_is_told(tmp_path: Path) -> None:
    add(tmp_path, 4, T2)
    add(
        tmp_path,
        5,
        {"SeriesDescription": "screenshot", "PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    )
    study = index_study(tmp_path)
    assert [volume.name for volume in study.volumes] == ["4 'T2 TSE tra'"]
    (name, reason) = study.refused[0]
    assert name == "5 'screenshot'" and "colour" in reason


def test_volumes_are_named_for_a_person(tmp_path: Path) -> None:
    (volume,) = index_study(add(tmp_path, 4, {**DWI, "DiffusionBValue": 800.0})).volumes
    assert isinstance(volume, SeriesVolume) and volume.name == "4 'ep2d_diff' b=800"
