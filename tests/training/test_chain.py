"""The whole way in small: phantom → cohort check → segmenters → signature → classifier → report → bundle → a study.

A dozen small phantoms and seconds of training: what is tested is that every part takes what the one before it leaves,
not how good the result is.
"""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import jsonschema
import pytest

from scanside.runtime.cli.main import run
from scanside.runtime.radiomics.config import default_config, dump_config
from scanside.runtime.record import json_schema
from scanside.runtime.study.report import StudyReport
from scanside.training.evaluation import records
from scanside.training.phantom.dicom import write_dicom_study
from scanside.training.phantom.study import make_study
from tests.support.onnx_exports import shared

ROOT = Path(__file__).resolve().parents[2]
PATIENTS, TRAIN, SEED = 12, 8, 11


def scanside(*arguments: str | int | Path, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    code = "from scanside.runtime.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode in codes, f"{' '.join(command[3:])}\n{done.stderr[-3000:]}"
    return done


def step(*arguments: str | int | Path) -> None:
    """The same inside this process, which has imported PyTorch and scikit-learn, and exports equal networks once."""
    said = io.StringIO()
    with shared(), redirect_stdout(said), redirect_stderr(said):
        code = run([*map(str, arguments)])
    assert code == 0, said.getvalue()[-3000:]


def recipe() -> bytes:
    """The default recipe without shape on T2WI, where masks of barely trained networks are half the body.

    The longest diameter of such a mask takes as long as all else of it; shape on DWI stays.
    """
    config = default_config()
    t2w = config.sequences["t2w"]
    classes = {name: which for name, which in t2w.feature_classes.items() if name != "shape"}
    shapeless = t2w.model_copy(update={"feature_classes": classes})
    return dump_config(config.model_copy(update={"sequences": {**config.sequences, "t2w": shapeless}}))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with everything in it."""
    base = tmp_path_factory.mktemp("chain")
    cohort, out = base / "cohort", base / "experiment"
    step("phantom", cohort, "--patients", PATIENTS, "--train", TRAIN, "--seed", SEED, "--small", "--jobs", 1)
    step("cohort", "check", cohort)
    for role in ("t2w", "dwi"):
        step(
            "train", "segment", cohort, "-o", out, "--role", role, "--folds", 2, "--epochs", 2, "--iterations", 12,
            "--val-iterations", 1, "--threads", 1,
        )  # fmt: skip
    (base / "radiomics.yaml").write_bytes(recipe())
    step("train", "fusion", out, "--role", "t2w", "--other", "dwi")
    step(
        "train", "signature", out, "--features", 2, "--folds", 2, "--repeats", 1, "--inner", 2,
        "--perturbations", 1, "--canary-runs", 3, "--config", base / "radiomics.yaml",
    )  # fmt: skip
    step("train", "classifier", out)
    step("evaluate", out, "--bootstrap", 100)
    return out


@pytest.fixture(scope="module")
def bundle(experiment: Path) -> Path:
    path = experiment.parent / "pancreas.bundle"
    step("export", "bundle", experiment, "-o", path, "--licence", "Apache-2.0")
    return path


def test_every_step_left_a_record(experiment: Path) -> None:
    records = {file.stem for file in (experiment / "records").glob("*.json")}
    assert {"segment-t2w", "segment-dwi", "fusion-t2w", "signature", "classifier", "evaluate"} <= records
    for file in (experiment / "records").glob("*.json"):
        record = json.loads(file.read_text())
        assert record["versions"]["scanside"] and record["seconds"] > 0 and record["command"][0] == "scanside"


def test_report_has_every_part_and_says_synthetic(experiment: Path) -> None:
    report = json.loads((experiment / "evaluation" / "report.json").read_text())
    jsonschema.validate(report, json_schema(records.Report))
    assert report["synthetic"] and any("synthetic" in line.lower() for line in report["warnings"])
    parts = {(row["role"], row["part"]) for row in report["segmentation"]["rows"]}
    assert {(r, p) for r in ("t2w", "dwi") for p in ("resubstitution", "cross-validated", "test")} <= parts
    assert {row["part"] for row in report["segmentation"]["fused"] if row["role"] == "t2w"} == {
        "resubstitution", "cross-validated", "test",
    }  # fmt: skip
    assert report["classification"]["features"]
    html = (experiment / "evaluation" / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", "") and "synthetic" in html.lower()


def test_bundle_proves_every_hop(bundle: Path) -> None:
    parity = json.loads((bundle / "parity.json").read_text())
    assert {hop["case"].split("-")[0] for hop in parity["hops"]} == {"t2w", "dwi"}
    assert all(hop["problem"] is None for hop in parity["hops"])
    assert [study["problem"] for study in parity["studies"]] == [None]
    assert parity["studies"][0]["feature_error"] <= 1e-6
    assert parity["probability"]["largest_difference"] <= 1e-6
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["orientation"]["t2w"] == ["LPS"] == manifest["orientation"]["adc"]
    chosen = json.loads((bundle.parent / "experiment" / "segmentation" / "t2w" / "fusion.json").read_text())
    assert manifest["fusions"] == ([] if chosen["fusion"] is None else [chosen["fusion"]])
    card = (bundle / "model_card.md").read_text()
    assert "Research use only" in card and "synthetic phantom" in card and "| t2w | test" in card


def test_selftest_replays_labels_features_and_probability(bundle: Path) -> None:
    document = json.loads(scanside("selftest", bundle, "--json").stdout)
    assert document["status"] == "ok" and len(document["studies"]) == 1
    assert {case["case"].split("-")[0] for case in document["cases"]} == {"t2w", "dwi"}


def test_a_new_dicom_study_gets_a_result(bundle: Path, tmp_path: Path) -> None:
    write_dicom_study(make_study(0, seed=99, small=True), tmp_path / "study")
    report = json.loads(
        scanside("run", bundle, tmp_path / "study", "-o", tmp_path / "out", "--json", codes=(0, 5)).stdout
    )
    jsonschema.validate(report, json_schema(StudyReport))
    assert report["synthetic"] and report["bundle"]["sha256"]
    assert report["status"] in ("ok", "indeterminate", "no lesion segmented", "unsuitable input")
    if report["status"] == "ok":
        assert report["probability"]["predicted"] in ("PDAC", "non-PDAC")
    if report["status"] in ("no lesion segmented", "unsuitable input"):
        assert report["probability"] is None and report["reason"]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == report
