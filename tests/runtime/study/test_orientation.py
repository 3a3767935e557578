"""Prone, feet first, sideways: the same places give the same result, on the grid on which they came."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.images.orient import orientation, reorient, reoriented
from scanside.runtime.options import Options
from scanside.runtime.remark import code_of
from scanside.runtime.study.objects import write_objects
from scanside.runtime.study.orientation import as_trained
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyInput, StudyResult
from scanside.runtime.volume import Volume
from tests.runtime.study.conftest import study_of
from tests.runtime.study.tiny_study import CENTRE, TinyBundle, TinyStudy, write_bundle
from tests.support.sentences import assert_one_sentence
from tests.support.turned import FEET_FIRST, PRONE, SIDEWAYS, turn_study

LPS = {"t2w": ("LPS",), "dwi": ("LPS",), "adc": ("LPS",)}
AXIAL = ("LPS", "RAS", "RPI", "PLI", "ARI")
"""Of the eight ways to store an axial slice: each flip, and transposed ones."""
TWINS = ((CENTRE, 12.0), ((30.0, -7.0, 20.0), 12.0))


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyRunner]:
    path = write_bundle(tmp_path_factory.mktemp("b") / "b", TinyBundle(lopsided=True, orientation=LPS))
    with StudyRunner(open_bundle(path), Options(device="cpu")) as opened:
        yield opened


def stored(study: StudyInput, letters: str) -> StudyInput:
    images = {n: replace(i, volume=reorient(i.volume, letters)[0]) for n, i in study.images.items()}
    return replace(study, images=images)


def assert_same(result: StudyResult, upright: StudyResult) -> None:
    assert result.status == upright.status == "ok" and result.features == upright.features
    assert result.classification == upright.classification
    for role, found in result.roles.items():
        assert result.study is not None and upright.study is not None
        grid = result.study.images[role].volume.geometry
        assert found.mask.shape == found.main.shape == grid.shape
        for mask, expected in (
            (found.mask, upright.roles[role].mask),
            (found.main, upright.roles[role].main),
        ):
            np.testing.assert_array_equal(reoriented(mask, grid, "LPS")[0], expected)
        for mine, theirs in zip(found.lesions, upright.roles[role].lesions, strict=True):
            np.testing.assert_allclose(mine.centroid_mm, theirs.centroid_mm, atol=1e-9)
            assert (mine.number, mine.voxels) == (theirs.number, theirs.voxels)


@pytest.mark.parametrize("letters", AXIAL)
def test_however_a_study_is_stored_the_result_is_the_same(lopsided: StudyRunner, letters: str) -> None:
    study = study_of(TinyStudy(t2w=TWINS, dwi=TWINS))
    result = lopsided.run(stored(study, letters))
    assert_same(result, lopsided.run(study))
    assert result.study is not None
    turned = letters != "LPS"
    assert sum(code_of(one) == "orientation" for one in result.warnings) == (3 if turned else 0)
    for name, image in result.study.images.items():
        assert orientation(image.volume.geometry) == letters, "results lie on the grid that came"
        assert image.computed_as == ("LPS" if turned else None), name


def test_the_network_would_see_another_image_if_nothing_were_turned(
    tmp_path: Path, lopsided: StudyRunner
) -> None:
    """Otherwise the tests above say nothing."""
    trained_so = dict.fromkeys(LPS, ("RAS",))
    path = write_bundle(tmp_path / "b", TinyBundle(lopsided=True, orientation=trained_so))
    study = study_of()
    with StudyRunner(open_bundle(path), Options(device="cpu")) as opened:
        other = opened.run(study)
    assert not np.array_equal(other.roles["t2w"].mask, lopsided.run(study).roles["t2w"].mask)
    assert other.features != lopsided.run(study).features


@pytest.mark.parametrize("cosines", [PRONE, FEET_FIRST, SIDEWAYS])
def test_a_turned_dicom_study_is_computed_and_delivered_in_its_place(
    tmp_path: Path, dicom_study: Path, lopsided: StudyRunner, cosines: tuple[int, ...]
) -> None:
    """`write_objects` reads every Segmentation again and compares it with the mask in patient space."""
    bare = write_bundle(tmp_path / "bare", TinyBundle(lopsided=True))  # it does not say how its cohort lay
    folder = turn_study(Path(shutil.copytree(dicom_study, tmp_path / "study")), cosines)
    needed = lopsided.recipe.needed
    with StudyRunner(open_bundle(bare), Options(device="cpu")) as opened:
        result = opened.run(read_study(folder, needed))
        assert_same(result, lopsided.run(read_study(dicom_study, needed)))
        (tmp_path / "out").mkdir()
        made, warnings = write_objects(result, opened.bundle, opened.recipe.channels, tmp_path / "out")
    assert [one.kind for one in made] == ["seg", "seg", "sr", "sc", "key"] and not warnings


def test_of_two_lesions_of_one_size_the_measured_one_is_lesion_1(tmp_path: Path, runner: StudyRunner) -> None:
    """In memory of the stored image the other one comes first."""
    from scanside.runtime.study.segments import numbered

    study = study_of()
    image = study.images["t2w"]
    mask = np.zeros(image.volume.geometry.shape, np.uint8)
    mask[3, 10:12, 10:12] = mask[9, 30:32, 30:32] = 1
    first, _ = numbered(_role(runner, mask), image, 1, {1: "lesion"})
    grid = image.volume.geometry
    turned, geometry = reoriented(mask, grid, "RPI")
    kept = replace(
        image, volume=Volume(np.zeros((1, *geometry.shape), np.float32), geometry), computed_as="LPS"
    )
    second, _ = numbered(_role(runner, turned), kept, 1, {1: "lesion"})
    np.testing.assert_array_equal(reoriented(second, geometry, "LPS")[0], first)
    assert first[3, 10, 10] == 1 and first[9, 30, 30] == 2


def _role(runner: StudyRunner, mask: np.ndarray) -> object:  # type: ignore[type-arg]
    return replace(runner.run(study_of()).roles["t2w"], mask=mask)


def test_a_cohort_that_lay_in_several_ways_takes_each_as_it_is() -> None:
    study = stored(study_of(), "RPI")
    both = dict.fromkeys(LPS, ("LPS", "RPI"))
    assert as_trained(study, both).images == study.images
    turned = as_trained(stored(study_of(), "RAS"), both)
    assert {orientation(image.volume.geometry) for image in turned.images.values()} == {"LPS"}


def test_files_stay_as_they_are_where_nobody_knows_how_the_cohort_lay() -> None:
    study = stored(study_of(), "RAS")
    same = as_trained(study, {})
    assert (same.images, same.warnings) == (study.images, study.warnings)


@pytest.mark.parametrize(("degrees", "refused"), [(10, False), (22, False), (40, True)])
def test_what_flips_cannot_undo_is_refused_by_name(degrees: float, refused: bool) -> None:
    study = study_of()
    matrix = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    t2w = study.images["t2w"]
    grid = replace(t2w.volume.geometry, direction=tuple(matrix.ravel().tolist()))
    turned = replace(
        study, images={**study.images, "t2w": replace(t2w, volume=Volume(t2w.volume.data, grid))}
    )
    if refused:
        with pytest.raises(InputError) as raised:
            as_trained(turned, LPS)
        assert_one_sentence(str(raised.value), "t2w", f"{degrees}°", "side to side")
    else:
        warned = [one for one in as_trained(turned, LPS).warnings if code_of(one) == "tilted"]
        assert len(warned) == (degrees > 20)


def test_a_sagittal_series_is_not_made_axial(lopsided: StudyRunner) -> None:
    study = stored(study_of(), "PIR")
    assert as_trained(study, LPS).images == study.images
    assert lopsided.run(study).status == "unsuitable input"
