"""signature.json and the other files of an experiment: written and read by one record each."""

import json
from pathlib import Path

import pytest

from scanside.export.experiment_files import (
    ClassifierDocument,
    ExperimentDocument,
    FusionDocument,
    read_file,
)
from scanside.runtime.errors import InputError
from scanside.runtime.record import Document
from scanside.training.experiment import Experiment, write_document
from scanside.training.signature.auc import Auc
from scanside.training.signature.document import Estimate, SignatureDocument
from tests.training.evaluation.experiments import signature_document

NAN = float("nan")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    document = signature_document()
    write_document(tmp_path / "signature.json", document)
    assert read_file(tmp_path / "signature.json", SignatureDocument, "step") == document


def test_a_file_of_before_opens(tmp_path: Path) -> None:
    """Steps named only what had happened, and estimates of nothing were NaN nowhere but in memory."""
    old = signature_document().data()
    for step in old["path"]:
        del step["relaxed"], step["batches"]
    del old["synthetic"]
    (tmp_path / "signature.json").write_text(json.dumps(old))
    found = read_file(tmp_path / "signature.json", SignatureDocument, "step")
    assert [step.step for step in found.path] == [step["step"] for step in old["path"]]
    assert not found.synthetic and found.near_mm is None


def test_an_area_of_one_class_is_absent() -> None:
    found = Estimate.of(Auc(NAN, NAN, NAN, (NAN, 0.71234), 9))
    assert (found.auc, found.low, found.high, found.per_repeat) == (None, None, None, (None, 0.7123))


@pytest.mark.parametrize(
    ("record", "text", "words"),
    [
        (
            SignatureDocument,
            '{"schema": "scanside.signature/2"}',
            r"schema: Input should be 'scanside.signature/1'",
        ),
        (SignatureDocument, "[]", "damaged"),
        (ExperimentDocument, '{"cohort": "c", "synthetic": true}', "cohort_sha256: Field required"),
        (ExperimentDocument, "{", "Invalid JSON"),
        (ClassifierDocument, '{"models": []}', "agreement: Field required"),
        (FusionDocument, '{"fusion": null, "bundles": {"t2w": "0"}}', "bundles.t2w: String should match"),
    ],
)
def test_what_a_step_did_not_write_is_refused(
    record: type[Document], text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_file(tmp_path / "file.json", record, "scanside train x")
    assert "file.json" in str(error.value) and str(error.value).endswith("run `scanside train x` again.")


def test_what_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no readable .*experiment\.json; run `scanside train x` first"):
        read_file(tmp_path / "experiment.json", ExperimentDocument, "scanside train x")


@pytest.mark.parametrize(
    ("step", "command"),
    [
        ("segment-t2w", "scanside train segment"),
        ("evaluate", "scanside evaluate"),
        ("signature", "scanside train signature"),
    ],
)
def test_a_damaged_record_names_the_command_that_there_is(step: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{step}.json").write_text("{}")
    with pytest.raises(InputError, match=f"run `{command}` again"):
        Experiment(tmp_path, tmp_path, "0" * 64, True).records()


def test_files_of_before_they_had_a_version_open(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"agreement": {"near_mm": 10}, "models": []}')
    found = read_file(tmp_path / "c.json", ClassifierDocument, "step")
    assert found.agreement is not None and found.agreement.near_mm == 10
    (tmp_path / "f.json").write_text('{"fusion": null, "folds": {"0": null}, "bundles": {}, "dice": {}}')
    assert read_file(tmp_path / "f.json", FusionDocument, "step").fusion is None
