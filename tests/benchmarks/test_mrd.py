"""`bench mrd` against a real server: what is timed, and what is said of it."""

import json
from pathlib import Path

import jsonschema

from scanside.benchmarks.mrd import MrdReport, mrd_table
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode
from scanside.runtime.record import json_schema
from tests.runtime.study.tiny_study import TinyBundle, images, write_bundle, write_image


def test_sessions_are_timed_and_too_few_are_said(tmp_path: Path) -> None:
    recipe = TinyBundle(channels={"t2w": ("t2w",)}, features=(), classifier=False)
    bundle, out = write_bundle(tmp_path / "tiny.bundle", recipe), tmp_path / "mrd.json"
    scan = write_image(images()["t2w"], tmp_path / "scan.nii.gz")
    words = ["bench", "mrd", str(bundle), str(scan), "-o", str(out), "--sessions", "3", "--starts", "1"]
    assert run(words) == ExitCode.OK
    document = json.loads(out.read_text())
    jsonschema.validate(document, json_schema(MrdReport))
    report = MrdReport.model_validate(document)
    took = report.close_to_last_label_ms
    assert len(took.samples) == 3 and all(ms > 0 for ms in took.samples) and took.median == report.p50_ms
    assert len(report.listening_ms.samples) == 1 and report.first_ms > report.listening_ms.max
    assert report.p95_ms is None and not report.headline
    table = mrd_table(report)
    assert "too few sessions" in table and "Not to be quoted" in table
