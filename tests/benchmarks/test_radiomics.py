"""The radiomics stage on a real bundle and a real study; pyradiomics' own extractor is the peer."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scripts import radiomics_speed
from scanside.runtime.errors import CaseError
from tests.runtime.study.tiny_study import TinyStudy, write_bundle, write_nifti


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("radiomics") / "tiny.bundle")


@pytest.fixture(scope="module")
def study(bundle: Path) -> Path:
    return write_nifti(bundle.with_name("study"), TinyStudy())


def test_values_agree_and_both_are_timed(bundle: Path, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    radiomics_speed.main(bundle, out, [study], repeats=2)
    document: dict[str, Any] = json.loads(out.read_text())
    (found,) = document["studies"]
    assert len(found["features"]) == document["asked"] < document["enabled"]
    assert max(one["error"] for one in found["features"].values()) <= 1e-6
    assert len(found["scanside_ms"]["samples"]) == len(found["pyradiomics_ms"]["samples"]) == 2
    pairs = zip(found["pyradiomics_ms"]["samples"], found["scanside_ms"]["samples"], strict=True)
    assert found["ratio"]["max"] == pytest.approx(max(a / b for a, b in pairs), rel=1e-3)
    assert not document["headline"]
    assert "study, scanside: the median's 95 % interval" in str(document["remarks"])
    assert "values agree to 1e-06" in out.with_suffix(".md").read_text()


def test_a_value_that_differs_is_said(
    bundle: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radiomics_speed, "FEATURE_TOLERANCE", -1.0)
    with pytest.raises(CaseError, match="differ from pyradiomics'"):
        radiomics_speed.main(bundle, tmp_path / "out.json", [study], repeats=1)
    assert "DO NOT AGREE" in (tmp_path / "out.md").read_text()


def test_a_study_without_a_lesion_is_no_measurement(bundle: Path, tmp_path: Path) -> None:
    empty = write_nifti(tmp_path / "empty", TinyStudy(t2w=(), dwi=()))
    with pytest.raises(CaseError, match="empty cannot be measured: No lesion was segmented"):
        radiomics_speed.main(bundle, tmp_path / "out.json", [empty])
