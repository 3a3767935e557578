"""A frozen bundle on a second cohort of another scanner mix, with pathology joined afterwards."""

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from typer.main import get_command

from scanside.runtime.appliance.store import jobs, orders
from scanside.runtime.appliance.store.records import Outcome
from scanside.runtime.appliance.store.states import Action
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.write import write_mask
from scanside.runtime.options import Options
from scanside.runtime.record import json_schema
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.training.cohort.table import Patient, write_cohort_table
from scanside.training.evaluation import cli
from scanside.training.evaluation.frozen.drift import drift
from scanside.training.evaluation.frozen.results import Answer, find_results, read_answer, results_of_store
from scanside.training.evaluation.frozen.truth import read_pathology
from scanside.training.evaluation.records import Report
from scanside.training.experiment import cohort_hash
from tests.runtime.study.tiny_study import (
    ADC_OF,
    CENTRE,
    DWI_GRID,
    T2W_GRID,
    TinyBundle,
    TinyStudy,
    changed_manifest,
    places,
    write_bundle,
    write_nifti,
)
from tests.tui.desk import NOW, Desk

HIGH, LOW = ADC_OF["non-PDAC"], ADC_OF["PDAC"]
BALL = ((CENTRE, 14.0),)
AWAY = ((-CENTRE[0], -CENTRE[1], CENTRE[2]), 14.0)


@dataclass(frozen=True)
class Made:
    """A patient, and what the images show."""

    row: Patient
    study: TinyStudy
    reader: tuple[Any, ...] = BALL


def patient(name: str, diagnosis: str | None, site: str, scanner: str = "A") -> Patient:
    return Patient(name, "test", diagnosis, age=60.0, sex="F", scanner=scanner, field_t=3.0, site=site)


SECOND = (
    Made(patient("right", "PDAC", "North"), TinyStudy(adc=LOW)),
    Made(patient("other", "PNEN", "North"), TinyStudy(adc=HIGH, seed=1)),
    Made(patient("third", "SPN", "South", "B"), TinyStudy(adc=HIGH, seed=2)),
    Made(patient("late", None, "South", "B"), TinyStudy(adc=LOW, seed=3)),
    Made(patient("mistaken", "PNEN", "South", "B"), TinyStudy(adc=LOW, seed=4)),
    Made(patient("elsewhere", "PDAC", "South", "B"), TinyStudy(adc=LOW, seed=5), (AWAY,)),
    Made(patient("healthy", "none", "North"), TinyStudy(t2w=(), dwi=(), seed=6), ()),
)


def write_second(path: Path) -> Path:
    """The cohort on disk: images as a scanner leaves them, masks of a reader, no diagnosis of `late` yet."""
    for made in SECOND:
        folder = write_nifti(path / made.row.patient, made.study)
        for role, grid in (("t2w", T2W_GRID), ("dwi", DWI_GRID)) if made.reader else ():
            ((centre, radius),) = made.reader
            inside = np.linalg.norm(places(grid) - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius
            write_mask(inside.astype(np.uint8), grid, folder / f"{role}_mask.nii.gz")
    rows = [made.row for made in SECOND]
    write_cohort_table(path, rows, name="second", synthetic=True, description="", provenance={})
    return path


def evaluate(*words: str | Path) -> int:
    arguments = [*map(str, words), "--bootstrap", "100", "--device", "openvino"]
    return int(get_command(cli.app).main(args=arguments, standalone_mode=False) or 0)


def report_in(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


@dataclass(frozen=True)
class Judged:
    """What the tests share: the bundle, the second cohort, and the report on it."""

    bundle: Path
    cohort: Path
    out: Path

    @property
    def report(self) -> dict[str, Any]:
        return report_in(self.out)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    base = tmp_path_factory.mktemp("second")
    bundle, cohort = write_bundle(base / "bundle", TinyBundle(clinical=True)), write_second(base / "cohort")
    assert evaluate("--bundle", bundle, "--cohort", cohort, "-o", base / "out") == 0
    return Judged(bundle, cohort, base / "out")


def main_of(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = (model for model in report["classification"]["models"] if model["main"])
    return dict(found)


def test_the_report_is_an_experiments_with_a_part_of_its_own(judged: Judged) -> None:
    report = judged.report
    jsonschema.validate(report, json_schema(Report))
    assert report["synthetic"] and report["frozen"]["bundle"]["sha256"] == open_bundle(judged.bundle).sha256
    assert {row["part"] for row in report["segmentation"]["rows"]} == {"test"}
    assert {row["scanners"] for row in report["segmentation"]["rows"]} == {"all"}, (
        "nobody knows the training's"
    )
    assert report["segmentation"]["lesion_free"][0]["patients"] == 1
    page = (judged.out / "report.html").read_text()
    assert "The frozen bundle" in page and "By site" in page and "nothing was fitted" in page


def test_thresholds_and_probabilities_are_the_runtimes(judged: Judged) -> None:
    """Each probability is what the bundle says of that study with the age and sex of the table, to the last digit."""
    bundle = open_bundle(judged.bundle)
    with StudyRunner(bundle, Options(device="openvino")) as runner:
        study = read_study(judged.cohort / "other", runner.recipe.needed)
        result = runner.run(replace(study, covariates={"age": 60.0, "sex": "F"}))
    answer = read_answer(judged.out / "results" / "other")
    assert result.classification is not None and result.classification.probability is not None
    assert answer.probability == result.classification.probability.value
    assert answer.model == "t2w and dwi with age and sex" and answer.predicted == "non-PDAC"
    main = main_of(judged.report)
    assert main["model"] == "deployed" and main["confusion"]["threshold"] == 0.5
    assert main["statuses"] == {"ok": 5} and main["absent"] == 0
    without = [m for m in judged.report["classification"]["models"] if m["model"] == "t2w and dwi"]
    assert without[0]["auc"]["patients"] == 5, "the model without age and sex is heard on the same features"


def test_counts_by_hand(judged: Judged) -> None:
    """2 PDAC and 3 others with a diagnosis; `mistaken` is named PDAC; `elsewhere` was measured beside the lesion."""
    report = judged.report
    main = main_of(report)
    table = main["confusion"]
    assert [table[key] for key in ("true_positive", "false_positive", "false_negative", "true_negative")] == [
        2,
        1,
        0,
        2,
    ]
    assert (main["wrong_regions"]["wrong"], main["wrong_regions"]["patients"]) == (1, 5)
    joined = report["frozen"]["joined"]
    assert (joined["results"], joined["classified"], joined["lesion_free"]) == (7, 5, 1)
    assert joined["pending"] == ["late"]
    north, south = report["frozen"]["centres"]
    assert (north["site"], north["patients"], north["classified"], north["positives"]) == ("North", 3, 2, 1)
    assert (north["sensitivity"]["value"], north["specificity"]["value"], north["auc"]["value"]) == (
        1.0,
        1.0,
        1.0,
    )
    assert (south["classified"], south["specificity"]["value"]) == (3, 0.5)
    assert south["missed"] == {"t2w": 1, "dwi": 1} and north["missed"] == {"t2w": 0, "dwi": 0}
    statuses = [read_answer(judged.out / "results" / "healthy").status]
    assert statuses == ["no lesion segmented"]


def test_pathology_that_comes_later_computes_nothing_anew(judged: Judged, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (judged.out / "results").rglob("*")}
    csv_file = tmp_path / "pathology.csv"
    csv_file.write_text("case,diagnosis\nlate,PDAC\nnobody,SPN\nhealthy,none\n")
    shutil.copytree(judged.out, tmp_path / "out", copy_function=shutil.copy2)
    words = (
        "--bundle",
        judged.bundle,
        "--cohort",
        judged.cohort,
        "--pathology",
        csv_file,
        "--site",
        "scanner",
    )
    assert evaluate(*words, "-o", tmp_path / "out") == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").rglob("*.json")}
    assert {p.relative_to(tmp_path / "out"): t for p, t in after.items()} == {
        p.relative_to(judged.out): t for p, t in before.items() if p.suffix == ".json"
    }
    report = report_in(tmp_path / "out")
    assert main_of(report)["confusion"]["true_positive"] == 3
    assert report["frozen"]["joined"]["pending"] == []
    assert report["frozen"]["joined"]["without_result"] == ["nobody"]
    assert [centre["site"] for centre in report["frozen"]["centres"]] == ["A", "B"]


def test_before_any_diagnosis_masks_and_drift_are_judged(judged: Judged, tmp_path: Path) -> None:
    """A table without diagnoses: nobody counts as negative, and probabilities are not judged at all."""
    shutil.copytree(judged.cohort, tmp_path / "cohort")
    shutil.copytree(judged.out, tmp_path / "out")
    table = tmp_path / "cohort" / "cohort.csv"
    text = table.read_text()
    for word in ("PDAC", "PNEN", "SPN", "none"):
        text = text.replace(f",{word},", ",,")
    table.write_text(text)
    assert evaluate("--bundle", judged.bundle, "--cohort", tmp_path / "cohort", "-o", tmp_path / "out") == 0
    report = report_in(tmp_path / "out")
    assert report["classification"] is None and len(report["frozen"]["joined"]["pending"]) == 7
    assert report["segmentation"]["rows"][0]["patients"] == 6
    assert report["segmentation"]["without_reference"] == {"t2w": ["healthy"], "dwi": ["healthy"]}
    assert report["frozen"]["drift"]["features"] == judged.report["frozen"]["drift"]["features"]
    assert {centre["classified"] for centre in report["frozen"]["centres"]} == {0}


def test_results_of_the_appliance_with_decisions_and_pathology(judged: Judged, tmp_path: Path) -> None:
    """Results in folders by case and job, as the appliance has them; readers turned down one of two wrong ones."""
    for result in find_results(judged.out / "results"):
        for job in ("3", "12"):
            shutil.copytree(result.folder, tmp_path / "results" / result.case / job)
    with edited(tmp_path / "results" / "other" / "3" / "result.json") as document:
        document["probability"]["value"] = 0.99
    csv_file = tmp_path / "pathology.csv"
    rows = [
        ("right", "PDAC", "accepted", "North"), ("other", "PNEN", "accepted", "North"),
        ("mistaken", "SPN", "rejected", "South"), ("late", "SPN", "accepted", "South"), ("third", "SPN", "", "South"),
    ]  # fmt: skip
    with csv_file.open("w", newline="") as file:
        csv.writer(file).writerows([("case", "diagnosis", "decision", "hospital"), *rows])
    out = tmp_path / "out"
    words = ("--results", tmp_path / "results", "--pathology", csv_file, "--site", "hospital", "--synthetic")
    assert evaluate("--bundle", judged.bundle, *words, "-o", out) == 0
    report = report_in(out)
    assert report["segmentation"] is None, "nobody outlined anything"
    assert report["synthetic"] and main_of(report)["wrong_regions"] is None
    table = main_of(report)["confusion"]
    assert [table[key] for key in ("true_positive", "false_positive", "false_negative", "true_negative")] == [
        1,
        2,
        0,
        2,
    ]
    reading = {row["decision"]: row for row in report["frozen"]["reading"]["rows"]}
    assert (reading["accepted"]["right"], reading["accepted"]["wrong"], reading["rejected"]["wrong"]) == (
        2,
        1,
        1,
    )
    assert reading["undecided"]["patients"] == 3
    assert report["frozen"]["reading"]["wrong_not_accepted"]["value"] == 0.5
    assert sorted(report["frozen"]["joined"]["pending"]) == ["elsewhere", "healthy"]
    assert {centre["site"] for centre in report["frozen"]["centres"]} == {"North", "South", "unknown"}


@contextmanager
def edited(path: Path) -> Iterator[dict[str, Any]]:
    document = json.loads(path.read_text())
    yield document
    path.write_text(json.dumps(document))


def test_results_of_another_bundle_are_left_out_or_refused(judged: Judged, tmp_path: Path) -> None:
    shutil.copytree(judged.out / "results", tmp_path / "results")
    csv_file = tmp_path / "pathology.csv"
    csv_file.write_text("case,diagnosis\nright,PDAC\nother,PNEN\nthird,SPN\n")
    with edited(tmp_path / "results" / "third" / "result.json") as document:
        document["bundle"]["sha256"] = "0" * 64
    words = ("--bundle", judged.bundle, "--results", tmp_path / "results", "--pathology", csv_file)
    assert evaluate(*words, "-o", tmp_path / "out") == 0
    report = report_in(tmp_path / "out")
    assert report["frozen"]["joined"]["other_bundle"] == ["third"] and main_of(report)["auc"]["patients"] == 2
    for folder in (tmp_path / "results").iterdir():
        with edited(folder / "result.json") as document:
            document["bundle"]["sha256"] = "0" * 64
    with pytest.raises(InputError, match="None of the 7 results"):
        evaluate(*words, "-o", tmp_path / "out")


def test_what_cannot_be_judged_is_refused(judged: Judged, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs -o"):
        evaluate("--bundle", judged.bundle, "--cohort", judged.cohort)
    with pytest.raises(UsageError, match="--results with --pathology"):
        evaluate("--bundle", judged.bundle, "-o", tmp_path)
    with pytest.raises(UsageError, match="Give an experiment, or a bundle"):
        evaluate("--cohort", judged.cohort)
    csv_file = tmp_path / "p.csv"
    words = ("--bundle", judged.bundle, "--cohort", judged.cohort, "--pathology", csv_file, "-o", judged.out)
    csv_file.write_text("case,diagnosis\nright,SPN\n")
    with pytest.raises(InputError, match="says diagnosis SPN of case right, and the cohort's table PDAC"):
        evaluate(*words)
    csv_file.write_text("case,diagnosis\nlate,IPMN\n")
    with pytest.raises(InputError, match=r"p\.csv.*diagnosis 'IPMN' is not one of"):
        evaluate(*words)
    csv_file.write_text("case,diagnosis\nlate,PDAC\nlate,SPN\n")
    with pytest.raises(InputError, match="id is that of row 2"):
        evaluate(*words)
    csv_file.write_text("case,diagnosis\nright,pdac\n")
    with pytest.raises(InputError, match="differ by case only"):
        read_pathology(csv_file, "PDAC", None)
    with pytest.raises(InputError, match="lacks north"):
        evaluate(*words, "--site", "north")


def test_a_bundle_is_not_judged_on_the_patients_that_made_it(judged: Judged, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(judged.bundle, bundle)
    cohort = write_second(tmp_path / "cohort")
    table = cohort / "cohort.csv"
    table.write_text(table.read_text().replace(",test,", ",train,"))

    def trained(content: dict[str, Any]) -> None:
        content["provenance"] = {"cohort_sha256": cohort_hash(cohort)}

    changed_manifest(bundle, trained)
    with pytest.raises(InputError, match="trained on every patient"):
        evaluate("--bundle", bundle, "--cohort", cohort, "-o", tmp_path / "out")


def answer(number: int, **features: float) -> Answer:
    return Answer(
        f"c{number}", Path(), "ok", None, "", True, "t2w and dwi", {}, 0.5, None, number / 10, features, {}, {}
    )  # fmt: skip


def test_drift_by_hand(judged: Judged) -> None:
    """A feature that lies above its training range in 18 of 20 has drifted; one outside in 2 of 20 has not."""
    bundle = open_bundle(judged.bundle)
    names = bundle.manifest.models[0].signature.features[:2]
    answers = [
        answer(i, **{names[0]: 2.0 if i < 18 else 0.5, names[1]: 2.0 if i < 1 else -2.0 if i < 2 else 0.2})
        for i in range(20)
    ]
    found = drift(bundle, answers)
    first, second = found.features
    assert (first.above, first.below, first.drifted, first.shift) == (18, 0, True, 1.0)
    assert (second.above, second.below, second.drifted) == (1, 1, False)
    assert second.outside.value == 0.1 and second.shift == pytest.approx(0.1)
    assert found.unlike.value == pytest.approx(9 / 20), "distances from 1.1 to 1.9 of the accepted one"


def test_the_store_tells_which_result_counts_and_what_readers_decided(judged: Judged, tmp_path: Path) -> None:
    """A rejected one; one that nobody decided on; and one accepted before it was computed anew: the accepted counts."""
    desk = Desk(tmp_path / "data")
    rejected = desk.finish(1, 900, hold=True)
    desk.act(rejected, Action.REJECT, "wrong place")
    waiting = desk.finish(2, 800, hold=True)
    accepted = desk.finish(3, 700, hold=True)
    desk.act(accepted, Action.ACCEPT)
    first = desk.case(accepted).job
    orders.rerun(desk.database, accepted, "user Bob", now=NOW)
    again = jobs.claim(desk.database, "w", NOW + 1)
    assert again is not None and again.case_id == accepted
    made = Outcome(
        "ok", None, 0.2, 0.1, 0.3, f"{accepted}/{again.job}", {}, (), positive="PDAC", named="non-PDAC"
    )
    jobs.succeed(desk.database, again.job, made, hold=True, now=NOW + 2)
    places = {rejected: "mistaken", waiting: "third", accepted: "right"}
    for case, source in places.items():
        job = first if case == accepted else desk.case(case).job
        shutil.copytree(judged.out / "results" / source, desk.config.results / case / str(job))
    shutil.copytree(judged.out / "results" / "other", desk.config.results / accepted / str(again.job))
    found = {one.case: one for one in results_of_store(desk.config.database.parent, desk.config.results)}
    assert {case: one.decision for case, one in found.items()} == {
        rejected: "rejected", waiting: None, accepted: "accepted",
    }  # fmt: skip
    assert found[accepted].folder.name == str(first)
    table = tmp_path / "pathology.csv"
    table.write_text(f"case,diagnosis\n{rejected},SPN\n{waiting},SPN\n{accepted},PDAC\n")
    words = (
        "--results",
        desk.config.results,
        "--store",
        desk.config.database,
        "--pathology",
        table,
        "--synthetic",
    )
    assert evaluate("--bundle", judged.bundle, *words, "-o", tmp_path / "out") == 0
    rows = {row["decision"]: row for row in report_in(tmp_path / "out")["frozen"]["reading"]["rows"]}
    assert (rows["accepted"]["right"], rows["rejected"]["wrong"], rows["undecided"]["right"]) == (1, 1, 1)
