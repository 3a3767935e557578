"""`scanside evaluate` on a small experiment that is whole."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from typer.main import get_command

from scanside.runtime.errors import InputError, UsageError
from scanside.training.cohort.table import read_cohort
from scanside.training.evaluation import cli
from scanside.training.evaluation.cases import measure, measure_all
from scanside.training.evaluation.fused import fused_rows
from scanside.training.evaluation.html import glance
from scanside.training.evaluation.records import Report
from scanside.training.evaluation.report import evaluate as measure_experiment
from scanside.training.evaluation.report import neutral
from scanside.training.experiment import Experiment, open_experiment
from tests.training.evaluation.experiments import (
    HELD_OUT,
    SCHEMA,
    SPACING,
    Size,
    ball,
    evaluate,
    make_experiment,
    read,
    rows_of,
    write_image,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return make_experiment(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def report(experiment: Experiment) -> dict[str, Any]:
    assert evaluate(experiment.path) == 0
    return read(experiment)


def test_the_report_keeps_to_its_schema(report: dict[str, Any]) -> None:
    jsonschema.validate(report, SCHEMA)
    assert report["synthetic"] and "not clinical performance" in report["warnings"][0]
    assert report["missing"] == []
    assert report["cohort"]["held_out_scanners"] == [HELD_OUT]
    assert report["records"]["segment-t2w"]["configuration"] == {"epochs": 3}
    assert "NaN" not in json.dumps(report)


def test_rows_are_the_means_of_their_cases(experiment: Experiment, report: dict[str, Any]) -> None:
    with (experiment.evaluation / "cases.csv").open(newline="") as file:
        cases = list(csv.DictReader(file))
    patients = {patient.patient: patient for patient in read_cohort(experiment.cohort).patients}
    assert len(cases) == 2 * (18 + 18 + 12)
    for row in report["segmentation"]["rows"]:
        low, high = {"all": (0, 999), "< 20 mm": (0, 19.99), "20–40 mm": (20, 40), "> 40 mm": (40.01, 999)}[
            row["size"]
        ]
        own = [
            case
            for case in cases
            if (case["role"], case["part"]) == (row["role"], row["part"])
            and low <= patients[case["patient"]].lesion_mm <= high
            and {"all": True, "held-out": patients[case["patient"]].scanner == HELD_OUT,
                 "known": patients[case["patient"]].scanner != HELD_OUT}[row["scanners"]]
        ]  # fmt: skip
        assert row["patients"] == len(own) > 0
        for key, column in (("dice", "dice"), ("hd95_mm", "hd95_mm"), ("volume_error_ml", "volume_error_ml")):
            mean = np.mean([float(case[column]) for case in own])
            assert row[key]["value"] == pytest.approx(mean, rel=1e-4)
            interval = row[key]["interval"]
            assert (interval is None) == (len(own) < 2)
            assert interval is None or interval[0] - 1e-4 <= row[key]["value"] <= interval[1] + 1e-4
        found, lesions = (sum(int(case[column]) for case in own) for column in ("found", "lesions"))
        assert row["sensitivity"]["value"] == pytest.approx(found / lesions, rel=1e-4)
        assert row["missed"] == sum(case["missed"] == "True" for case in own)
    assert {row["scanners"] for row in rows_of(report, part="test")} == {"all", "known", "held-out"}
    assert {row["scanners"] for row in rows_of(report, part="cross-validated")} == {"all"}
    best = [
        rows_of(report, role="t2w", part=p, size="all", scanners="all")[0] for p in ("resubstitution", "test")
    ]
    assert best[0]["dice"]["value"] > best[1]["dice"]["value"]


def test_spacing_of_a_file_reaches_the_distances_in_the_right_order(experiment: Experiment) -> None:
    """Two balls one slice apart: the files say spacing x, y, z = 1.5, 2, 6 mm, and the shift must cost 6 mm."""
    cohort = read_cohort(experiment.cohort)
    cases, _ = measure_all(experiment, cohort)
    shape = (10, 40, 44)
    reference = ball(shape, np.array([27.0, 40.0, 33.0]), 16.0)
    direct = measure(reference, np.roll(reference, 1, axis=0), SPACING)
    wrong = measure(reference, np.roll(reference, 1, axis=0), SPACING[::-1])
    assert direct.hd95_mm == pytest.approx(6.0) and wrong.hd95_mm < 3.1
    assert direct.reference_ml == pytest.approx(reference.sum() * 18e-3)
    patient = cohort.patients[0]
    own = make_experiment(experiment.path.parent / "order", Size(2, 2))
    write_image(cohort_mask := own.cohort / patient.patient / "t2w_mask.nii.gz", reference.astype(np.uint8))
    write_image(own.masks("resubstitution", "t2w") / cohort_mask.name.replace("t2w_mask", patient.patient),
                np.roll(reference, 1, axis=0).astype(np.uint8))  # fmt: skip
    read_back, _ = measure_all(own, read_cohort(own.cohort))
    case = next(
        c for c in read_back if (c.patient, c.part, c.role) == (patient.patient, "resubstitution", "t2w")
    )
    assert case.hd95_mm == pytest.approx(6.0) and case.dice == direct.dice and case.nsd_2mm == direct.nsd_2mm
    assert len(cases) == 96


def test_missed_lesions_are_counted_and_never_dropped() -> None:
    reference, nothing = (
        ball((10, 40, 44), np.array([30.0, 40.0, 18.0]), 12.0),
        np.zeros((10, 40, 44), dtype=bool),
    )
    elsewhere = np.roll(reference, 20, axis=2)
    empty, away = measure(reference, nothing, SPACING), measure(reference, elsewhere, SPACING)
    diagonal = float(np.linalg.norm(np.array((10, 40, 44)) * SPACING))
    assert (empty.dice, empty.empty, empty.missed, empty.false_positives) == (0, True, True, 0)
    assert empty.hd95_mm == empty.masd_mm == pytest.approx(diagonal)
    assert empty.relative_volume_error == -1
    assert (away.dice, away.empty, away.missed, away.false_positives) == (0, False, True, 1)
    assert away.hd95_mm < diagonal / 2
    healthy = measure(nothing, elsewhere, SPACING)
    assert (healthy.lesions, healthy.missed, healthy.false_positives) == (0, False, 1)


def test_the_signature_its_canaries_and_what_it_is_compared_with(report: dict[str, Any]) -> None:
    found = report["classification"]
    assert found["main_model"] == "radiomics" and found["selection_path"][-1] == ["signature", 9]
    assert [canary["passed"] for canary in found["canaries"]] == [True, True]
    assert found["canaries"][0]["runs"] == 20 and 0 < found["canaries"][0]["power"]["0.05"] < 0.2
    assert [(row["masks"], row["auc"]["value"]) for row in found["ablation"]] == [
        ("automatic", 0.77),
        ("reference masks", 0.81),
    ]
    assert [(row["site"], row["auc"]["interval"]) for row in found["left_out"]] == [
        ("North", [0.4, 1.0]),
        ("South", None),
    ]
    assert found["ablation"][0]["division_sd"] == pytest.approx(0.0173, abs=1e-4)


def test_models_and_patients_without_a_probability(report: dict[str, Any]) -> None:
    found = report["classification"]
    assert {(m["model"], m["part"]) for m in found["models"]} == {
        (model, part)
        for model in ("radiomics", "combined", "volume", "adc_mean", "clinical")
        for part in ("resubstitution", "cross-validated", "test")
    }
    for result in found["models"]:
        of = 12 if result["part"] == "test" else 18
        assert (
            result["auc"]["patients"] + result["without_probability"]
            == of
            == sum(result["statuses"].values())
        )
        statuses = result["statuses"]
        withheld = statuses.get("unsuitable input", 0)
        assert statuses.get("no lesion segmented", 0) + withheld == result["without_probability"]
        assert result["auc_unguarded"]["patients"] == result["auc"]["patients"] + withheld
        assert withheld == (result["main"] and result["part"] != "cross-validated")
        wrong, half, value = (
            result[key]["value"] for key in ("auc_undecided_as_wrong", "auc_undecided_as_half", "auc")
        )
        if result["without_probability"]:
            assert wrong < value and wrong < half
        else:
            assert wrong == half == value
        assert (result["comparison"] is None) == result["main"] == (result["confusion"] is not None)


def test_what_the_main_model_decides_adds_to_and_says_of_subgroups(
    experiment: Experiment, report: dict[str, Any]
) -> None:
    found = report["classification"]
    main = next(m for m in found["models"] if m["main"] and m["part"] == "cross-validated")
    table, open_ones = main["confusion"], main["indeterminate"]
    counted = sum(
        table[key] for key in ("true_positive", "false_positive", "false_negative", "true_negative")
    )
    assert counted == main["auc"]["patients"] == open_ones["indeterminate"] + open_ones["decided"]
    with (experiment.classifier / "predictions.csv").open(newline="") as file:
        said = [
            row
            for row in csv.DictReader(file)
            if (row["model"], row["part"]) == ("radiomics", "cross-validated")
        ]
    assert open_ones["indeterminate"] == sum(row["status"] == "indeterminate" for row in said)
    for added in found["added"]:
        p = added["likelihood_ratio_p"]
        assert p is None or 0 <= p <= 1, "null where the classes are separated"
    assert {added["part"] for added in found["added"]} == {"resubstitution", "cross-validated", "test"}
    against = {d["diagnosis"]: d["auc"] for d in main["against"]}
    assert set(against) <= {"PNEN", "SPN"} and against
    negatives = main["auc"]["patients"] - main["auc"]["positives"]
    assert sum(a["patients"] - a["positives"] for a in against.values()) == negatives
    groups = {(g["property"], g["value"]): g["auc"]["patients"] for g in main["subgroups"]}
    assert sum(n for (name, _), n in groups.items() if name == "sex") == main["auc"]["patients"]


def test_the_studys_figures_stand_beside_ours(report: dict[str, Any]) -> None:
    rows = {(row["quantity"], row["part"]): row for row in report["published"]}
    assert rows["Dice T2WI", "test"]["published"] == 0.64
    assert rows["Dice DWI, lesions < 20 mm", "test"]["published"] == 0.62
    assert rows["AUC, PDAC against PNEN and SPN", "test"]["published"] == 0.79
    ours = rows_of(report, role="dwi", part="test", scanners="all", size="all")[0]
    assert rows["Dice DWI", "test"]["ours"] == ours["dice"] and rows["Dice DWI", "test"]["patients"] == 12


def test_the_studys_area_stands_beside_the_features_alone() -> None:
    """The committed run deploys age and sex too: its area once stood where the study's nine features have theirs."""
    whole = Report.model_validate_json((ROOT / "results" / "phantom-254" / "report.json").read_bytes())
    rows = {row["name"]: row for row in glance(whole)}
    beside = rows["AUC, PDAC against PNEN and SPN, features alone"]
    ours = next(row for row in whole.published if row.quantity.startswith("AUC") and row.part == "test")
    assert beside["study"] == [0.968, 0.79] and beside["ours"][2] == (ours.ours, ours.patients)
    deployed = rows["AUC, PDAC against PNEN and SPN, as deployed"]
    assert deployed["study"] == [None, None] and deployed["ours"][2][0].value > ours.ours.value


def test_the_page_is_whole_in_itself(experiment: Experiment, report: dict[str, Any]) -> None:
    page = (experiment.evaluation / "report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,)', page) == []
    assert "Synthetic performance is not clinical performance" in page and "patients (published)" in page
    assert page.count("data:image/png;base64,") == len(report["figures"]) == 9
    words = re.sub(r"<style.*?</style>|<[^>]+>|data:image[^\"]+", " ", page, flags=re.DOTALL)
    assert "nan" not in words.split() and "None" not in words
    assert "Research use only" in words
    for name in report["figures"]:
        with Image.open(experiment.evaluation / name) as picture:
            assert min(picture.size) > 250 and np.asarray(picture.convert("L")).std() > 10


def test_the_same_seed_gives_the_same_numbers(experiment: Experiment, report: dict[str, Any]) -> None:
    again, other = (measure_experiment(experiment.path, repeats=100, seed=seed) for seed in (0, 1))
    assert again.segmentation and again.classification and other.segmentation and other.classification
    for name, same, different in (
        ("segmentation", again.segmentation, other.segmentation),
        ("classification", again.classification, other.classification),
    ):
        assert _rounded(same.model_dump(mode="json")) == report[name]
        assert _rounded(different.model_dump(mode="json")) != report[name]
    dice, before = other.segmentation.rows[0].dice, report["segmentation"]["rows"][0]["dice"]
    assert dice.value == pytest.approx(before["value"], rel=1e-5)
    assert dice.interval != pytest.approx(before["interval"], rel=1e-5)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def test_records_do_not_tell_folders_of_the_machine() -> None:
    record = {"command": ["scanside", "train", "/home/someone/cohort"], "n": 3, "deep": {"folder": "/a/b"}}
    assert neutral(record) == {"command": ["scanside", "train", "cohort"], "n": 3, "deep": {"folder": "b"}}


def test_what_a_sequence_gains_from_the_other_is_measured_on_the_same_patients(
    experiment: Experiment, tmp_path: Path
) -> None:
    """Masks that were set aside are worse by one row of voxels; the differences are those of the measured cases."""
    path = shutil.copytree(experiment.path, tmp_path / "experiment")
    opened, cohort = open_experiment(path), read_cohort(experiment.cohort)
    cases, _ = measure_all(opened, cohort)
    assert fused_rows(opened, cohort, cases, repeats=100, seed=0) == []
    opened.masks_alone("test", "t2w").mkdir(parents=True)
    worse = {}
    for file in sorted(opened.masks("test", "t2w").glob("*.nii.gz")):
        image = sitk.ReadImage(str(file))
        data = sitk.GetArrayFromImage(image)
        data[:, data.any(axis=(0, 2)).argmax()] = 0
        other = sitk.GetImageFromArray(data)
        other.CopyInformation(image)
        sitk.WriteImage(other, str(opened.masks_alone("test", "t2w") / file.name))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.mask(file.name.split(".")[0], "t2w")))) > 0
        worse[file.name.split(".")[0]] = 2 * (truth & (data > 0)).sum() / (truth.sum() + (data > 0).sum())
    rows = fused_rows(opened, cohort, cases, repeats=100, seed=0)
    assert {(row.role, row.part) for row in rows} == {("t2w", "test")}
    whole = next(row for row in rows if row.size == "all")
    now = {case.patient: case.dice for case in cases if (case.role, case.part) == ("t2w", "test")}
    assert whole.patients == len(now) == len(worse)
    assert whole.alone.value == pytest.approx(np.mean(list(worse.values())))
    assert whole.together.value == pytest.approx(np.mean(list(now.values())))
    assert whole.difference.value == pytest.approx(np.mean([now[name] - worse[name] for name in now]))
    assert sum(row.patients for row in rows if row.size != "all") == whole.patients


def test_a_folder_may_be_called_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the documents: the word is the folder and the command at once. Where there is such a folder, it is read."""
    monkeypatch.chdir(tmp_path)
    command = get_command(cli.app)
    with pytest.raises(UsageError, match="Give an experiment"):
        command.main(args=["experiment"], standalone_mode=False)
    (tmp_path / "experiment").mkdir()
    with pytest.raises(InputError, match="experiment is not an experiment folder"):
        command.main(args=["experiment", "--bootstrap", "100", "-o", "report"], standalone_mode=False)
