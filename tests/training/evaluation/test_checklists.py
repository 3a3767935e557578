"""Checklists: every row is shown somewhere or not met with a reason, and follows what the report holds."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scanside.training.evaluation.checklists import FACTS, TABLE, checklists
from scanside.training.evaluation.records import Checklist, Report

ROOT = Path(__file__).parents[3]
COUNTS = {"METRICS": 30, "CLEAR": 58, "TRIPOD+AI": 52}


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    """The report of the phantom's study, as its run left it."""
    found: dict[str, Any] = json.loads((ROOT / "results" / "phantom-254" / "report.json").read_text())
    for model in found["classification"]["models"]:
        model.setdefault("against", [])
        model.setdefault("wrong_regions", None)
        model.setdefault("auc_unguarded", model["auc"])
    found["classification"].setdefault("added", [])
    return found


def rows_of(lists: list[Checklist], name: str) -> dict[str, Any]:
    (found,) = (one for one in lists if one.name == name)
    return {row.item: row for row in found.rows}


def test_the_lists_are_whole_and_every_fact_is_known() -> None:
    with TABLE.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert Counter(row["list"] for row in table) == COUNTS
    for name in COUNTS:
        items = [row["item"] for row in table if row["list"] == name]
        assert len(set(items)) == len(items)
    assert {row["fact"] for row in table} - {"conditional"} == set(FACTS)


def test_every_row_is_shown_or_says_why_not(committed: dict[str, Any]) -> None:
    for one in checklists(Report.model_validate(committed)):
        assert one.applicable == COUNTS[one.name] - (one.name == "METRICS")
        assert one.met == sum(row.state == "met" for row in one.rows) > 5
        for row in one.rows:
            assert (row.state == "met") == (row.artefact is not None) == (row.why is None)


def test_a_phantom_has_no_patients_centres_or_external_test(committed: dict[str, Any]) -> None:
    rows = rows_of(checklists(Report.model_validate(committed)), "METRICS")
    assert {rows[item].state for item in ("2", "3", "4", "5", "6", "7", "27")} == {"not met"}
    met = ("9", "14", "15", "18", "21", "22", "23", "24", "26", "28", "29")
    assert {rows[item].state for item in met} == {"met"}
    assert rows["17"].state == "not applicable"


def test_rows_follow_what_the_report_holds(committed: dict[str, Any]) -> None:
    """Without masks, a classifier or a living canary the rows that they show are not met."""
    without = {**committed, "segmentation": None}
    assert rows_of(checklists(Report.model_validate(without)), "METRICS")["9"].state == "not met"
    without = {**committed, "classification": None}
    rows = rows_of(checklists(Report.model_validate(without)), "TRIPOD+AI")
    assert {rows[item].state for item in ("12e", "15", "21", "23a")} == {"not met"}
    dead = json.loads(json.dumps(committed))
    dead["classification"]["canaries"][0]["passed"] = False
    assert rows_of(checklists(Report.model_validate(dead)), "METRICS")["18"].state == "not met"
    few = json.loads(json.dumps(committed))
    few["cohort"]["diagnoses"]["train"] = {"PDAC": 40, "PNEN": 20, "SPN": 19}
    row = rows_of(checklists(Report.model_validate(few)), "METRICS")["16"]
    assert row.state == "not met" and "4.3 patients" in (row.why or "")


def test_patients_of_two_centres(committed: dict[str, Any]) -> None:
    real = json.loads(json.dumps(committed))
    real["synthetic"] = False
    main = next(m for m in real["classification"]["models"] if m["main"] and m["part"] == "test")
    main["subgroups"] += [{"property": "site", "value": name, "auc": main["auc"]} for name in ("A", "B")]
    rows = rows_of(checklists(Report.model_validate(real)), "METRICS")
    assert (rows["4"].state, rows["5"].state, rows["27"].state, rows["28"].state) == (
        "met",
        "met",
        "not met",
        "not met",
    )
