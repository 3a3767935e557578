"""Documents: their schemas hold what is written, old files open, and files of another version are refused by name."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from scanside.runtime.cli.schema import documents, record_of
from scanside.runtime.errors import InputError
from scanside.runtime.record import json_schema
from scanside.runtime.study.report import RESULT, StudyReport, read_report
from tests.runtime.cli.conftest import Command

OLD: dict[str, Any] = {
    "schema": "scanside.run/1", "status": "no lesion segmented", "reason": "No lesion was segmented.",
    "notice": "Research use only.", "synthetic": True,
    "bundle": {"name": "pancreas", "version": "1", "sha256": "0" * 64},
    "device": {"asked": "auto", "obtained": "openvino", "why": "first", "precision": "fp32"},
    "approximations": [], "inputs": ["t2w.nii.gz"],
    "sequences": [
        {"sequence": "t2w", "path": "t2w.nii.gz", "series": "t2w.nii.gz", "how": "named so", "b_value": None,
         "series_instance_uid": None, "shape": [4, 5, 6], "spacing_mm": [3.0, 1.0, 1.0]},
    ],
    "considered": [], "outputs": ["out/result.json"], "objects": [], "stages": [{"name": "read", "ms": 1.0}],
    "labels": {"t2w lesion": 0.0}, "lesions": [], "signature": None, "probability": None, "distance": None,
    "warnings": [], "versions": {"scanside": "0.1.0"},
}  # fmt: skip
"""A result of version 0.1: no orientation, no codes, no model."""


@pytest.mark.parametrize("name", documents())
def test_every_document_has_a_closed_schema_that_is_one(name: str) -> None:
    schema = json_schema(record_of(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False and schema["properties"]
    assert schema.get("description"), f"{name} does not say what it is"


def test_a_document_without_a_name_lists_them_and_a_wrong_name_is_refused(scanside: Command) -> None:
    assert scanside("schema").out.split() == documents()
    assert json.loads(scanside("schema", "result").out) == json_schema(StudyReport)
    refused = scanside("schema", "resutl")
    assert refused.code == 2 and "no document 'resutl'" in refused.err and "result" in refused.err


def test_a_result_of_an_older_version_opens(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(json.dumps(OLD))
    report = read_report(tmp_path)
    assert report.sequences[0].orientation is None and report.model is None and report.warning_codes == ()


def test_a_later_field_is_passed_over_and_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(json.dumps({**OLD, "mood": "good"}))
    assert not hasattr(read_report(tmp_path), "mood")
    (tmp_path / RESULT).write_text(json.dumps({**OLD, "schema": "scanside.run/2"}))
    with pytest.raises(InputError, match="damaged \\(at schema\\)"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": None},
        {"status": "ok"},
        {"status": "ok", "reason": None},
        {
            "probability": {
                "class": "PDAC",
                "value": 0.5,
                "low": 0.4,
                "high": 0.6,
                "calibrated": "",
                "predicted": None,
            }
        },
        {"signature": {"a": {"value": None, "reason": None, "low": 0, "median": 1, "high": 2}}},
        {"signature": {"a": {"value": 1.0, "reason": "absent", "low": 0, "median": 1, "high": 2}}},
    ],
    ids=[
        "no reason",
        "ok with a reason",
        "ok without probability",
        "a probability too many",
        "absent",
        "both",
    ],
)
def test_a_report_cannot_contradict_itself(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StudyReport.model_validate({**OLD, **change})
