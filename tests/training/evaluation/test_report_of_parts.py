"""`scanside evaluate` on experiments with parts of them absent, and on those that cannot be judged."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from scanside.runtime.errors import GeometryError, InputError
from scanside.training.experiment import open_experiment, write_document
from scanside.training.signature.document import SIGNATURE, CanaryRow
from tests.training.evaluation.experiments import (
    SCHEMA,
    Size,
    evaluate,
    make_experiment,
    read,
    rows_of,
    signature_document,
    write_classifier,
    write_image,
)


def test_segmentation_alone_and_folds_that_are_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_experiment(tmp_path, Size(6, 4, (8, 24, 26)))
    (made.classifier / "predictions.csv").unlink()
    for file in made.masks("resubstitution", "dwi").iterdir():
        file.unlink()
    next(made.masks("cross-validated", "t2w").iterdir()).unlink()
    assert evaluate(made.path) == 0
    report = read(made)
    jsonschema.validate(report, SCHEMA)
    assert report["classification"] is None
    assert report["missing"] == [
        "Segmentation, T2WI, cross-validated: 1 of 6 masks missing.",
        "Segmentation, DWI, resubstitution: no mask.",
        "No predictions of a classifier: the part on classification is absent.",
    ]
    assert rows_of(report, role="t2w", part="cross-validated", size="all")[0]["patients"] == 5
    printed = capsys.readouterr()
    assert "1 of 6 masks missing" in printed.err and printed.out.splitlines()[0].endswith("report.html")
    assert "1 of 6 masks missing" in (made.evaluation / "report.html").read_text()


def test_classification_alone_without_a_classifier_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_experiment(tmp_path, Size(10, 8, (8, 24, 26)))
    for file in (made.path / "masks").rglob("*.nii.gz"):
        file.unlink()
    (made.classifier / "classifier.json").unlink()
    (made.signature / "signature.json").unlink()
    folder = tmp_path / "elsewhere"
    assert evaluate(made.path, "-o", str(folder), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((folder / "report.json").read_text()) and not made.evaluation.exists()
    jsonschema.validate(report, SCHEMA)
    assert report["segmentation"] is None and report["classification"]["selection_path"] is None
    assert report["missing"] == [
        "No automatic mask: the part on segmentation is absent.",
        "No classifier.json with a threshold: confusion and indeterminate band are absent.",
    ]
    assert all(model["confusion"] is None for model in report["classification"]["models"])
    assert "dice.png" not in report["figures"] and "roc.png" in report["figures"]


def test_one_class_alone_has_no_area(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, Size(6, 4, (8, 24, 26)))
    shutil.rmtree(made.path / "masks")
    (made.classifier / "predictions.csv").write_text(
        "patient,part,model,probability,status\nP006,test,radiomics,0.7,ok\nP007,test,radiomics,,unsuitable input\n"
    )
    assert evaluate(made.path) == 0
    result = read(made)["classification"]["models"][0]
    assert result["auc"]["value"] is None and result["calibration"] is None and result["absent"] == 2
    assert "2 patients without a row" in " ".join(read(made)["missing"])


def test_a_dead_canary_is_the_first_thing_said(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, Size(2, 2, (6, 20, 20)))
    shutil.rmtree(made.path / "masks")
    dead = CanaryRow(
        name="noise features", auc=0.71, low=0.6, high=0.8, passed=False, level=0.999, runs=(0.71,)
    )
    write_document(made.signature / SIGNATURE, signature_document(canaries=(dead,)))
    assert evaluate(made.path) == 0
    report = read(made)
    assert "AUC of 0.71 where there is nothing to learn" in " ".join(report["warnings"])
    assert report["classification"]["canaries"][0]["interval"] == [0.6, 0.8]
    assert "– failed" in (made.evaluation / "report.html").read_text()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P999,test,radiomics,0.5,ok", "not in the cohort"),
        ("P000,test,radiomics,0.5,ok", "of the train split has a prediction of part test"),
        ("P000,training,radiomics,0.5,ok", "no part 'training'"),
        ("P000,resubstitution,radiomics,1.5,ok", "not a probability"),
        ("P000,resubstitution,radiomics,,ok", "no reason why"),
        ("P001,resubstitution,volume,0.5,ok\nP001,resubstitution,volume,0.6,ok", "second prediction"),
    ],
)
def test_predictions_that_cannot_be_right_are_refused(tmp_path: Path, row: str, words: str) -> None:
    made = make_experiment(tmp_path, Size(2, 2, (6, 20, 20)))
    (made.classifier / "predictions.csv").write_text(f"patient,part,model,probability,status\n{row}\n")
    with pytest.raises(InputError, match=words) as error:
        evaluate(made.path)
    assert "predictions.csv, line" in str(error.value)


def test_experiments_that_cannot_be_judged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an experiment"):
        evaluate(tmp_path)
    made = make_experiment(tmp_path, Size(2, 2, (6, 20, 20)))
    write_image(made.masks("test", "t2w") / "P002.nii.gz", np.zeros((6, 20, 20), np.uint8), (5.0, 2.0, 1.5))
    with pytest.raises(GeometryError, match=r"P002\.nii\.gz does not lie on the grid of its reference"):
        evaluate(made.path)
    (made.classifier / "classifier.json").write_text('{"models": [{"classifier": {"threshold": "high"}}]}')
    with pytest.raises(
        InputError,
        match=r"damaged \(agreement: Field required\); run `scanside train classifier` again",
    ):
        write_image(made.masks("test", "t2w") / "P002.nii.gz", np.zeros((6, 20, 20), np.uint8))
        evaluate(made.path)
    write_classifier(made)
    for file in [*(made.path / "masks").rglob("*.nii.gz"), made.classifier / "predictions.csv"]:
        file.unlink()
    with pytest.raises(InputError, match="neither masks nor predictions"):
        evaluate(made.path)
    table = made.cohort / "cohort.csv"
    table.write_text(table.read_text().replace("P003,test", "P003,train"))
    with pytest.raises(InputError, match="changed since"):
        evaluate(made.path)
    assert open_experiment(made.path).path == made.path
