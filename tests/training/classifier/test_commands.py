"""`scanside train signature` and `scanside train classifier`, from a table or from images to a classifier."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.export.classifier import probabilities
from scanside.runtime.classify import relative_distances
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.study_model import StudyModel
from scanside.training.classifier.cli import classifier
from scanside.training.experiment import cohort_hash, open_experiment
from scanside.training.signature import step
from scanside.training.signature.cli import signature
from scanside.training.signature.pipeline import FAMILIES
from scanside.training.signature.store import CROSS_VALIDATED, read_measurements
from tests.support.real_table import real_table

QUICK: dict[str, Any] = {
    "features": 5, "selector": "mrmr", "combat": False, "presence": 0.9, "seed": 0,
    "folds": 3, "repeats": 2, "inner": 2, "jobs": 1,
    "perturbations": 2, "config": None, "canary_runs": 3, "table": None, "second": None, "labels": None,
}  # fmt: skip


def _train(experiment: Path, **options: Any) -> dict[str, Any]:
    assert signature(experiment, **{**QUICK, **options}) == 0
    summary = experiment.parent / "summary.json"
    assert classifier(experiment, seed=0, coverage=0.8, jobs=1, summary=summary) == 0
    return {
        name: json.loads((experiment / folder / f"{name}.json").read_text())
        for folder, name in (("signature", "signature"), ("classifier", "classifier"), ("classifier", "cv"))
    }


def _predictions(experiment: Path) -> list[dict[str, str]]:
    with (experiment / "classifier" / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, Path]) -> tuple[Path, dict[str, Any]]:
    experiment = tmp_path_factory.mktemp("trained") / "experiment"
    return experiment, _train(
        experiment, table=tables["first"], second=tables["second"], labels=tables["labels"]
    )


@pytest.fixture(scope="module")
def with_cohort(trained: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment once more, with a cohort that declares a marker and a choice, unknown of p0 and p1."""
    base = tmp_path_factory.mktemp("declared")
    experiment, cohort = shutil.copytree(trained[0], base / "experiment"), base / "cohort"
    cohort.mkdir()
    covariates = {
        "ca199": {"type": "number", "unit": "U/ml"},
        "jaundice": {"type": "choice", "values": ["no", "yes"]},
        "empty": {"type": "number"},
    }
    about = {"schema": "scanside.cohort/1", "name": "declared", "synthetic": True, "adc_unit": "1e-6 mm2/s"}
    about |= {"covariates": covariates}
    (cohort / "cohort.json").write_text(json.dumps(about))
    random = np.random.default_rng(2)
    rows = ["patient,split,diagnosis,age,sex,scanner,field_t,lesion_mm,ca199,jaundice,empty"]
    for patient in read_measurements(experiment / "signature").patients:
        marker = f"{20 + 60 * patient.positive + 15 * random.standard_normal():.2f}"
        level = ("no", "yes")[int(random.random() < 0.5)]
        known = f"{marker},{level}" if patient.patient not in ("p0", "p1") else f",{level}"
        rows.append(f"{patient.patient},train,{'PDAC' if patient.positive else 'SPN'},,,a,3,20,{known},")
    (cohort / "cohort.csv").write_text("\n".join(rows) + "\n")
    learned = json.loads((experiment / "signature" / "signature.json").read_text())
    learned["options"]["scheme"]["repeats"] = 1  # once is enough here
    (experiment / "signature" / "signature.json").write_text(json.dumps(learned))
    document = json.loads((experiment / "experiment.json").read_text())
    document |= {"cohort": str(cohort), "cohort_sha256": cohort_hash(cohort)}
    (experiment / "experiment.json").write_text(json.dumps(document))
    return experiment


def test_declared_covariates_are_the_clinical_data_instead_of_age_and_sex(with_cohort: Path) -> None:
    assert classifier(with_cohort, coverage=0.8, clinical="ca199,jaundice") == 0
    document = json.loads((with_cohort / "classifier" / "classifier.json").read_text())
    first, second = map(StudyModel.model_validate, document["models"])
    assert (first.name, second.name) == ("combined", "radiomics"), "asked in this order"
    marker, level = first.covariates
    assert (marker.name, marker.unit, marker.values) == (
        "ca199",
        "U/ml",
        None,
    ) and marker.low < 30 < marker.high
    assert (level.name, level.values, level.low, level.high) == ("jaundice", ("no", "yes"), 0, 1)
    cv = json.loads((with_cohort / "classifier" / "cv.json").read_text())
    assert cv["models"]["clinical"]["auc"] > 0.9, "the marker tells the classes apart"
    assert cv["options"]["clinical"] == ["ca199", "jaundice"]
    rows = {
        (p["model"], p["patient"]): p["unguarded"]
        for p in _predictions(with_cohort)
        if p["part"] == CROSS_VALIDATED
    }
    assert rows["deployed", "p0"] == rows["radiomics", "p0"] != "", (
        "the model without answers where one is unknown"
    )
    assert rows["deployed", "p5"] == rows["combined", "p5"] != rows["radiomics", "p5"]


@pytest.mark.parametrize(
    ("clinical", "error", "words"),
    [
        ("age,ca125", UsageError, "ca125"),
        ("ca199,ca199", UsageError, "twice"),
        ("empty", InputError, "no training patient a value of empty"),
    ],
)
def test_covariates_that_cannot_be_taken_are_refused(
    with_cohort: Path, clinical: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        classifier(with_cohort, clinical=clinical)


def test_everything_that_was_promised(trained: tuple[Path, dict[str, Any]]) -> None:
    experiment, found = trained
    chosen = found["signature"]
    assert len(chosen["features"]) == 5
    assert (
        len({"original_shape_MeshVolume", "feature_1", "feature_2", "feature_3"} & set(chosen["features"]))
        >= 3
    )
    assert "feature_4" not in chosen["frequency"]
    assert [entry["features"] for entry in chosen["path"]] == sorted(
        (entry["features"] for entry in chosen["path"]), reverse=True
    )
    assert chosen["cv"]["low"] > 0.6
    assert len(chosen["cv"]["per_repeat"]) == 2
    assert all(canary["passed"] for canary in chosen["canaries"])
    assert set(chosen["baselines"]) == {"volume"}
    assert set(found["cv"]["families"]) == set(FAMILIES)
    assert found["cv"]["winner"]["family"] in FAMILIES
    deployed = found["cv"]["deployed"]["radiomics"]
    assert deployed["onnx_parity"] < 1e-12 and deployed["conformal"]["target"] == 0.8
    assert set(open_experiment(experiment).records()) == {"signature", "classifier"}


def test_the_summary_names_no_patient_and_no_folder(trained: tuple[Path, dict[str, Any]]) -> None:
    experiment, found = trained
    text = (experiment.parent / "summary.json").read_text()
    summary = json.loads(text)
    assert summary["signature"]["cv"] == found["signature"]["cv"]
    assert summary["classifier"]["models"] == found["cv"]["models"]
    assert summary["versions"]["scikit-learn"]
    assert '"p1"' not in text
    assert str(experiment) not in text


def test_the_records_are_those_of_a_bundle(trained: tuple[Path, dict[str, Any]]) -> None:
    experiment, found = trained
    assert found["classifier"]["agreement"] is None, "features of a table have no masks"
    (model,) = map(StudyModel.model_validate, found["classifier"]["models"])
    features, record = model.signature, model.classifier
    assert (model.name, model.roles, model.covariates) == ("radiomics", None, ())
    assert list(features.features) == found["signature"]["features"]
    assert record.positive == "PDAC"
    assert record.indeterminate[0] <= record.threshold <= record.indeterminate[1]
    measurements = read_measurements(experiment / "signature")
    columns = [measurements.features.index(name) for name in features.features]
    rows = measurements.cases(CROSS_VALIDATED)["values"][:, columns]
    for name, column in zip(features.features, rows.T, strict=True):
        assert features.ranges[name] == pytest.approx(np.percentile(column, [5, 50, 95]))

    onnx = (experiment / "classifier" / "radiomics.onnx").read_bytes()
    deployed = probabilities(onnx, rows)[:, 1]
    distance = relative_distances(record.typical, rows)
    told = [p for p in _predictions(experiment) if (p["part"], p["model"]) == ("resubstitution", "radiomics")]
    assert [float(p["unguarded"]) for p in told] == pytest.approx(deployed, abs=1e-12)
    for prediction, value, away in zip(told, deployed, distance, strict=True):
        inside = record.indeterminate[0] < value < record.indeterminate[1]
        expected = "unsuitable input" if away > 1 else "indeterminate" if inside else "ok"
        assert prediction["status"] == expected
        assert (prediction["probability"] == "") == (away > 1)


def test_the_seed_decides_every_byte(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, tables: dict[str, Path]
) -> None:
    experiment, _ = trained
    again = tmp_path / "again"
    _train(again, table=tables["first"], second=tables["second"], labels=tables["labels"])
    for file in ("signature/signature.json", "signature/features.csv", "classifier/radiomics.onnx",
                 "classifier/classifier.json", "classifier/predictions.csv", "classifier/cv.json"):  # fmt: skip
        assert (again / file).read_bytes() == (experiment / file).read_bytes(), file


def test_a_dead_canary_fails_the_command_and_writes_nothing(
    tmp_path: Path,
    tables: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The step as the command runs it, its cross-validation replaced by one that has seen the labels."""
    from scanside.runtime.cli.main import run

    monkeypatch.setattr(step, "fold_auc", lambda outcome, y, family: 0.83)
    code = run(
        ["train", "signature", str(tmp_path / "e"), "--table", str(tables["first"]), "--labels",
         str(tables["labels"]), "--folds", "2", "--repeats", "1", "--inner", "2", "--canary-runs", "3"]
    )  # fmt: skip
    assert code == 1
    assert "leaks between folds" in capsys.readouterr().err
    assert not (tmp_path / "e" / "signature" / "signature.json").exists()


def test_the_real_table() -> None:
    """A reduced run on 420 patients; the whole one is in results/npc."""
    from scanside.training.signature.document import TableSource
    from scanside.training.signature.settings import Scheme, Selection, Settings

    measurements, positive = real_table()
    settings = Settings(Selection(), Scheme(folds=3, repeats=1, inner=2), canary_runs=3)
    source = TableSource(table="first", second="second", labels="labels", patients=420)
    found = step.choose_signature(
        measurements, settings, (positive, "benign"), {}, source, lambda words: None
    )
    assert 0.75 < found.cv.low < found.cv.high < 0.92
    assert all(canary.passed for canary in found.canaries)
    assert found.cv.auc > found.baselines["volume"].auc
    assert found.path[0].features == 422
    assert len(found.features) == 9
