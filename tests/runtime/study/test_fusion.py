"""A mask that two sequences decide: against SimpleITK's resampling, a written-out Gauss filter, the rule in words."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.images.orient import reorient, reoriented
from scanside.runtime.images.write import to_itk
from scanside.runtime.manifest import Fusion, Manifest
from scanside.runtime.options import Options
from scanside.runtime.stages.lesions import main_lesion
from scanside.runtime.study.fusion import EDGE, fused_mask, log_odds, odds, seen_from, together
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.records import Odds
from scanside.runtime.study.report import StudyReport
from scanside.runtime.study.summary import summary
from scanside.runtime.volume import Geometry
from tests.runtime.study.conftest import study_of
from tests.runtime.study.tiny_study import (
    CENTRE,
    TinyBundle,
    TinyStudy,
    changed_manifest,
    moved,
    write_bundle,
    write_nifti,
)

pytestmark = pytest.mark.requirement("both-sequences")
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
OWN = Geometry((6, 20, 22), (6.0, 2.0, 2.0), (-20.0, -18.0, -15.0), OBLIQUE)
OTHER = Geometry((7, 14, 15), (5.0, 3.0, 3.0), (-21.0, -20.0, -16.0))
T2W = Fusion(role="t2w", other="dwi", blur_mm=2.0, weight=1.0, limit=-4.5)
FAR = (30.0, -10.0, 20.0)


def made(grid: Geometry, seed: int) -> Odds:
    return odds(np.random.default_rng(seed).random(grid.shape, np.float32), grid)


@given(st.integers(0, 2**32 - 1))
def test_the_other_sequence_is_read_at_the_same_place_as_simpleitk_reads_it(seed: int) -> None:
    other = made(OTHER, seed)
    found = seen_from(other, OWN, 0.0)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(
            to_itk(other.probability, OTHER),
            to_itk(np.zeros(OWN.shape, np.float32), OWN),
            sitk.Transform(),
            sitk.sitkLinear,
            -1.0,
        )
    )
    outside = expected < 0
    assert outside.any() and not outside.all(), "both are tested"
    np.testing.assert_array_equal(np.isnan(found), outside)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-found[~outside].astype(np.float64))), expected[~outside], atol=2e-6
    )


def test_the_blur_is_a_gauss_filter_in_millimetres() -> None:
    point = np.zeros((15, 31, 31), np.float32)
    point[7, 15, 15] = 1
    grid = Geometry(point.shape, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    found = 1 / (1 + np.exp(-seen_from(odds(point, grid), grid, 3.0).astype(np.float64)))
    z, y, x = np.indices(point.shape)
    squared = (2.0 * (z - 7)) ** 2 + (y - 15.0) ** 2 + (x - 15.0) ** 2
    weights = np.exp(-squared / (2 * 3.0**2))
    expected = EDGE + (1 - 2 * EDGE) * weights / weights.sum()
    assert np.abs(found - expected).max() < 0.01 * expected.max()


def test_the_rule_in_words() -> None:
    own = np.array([0.5, 0.9, 0.02, 0.02, 0.6, 0.4], np.float32).reshape(1, 1, 6)
    theirs = np.array([0.5, 1e-4, 0.5, 0.9, np.nan, np.nan], np.float32).reshape(1, 1, 6)
    with np.errstate(invalid="ignore"):
        other = log_odds(theirs)
    rule = Fusion(role="t2w", other="dwi", blur_mm=0.0, weight=1.0, limit=-3.0)
    found = together(odds(own, Geometry((1, 1, 6), (1.0, 1.0, 1.0))), other, rule)
    assert found.ravel().tolist() == [
        True,  # 0 + 0 > -3
        False,  # 2.2 - 9.2: the other sequence denies it
        False,  # -3.9 + 0: not enough alone
        True,  # -3.9 + 2.2: the other sequence has seen it
        True,  # the other sequence was not acquired here: above even odds
        False,
    ]


def test_neither_sequence_alone_can_outweigh_the_other_by_being_certain() -> None:
    grid = Geometry((1, 1, 2), (1.0, 1.0, 1.0))
    certain = odds(np.array([[[0.0, 1.0]]], np.float32), grid)
    assert log_odds(certain.probability).ravel() == pytest.approx([-9.21, 9.21], abs=0.01)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyRunner]:
    path = write_bundle(tmp_path_factory.mktemp("fused") / "b", TinyBundle(fusions=(T2W,), lopsided=True))
    with StudyRunner(open_bundle(path), Options(device="cpu")) as opened:
        yield opened


def test_a_study_is_decided_by_both_sequences(fused: StudyRunner) -> None:
    """The mask is what the functions say of the probabilities that the segmenters give, and differs from one alone."""
    study = study_of(TinyStudy(t2w=((CENTRE, 9.0),), dwi=((CENTRE, 14.0),)))
    result = fused.run(study)
    said = {}
    for role in ("t2w", "dwi"):
        volume = study.images[role].volume
        found = fused._segmenters[role].segment(volume, probabilities=True)
        assert found.probabilities is not None
        said[role] = odds(found.probabilities[1], volume.geometry)
        alone = found.mask
        if role == "dwi":
            np.testing.assert_array_equal(result.roles[role].mask, alone)
        else:
            assert (result.roles[role].mask != alone).any()
    plan = fused._segmenters["t2w"].plan
    there = seen_from(said["dwi"], said["t2w"].geometry, T2W.blur_mm)
    expected = fused_mask(together(said["t2w"], there, T2W), plan)
    t2w = result.roles["t2w"]
    np.testing.assert_array_equal(t2w.mask, expected)
    np.testing.assert_array_equal(t2w.main, main_lesion(expected))
    voxel = study.images["t2w"].volume.geometry.voxel_volume_ml
    assert t2w.labels == {"lesion": pytest.approx(np.count_nonzero(expected) * voxel)}
    assert result.stages["fusion"] > 0


def test_it_is_said_wherever_the_mask_appears(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_bundle(tmp_path / "b", TinyBundle(fusions=(T2W,)))
    study = write_nifti(tmp_path / "study")
    assert run(["run", str(path), str(study), "-o", str(tmp_path / "out"), "--device", "cpu", "--json"]) == 0
    report = StudyReport.model_validate_json(capsys.readouterr().out)
    assert report.decided_with == {"t2w": "dwi"}
    assert "t2w decided with dwi" in " ".join(summary(report, files=True))
    assert run(["bundle", "inspect", str(path)]) == 0
    assert "t2w is decided together with dwi (blur 2 mm, weight 1, limit -4.5)" in capsys.readouterr().out
    for role, words in (("t2w", True), ("dwi", False)):
        image, out = study / f"{role}.nii.gz", tmp_path / f"{role}.nii.gz"
        command = ["segment", str(path), str(image), "-o", str(out), "--role", role, "--device", "cpu"]
        assert run(command) == 0
        assert ("a study's are decided together with dwi" in capsys.readouterr().err) is words


@pytest.mark.parametrize("letters", ["RAS", "PLI"])
def test_a_study_that_is_stored_otherwise_is_decided_alike(letters: str, tmp_path: Path) -> None:
    lies = dict.fromkeys(("t2w", "dwi", "adc"), ("LPS",))
    path = write_bundle(tmp_path / "b", TinyBundle(fusions=(T2W,), orientation=lies))
    study = study_of(TinyStudy(t2w=((CENTRE, 9.0), (FAR, 8.0)), dwi=((CENTRE, 14.0),)))
    turned = {n: replace(i, volume=reorient(i.volume, letters)[0]) for n, i in study.images.items()}
    with StudyRunner(open_bundle(path), Options(device="cpu")) as opened:
        upright, other = opened.run(study), opened.run(replace(study, images=turned))
    assert other.study is not None
    grid = other.study.images["t2w"].volume.geometry
    np.testing.assert_array_equal(
        reoriented(other.roles["t2w"].mask, grid, "LPS")[0], upright.roles["t2w"].mask
    )
    assert upright.features == other.features


def test_what_the_other_sequence_does_not_show_stays_the_segmenters_own(fused: StudyRunner) -> None:
    """The DWI ends below the T2WI's upper slices: there the T2WI decides alone."""
    short = replace(moved(TinyStudy().dwi_grid), shape=(9, 40, 40))
    high = (CENTRE[0], CENTRE[1], 38.0)
    study = study_of(TinyStudy(t2w=((high, 10.0),), dwi=((CENTRE, 14.0),), dwi_grid=short))
    result = fused.run(study)
    alone = fused._segmenters["t2w"].segment(study.images["t2w"].volume).mask
    upper = slice(12, None)
    assert alone[upper].any()
    np.testing.assert_array_equal(result.roles["t2w"].mask[upper], alone[upper])


@pytest.mark.parametrize(
    ("fusions", "words"),
    [
        ([T2W, T2W], "two fusions"),
        ([T2W.model_copy(update={"other": "t2w"})], "cannot be decided"),
        ([T2W.model_copy(update={"other": "liver"})], "cannot be decided"),
    ],
)
def test_a_manifest_with_an_unclear_fusion_is_refused(
    bundle: Path, fusions: list[Fusion], words: str
) -> None:
    content = open_bundle(bundle).manifest.model_dump(by_alias=True)
    with pytest.raises(ValidationError, match=words):
        Manifest.model_validate({**content, "fusions": [one.model_dump() for one in fusions]})


def test_a_segmenter_of_several_labels_has_no_odds_of_a_lesion(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", TinyBundle(fusions=(T2W,)))

    def change(content: dict) -> None:
        content["segmenters"]["t2w"]["plan"]["labels"]["names"]["duct"] = 2

    changed_manifest(path, change)
    with pytest.raises(Exception, match="more than one label"):
        open_bundle(path)
