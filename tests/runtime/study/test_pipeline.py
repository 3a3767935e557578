"""From a study in memory to a status: real networks, real features, a real classifier."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import BundleError, ExitCode, InputError
from scanside.runtime.events import Event, StageFinished, StageProgress, StageStarted
from scanside.runtime.options import Options
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.remark import code_of
from scanside.runtime.stages.lesions import main_lesion, one_lesion
from scanside.runtime.study.pipeline import StudyRunner, read_recipe
from tests.runtime.study.conftest import run, study_of
from tests.runtime.study.tiny_study import (
    CENTRE,
    FEATURES,
    LEVEL,
    TinyBundle,
    TinyStudy,
    changed_manifest,
    images,
    write_bundle,
)
from tests.support.sentences import assert_one_sentence

FAR = (30.0, -10.0, 20.0)


def test_an_ok_study_from_end_to_end(runner: StudyRunner) -> None:
    result = run(runner)
    assert result.status == "ok" and result.reason is None and result.exit_code == ExitCode.OK
    for role, found in result.roles.items():
        data = images()[role].data[0].astype(np.float64)
        expected = (data - data.mean()) / data.std() > LEVEL
        np.testing.assert_array_equal(found.mask > 0, expected)
        lesion = found.lesions[0]
        assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 1.4**3, rel=0.1)
        assert lesion.longest_diameter_mm == pytest.approx(28, abs=5)
        assert np.linalg.norm(np.subtract(lesion.centroid_mm, CENTRE)) < 2
        assert found.labels["lesion"] == pytest.approx(
            expected.sum() * images()[role].geometry.voxel_volume_ml
        )
    made = result.classification
    assert made is not None and made.probability is not None
    assert made.probability.name == "PDAC" and made.probability.predicted == "PDAC"
    assert made.probability.low <= made.probability.value <= made.probability.high
    assert made.probability.value > 0.9


def test_features_are_those_of_the_signature_measured_in_the_largest_lesion(runner: StudyRunner) -> None:
    small = ((CENTRE, 14.0), (FAR, 9.0))
    recipe = TinyStudy(t2w=small, dwi=small)
    result = run(runner, recipe)
    assert [len(found.lesions) for found in result.roles.values()] == [2, 2]
    assert result.features is not None and tuple(result.features) == FEATURES
    made = images(recipe)
    masks = {role: main_lesion(found.mask) for role, found in result.roles.items()}
    again = extract(made, masks, read_recipe(runner.bundle).config, FEATURES)
    assert again == result.features
    assert all(value.value is not None for value in again.values())
    assert sum("the largest one is measured" in warning for warning in result.warnings) == 2


def test_the_other_class(runner: StudyRunner) -> None:
    result = run(runner, TinyStudy(adc=1900.0))
    assert result.status == "ok" and result.classification is not None
    assert result.classification.probability is not None
    assert result.classification.probability.predicted == "non-PDAC"
    assert result.classification.probability.value < 0.1


def test_indeterminate(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b", TinyBundle(indeterminate=(0.01, 0.999))))
    with StudyRunner(bundle, Options(device="cpu")) as opened:
        result = opened.run(study_of())
    assert result.status == "indeterminate" and result.exit_code == ExitCode.OK
    assert result.reason is not None and "Judge the lesion from the images" in result.reason
    assert result.classification is not None and result.classification.probability is not None
    assert result.classification.probability.predicted is None


def test_unlike_the_training_cohort(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b", TinyBundle(limit=1.0)))
    with StudyRunner(bundle, Options(device="cpu")) as opened:
        result = opened.run(study_of())
    assert result.status == "unsuitable input" and result.exit_code == ExitCode.INPUT
    assert result.reason is not None and "unlike the training cohort" in result.reason
    assert result.classification is not None and result.classification.probability is None
    assert result.roles["t2w"].lesions  # what was found is still told


def test_no_lesion_is_not_negative(runner: StudyRunner) -> None:
    result = run(runner, TinyStudy(t2w=(), dwi=()))
    assert result.status == "no lesion segmented" and result.exit_code == ExitCode.OK
    assert result.reason is not None
    assert_one_sentence(result.reason, "not a negative finding", "t2w and dwi")
    assert result.classification is None and result.features is not None
    assert all(value.value is None and value.reason for value in result.features.values())


@pytest.mark.parametrize(("recipe", "empty"), [(TinyStudy(dwi=()), "dwi"), (TinyStudy(t2w=()), "t2w")])
def test_a_lesion_on_one_sequence_alone(runner: StudyRunner, recipe: TinyStudy, empty: str) -> None:
    result = run(runner, recipe)
    assert result.status == "indeterminate" and result.classification is None
    assert result.reason is not None and f"none on {empty}" in result.reason and "overlays" in result.reason
    assert result.features is not None
    absent = {name for name, value in result.features.items() if value.value is None}
    assert absent == {name for name in FEATURES if (name.startswith("t2w")) == (empty == "t2w")}


def test_a_lesion_too_small_for_texture_is_absent_with_its_reason(runner: StudyRunner) -> None:
    tiny = ((CENTRE, 3.5),)  # one slice
    result = run(runner, TinyStudy(t2w=tiny, dwi=tiny))
    assert result.status == "unsuitable input" and result.features is not None
    texture = result.features["t2w_original_glcm_Contrast"]
    assert texture.value is None and texture.reason
    first = result.features[FEATURES[0]].reason
    assert result.reason is not None and first is not None and f"({first})" in result.reason


def test_lesions_in_two_places_give_no_probability(runner: StudyRunner) -> None:
    """Before, the signature mixed both places and a probability stood beside a warning."""
    result = run(runner, TinyStudy(dwi=((FAR, 14.0),)))
    assert result.status == "indeterminate" and result.classification is None
    assert result.reason is not None and code_of(result.reason) == "lesions-apart"
    assert "t2w and dwi lie 2" in result.reason and "10 mm" in result.reason
    assert_one_sentence(result.reason, "apart")
    near = run(runner, TinyStudy(dwi=(((CENTRE[0] + 10, CENTRE[1], CENTRE[2]), 14.0),)))
    assert near.status == "ok"


def test_the_lesion_that_both_sequences_show_is_measured(runner: StudyRunner) -> None:
    """The largest one of the T2WI is no lesion of the DWI: a smaller one, which is, goes into the signature."""
    result = run(runner, TinyStudy(t2w=((FAR, 16.0), (CENTRE, 12.0))))
    t2w = result.roles["t2w"]
    assert result.status == "ok" and (t2w.measured, result.roles["dwi"].measured) == (2, 1)
    centre = t2w.lesions[1].centroid_mm
    assert np.linalg.norm(np.subtract(centre, CENTRE)) < 4
    assert np.array_equal(t2w.main, one_lesion(t2w.mask, 2))
    assert any("number 2 by size" in warning for warning in result.warnings)


def test_bundles_of_schema_1_answer_as_they_were_trained(tmp_path: Path) -> None:
    """On the largest lesions, wherever they lie, with a warning."""
    with StudyRunner(
        open_bundle(write_bundle(tmp_path / "b", TinyBundle(schema=1))), Options(device="cpu")
    ) as opened:
        far = opened.run(study_of(TinyStudy(dwi=((FAR, 14.0),))))
        near = opened.run(study_of(TinyStudy(dwi=(((CENTRE[0] + 10, CENTRE[1], CENTRE[2]), 14.0),))))
    assert far.status == "ok" and any("mm apart" in warning for warning in far.warnings)
    assert not any("apart" in warning for warning in near.warnings)
    assert far.classification is not None and far.classification.model == "radiomics"


def test_a_model_of_the_dwi_answers_where_the_dwi_alone_shows_a_lesion(tmp_path: Path) -> None:
    with StudyRunner(
        open_bundle(write_bundle(tmp_path / "b", TinyBundle(alone=True))), Options(device="cpu")
    ) as opened:
        both, dwi, t2w = (
            opened.run(study_of(s)) for s in (TinyStudy(), TinyStudy(t2w=()), TinyStudy(dwi=()))
        )
        apart = opened.run(study_of(TinyStudy(dwi=((FAR, 14.0),))))
    assert both.classification is not None and both.classification.model == "t2w and dwi"
    assert dwi.status == "ok" and dwi.classification is not None and dwi.features is not None
    assert dwi.classification.model == "dwi" and set(dwi.features) == set(FEATURES[4:])
    assert t2w.status == "indeterminate" and t2w.classification is None
    assert apart.status == "indeterminate" and apart.classification is None


def test_a_lesion_at_the_end_of_the_stack_is_warned_of(runner: StudyRunner) -> None:
    at_the_end = (((-12.0, 8.0, 45.0), 14.0),)
    result = run(runner, TinyStudy(t2w=at_the_end, dwi=at_the_end))
    assert sum("first or last slice" in warning for warning in result.warnings) == 2


def test_an_unsuitable_study_runs_nothing(runner: StudyRunner) -> None:
    study = study_of()
    broken = replace(
        study.images["adc"],
        volume=replace(study.images["adc"].volume, data=study.images["adc"].volume.data * 0),
    )
    result = runner.run(replace(study, images={**study.images, "adc": broken}))
    assert result.status == "unsuitable input" and result.roles == {} and result.features is None
    assert result.device is None and result.classification is None
    assert result.reason is not None and "empty" in result.reason


def test_stages_are_announced_by_segmenter(runner: StudyRunner) -> None:
    heard: list[Event] = []
    result = runner.run(study_of(), heard.append)
    started = [event.stage for event in heard if isinstance(event, StageStarted)]
    finished = [event.stage for event in heard if isinstance(event, StageFinished)]
    assert started == finished and list(result.stages) == ["read", *finished]
    for stage in (
        "check",
        "t2w: slide",
        "regions",
        "dwi: slide",
        "dwi: postprocess",
        "radiomics",
        "classify",
    ):
        assert stage in finished
    assert {event.stage for event in heard if isinstance(event, StageProgress)} == {
        "t2w: slide",
        "dwi: slide",
    }
    assert finished.index("t2w: postprocess") < finished.index("dwi: crop") < finished.index("regions")


def test_the_same_study_gives_the_same_result(runner: StudyRunner) -> None:
    first, second = run(runner), run(runner)
    assert first.features == second.features and first.classification == second.classification
    assert first.roles["dwi"].lesions == second.roles["dwi"].lesions


def test_channels_say_which_sequences_a_segmenter_takes(tmp_path: Path, runner: StudyRunner) -> None:
    both = {"t2w": ("t2w",), "dwi": ("dwi", "adc")}
    bundle = open_bundle(write_bundle(tmp_path / "two", TinyBundle(channels=both)))
    with StudyRunner(bundle, Options(device="cpu")) as opened:
        assert opened.recipe.needed == ("t2w", "dwi", "adc")
        result = opened.run(study_of())
    np.testing.assert_array_equal(result.roles["dwi"].mask, run(runner).roles["dwi"].mask)


def test_auto_takes_one_device_for_all_segmenters(bundle: Path) -> None:
    with StudyRunner(open_bundle(bundle), Options()) as opened:
        result = opened.run(study_of())
        assert result.status == "ok" and result.device == opened.device
        assert opened.device.asked == "auto" and opened.device.obtained in ("openvino", "cpu")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (TinyBundle(channels={"t2w": ("MRI",), "dwi": ("dwi",)}), "takes 'mri'"),
        (TinyBundle(channels={"t2w": ("t2w", "dwi"), "dwi": ("dwi",)}), "different grids"),
        (TinyBundle(classifier=False), "holds segmenters only"),
        (TinyBundle(channels={"t2w": ("t2w",)}), "no sequence and mask"),
    ],
)
def test_bundles_that_cannot_run_a_study(tmp_path: Path, recipe: TinyBundle, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_recipe(open_bundle(write_bundle(tmp_path / "b", recipe)))
    assert words in str(caught.value)


def test_the_lesion_label_may_have_another_name(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b", TinyBundle(lesion="tumour")))
    with StudyRunner(bundle, Options(device="cpu")) as opened:
        assert opened.run(study_of()).roles["t2w"].labels.keys() == {"tumour"}


def test_a_feature_of_an_unknown_sequence_is_refused(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        features = ["ct_original_firstorder_Mean", *FEATURES[1:]]
        ranges = dict.fromkeys(features, (0, 0, 0))
        content["models"][0]["signature"] = {"features": features, "ranges": ranges}

    bundle = changed_manifest(write_bundle(tmp_path / "b"), change)
    with pytest.raises(BundleError) as caught:
        read_recipe(open_bundle(bundle))
    assert_one_sentence(str(caught.value), "ct_original_firstorder_Mean")


def test_a_refusal_is_a_sentence(runner: StudyRunner) -> None:
    study = study_of()
    flat = replace(
        study.images["t2w"],
        volume=replace(study.images["t2w"].volume, data=study.images["t2w"].volume.data * 0),
    )
    result = runner.run(replace(study, images={**study.images, "t2w": flat}))
    assert result.reason is not None
    assert_one_sentence(result.reason, "t2w", "every voxel is 0")
    assert code_of(result.reason) == "input-refused"
    assert issubclass(InputError, ValueError)
