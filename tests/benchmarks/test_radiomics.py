"""`bench radiomics` on a real bundle and a real study; pyradiomics' own extractor is the peer."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scanside.benchmarks.radiomics import RadiomicsReport, radiomics_table
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode
from scanside.runtime.record import json_schema
from tests.runtime.study.tiny_study import TinyStudy, write_bundle, write_nifti


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("radiomics") / "tiny.bundle")


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    study, out = write_nifti(bundle.with_name("study"), TinyStudy()), bundle.with_name("out.json")
    assert (
        run(["bench", "radiomics", str(bundle), str(study), "-o", str(out), "--repeats", "2"]) == ExitCode.OK
    )
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_values_agree_and_both_are_timed(document: dict[str, Any]) -> None:
    jsonschema.validate(document, json_schema(RadiomicsReport))
    (study,) = document["studies"]
    assert len(study["features"]) == document["asked"] < document["enabled"]
    assert max(one["error"] for one in study["features"].values()) <= 1e-6
    assert len(study["scanside_ms"]["samples"]) == len(study["pyradiomics_ms"]["samples"]) == 2
    pairs = zip(study["pyradiomics_ms"]["samples"], study["scanside_ms"]["samples"], strict=True)
    assert study["ratio"]["max"] == pytest.approx(max(a / b for a, b in pairs), rel=1e-3)
    assert not document["headline"] and "study, scanside: the median's 95 % interval" in str(
        document["remarks"]
    )


def test_a_value_that_differs_is_said(document: dict[str, Any]) -> None:
    report = RadiomicsReport.model_validate(document)
    assert report.equal and "values agree to 1e-06" in radiomics_table(report)
    feature = next(iter(document["studies"][0]["features"].values()))
    wrong = json.loads(json.dumps(document))
    next(iter(wrong["studies"][0]["features"].values()))["error"] = 0.5
    report = RadiomicsReport.model_validate(wrong)
    assert feature["error"] <= 1e-6 and not report.equal
    assert "DO NOT AGREE" in radiomics_table(report) and "5.0e-01" in radiomics_table(report)


def test_a_study_without_a_lesion_is_no_measurement(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_nifti(tmp_path / "empty", TinyStudy(t2w=(), dwi=()))
    words = ["bench", "radiomics", str(bundle), str(study), "-o", str(tmp_path / "out.json")]
    assert run(words) == ExitCode.CASE_FAILED
    assert "empty cannot be measured: No lesion was segmented" in capsys.readouterr().err
