"""Covariates of a study: from headers, from the sidecar, and which model answers with them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset

from scanside.runtime.bundle import open_bundle
from scanside.runtime.dicom.patient import age_and_sex
from scanside.runtime.errors import InputError
from scanside.runtime.options import Options
from scanside.runtime.remark import code_of
from scanside.runtime.study.answer import refuse_unknown_levels
from scanside.runtime.study.clinical import SIDECAR
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study_model import Covariate
from tests.runtime.study.tiny_study import TinyBundle, write_bundle, write_nifti
from tests.support.sentences import assert_one_sentence

NEEDED = ("t2w", "dwi", "adc")


def header(**keywords: str) -> Dataset:
    made = Dataset()
    for keyword, value in keywords.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("keywords", "known"),
    [
        ({"PatientAge": "063Y", "PatientSex": "F"}, {"age": 63.0, "sex": "F"}),
        ({"PatientAge": "018M"}, {"age": 1.5}),
        ({"PatientBirthDate": "19600615", "StudyDate": "20240614"}, {"age": 63.0}),
        ({"PatientBirthDate": "19600615", "StudyDate": "20240615"}, {"age": 64.0}),
        ({"PatientAge": "050Y", "PatientBirthDate": "19600615", "StudyDate": "20240615"}, {"age": 50.0}),
        ({"PatientBirthDate": "20300101", "StudyDate": "20240615"}, {}),
        ({"PatientAge": "999Y", "PatientSex": "O"}, {}),
        ({"PatientAge": "", "PatientSex": "", "PatientBirthDate": "", "StudyDate": ""}, {}),
        ({}, {}),
    ],
)
def test_what_headers_say(keywords: dict[str, str], known: dict[str, object]) -> None:
    assert age_and_sex([header(**keywords)]) == known


def test_headers_that_contradict_each_other_say_nothing() -> None:
    two = [header(PatientAge="063Y", PatientSex="F"), header(PatientAge="036Y", PatientSex="M")]
    assert age_and_sex(two) == {}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyRunner]:
    bundle = write_bundle(tmp_path_factory.mktemp("clinical") / "b", TinyBundle(clinical=True))
    with StudyRunner(open_bundle(bundle), Options(device="cpu")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("sidecar", "model"),
    [
        (None, "t2w and dwi"),
        ({"age": 63, "sex": "F"}, "t2w and dwi with age and sex"),
        ({"age": 63}, "t2w and dwi"),
        ({"age": 63, "sex": "O"}, "t2w and dwi"),
        ({"age": "old", "sex": "F"}, "t2w and dwi"),
    ],
)
def test_the_model_that_answers_takes_what_is_known(
    runner: StudyRunner, tmp_path: Path, sidecar: dict[str, object] | None, model: str
) -> None:
    folder = write_nifti(tmp_path / "study")
    if sidecar is not None:
        (folder / SIDECAR).write_text(json.dumps(sidecar))
    result = runner.run(read_study(folder, NEEDED))
    assert result.status == "ok" and result.classification is not None
    assert result.classification.model == model
    told = [code_of(warning) for warning in result.warnings]
    assert ("without-covariates" in told) == (model == "t2w and dwi")


def test_an_age_that_training_never_saw_is_told(runner: StudyRunner, tmp_path: Path) -> None:
    folder = write_nifti(tmp_path / "study")
    (folder / SIDECAR).write_text(json.dumps({"age": 12, "sex": "M"}))
    result = runner.run(read_study(folder, NEEDED))
    (warning,) = [one for one in result.warnings if code_of(one) == "covariate-range"]
    assert warning == "The patient's age lies outside the training cohort's 20 to 90 years."


def test_dicom_says_age_and_sex(dicom_study: Path, tmp_path: Path, runner: StudyRunner) -> None:
    """The study's own headers, and a sidecar that belongs to another patient."""
    folder = tmp_path / "study"
    shutil.copytree(dicom_study, folder)
    for file in folder.rglob("*.dcm"):
        _stamp(file, "071Y", "M")
    study = read_study(folder, NEEDED)
    assert study.covariates == {"age": 71.0, "sex": "M"}
    result = runner.run(study)
    assert result.classification is not None
    assert result.classification.model == "t2w and dwi with age and sex"
    (folder / SIDECAR).write_text(json.dumps({"age": 71, "ca199": 37}))
    assert read_study(folder, NEEDED).covariates == {"age": 71.0, "sex": "M", "ca199": 37.0}
    (folder / SIDECAR).write_text(json.dumps({"sex": "F"}))
    with pytest.raises(InputError) as caught:
        read_study(folder, NEEDED)
    assert_one_sentence(str(caught.value), "another sex")


@pytest.mark.parametrize("text", ["{", "[1]", '{"age": true}', '{"age": null}', '{"age": NaN}'])
def test_a_sidecar_that_cannot_be_understood_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_nifti(tmp_path / "study")
    (folder / SIDECAR).write_text(text)
    with pytest.raises(InputError) as caught:
        read_study(folder, NEEDED)
    assert_one_sentence(str(caught.value), SIDECAR)


def _stamp(file: Path, age: str, sex: str) -> None:
    import pydicom

    dataset = pydicom.dcmread(file)
    dataset.PatientAge, dataset.PatientSex = age, sex
    dataset.save_as(file)


def test_a_word_that_the_models_do_not_know_is_refused_and_what_is_unknown_is_not() -> None:
    level = Covariate(name="jaundice", values=("no", "yes"), low=0, high=1)
    marker = Covariate(name="ca199", unit="U/ml", low=1, high=90)
    models = [SimpleNamespace(model=SimpleNamespace(covariates=(level, marker)))]
    for fine in ({}, {"jaundice": "yes"}, {"ca199": 37.0, "jaundice": "no", "other": "word"}):
        refuse_unknown_levels(models, fine)  # type: ignore[arg-type]
    for wrong in ({"jaundice": "perhaps"}, {"jaundice": 1.0}, {"ca199": "high"}):
        with pytest.raises(InputError) as caught:
            refuse_unknown_levels(models, wrong)  # type: ignore[arg-type]
        assert_one_sentence(str(caught.value), next(iter(wrong)))
