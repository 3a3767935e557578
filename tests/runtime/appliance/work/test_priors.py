"""An earlier result of the same patient stands beside the new one, with both dates; whose it is has to be certain."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from scanside.runtime.appliance.store import jobs, orders, priors, retention, verdicts
from scanside.runtime.appliance.store.states import Action
from tests.runtime.appliance.work.clinic import FIRST, SECOND, Clinic, comments, points
from tests.runtime.appliance.work.filled import shown
from tests.runtime.appliance.work.test_work import SCHEMA
from tests.runtime.study.tiny_study import TinyBundle, TinyStudy, write_bundle, write_dicom


@pytest.fixture
def clinic(tmp_path: Path, dicom_study: Path, bundle: Path) -> Iterator[Clinic]:
    made = Clinic(tmp_path, dicom_study, bundle)
    yield made
    made.close()


def test_the_report_states_both_sizes_with_their_dates(clinic: Clinic) -> None:
    first = clinic.visit(FIRST)
    assert points(clinic.report(first)) == [] and shown(clinic.database, first).status is not None
    second = clinic.visit(SECOND)
    report = clinic.report(second)
    found = points(report)
    then = [point for point in found if point[:2] == ("2026-01-01", 1)]
    now = [point for point in found if point[:2] == ("2026-07-01", 2)]
    assert then and now and {point[2:] for point in then} == {point[2:] for point in now}, "the same images"
    volume = now[0][2] / 1000
    assert f"{volume:.2f} ml" in comments(report) and "2026-01-01" in comments(report)
    assert "was not determined" in comments(report)
    document = clinic.config.results / str(shown(clinic.database, second).result) / "result.json"
    read = json.loads(document.read_text())
    jsonschema.validate(read, SCHEMA)
    assert read["prior"]["day"] == "2026-01-01" and read["prior"]["same_algorithm"]
    assert {size["role"] for size in read["prior"]["sizes"]} == {lesion["role"] for lesion in read["lesions"]}


def test_another_patient_or_one_that_is_not_certain_has_no_prior(clinic: Clinic) -> None:
    clinic.visit(FIRST)
    for patient, born in (("P2", "19600102"), ("P1", "19700102"), ("P1", ""), ("", "19600102")):
        assert points(clinic.report(clinic.visit(SECOND, patient, born))) == []


def test_what_does_not_count_as_a_prior(clinic: Clinic) -> None:
    """Neither a study of the same day or a later one, nor what a person called false."""
    first = clinic.visit(SECOND)
    second = clinic.visit(SECOND)
    assert points(clinic.report(second)) == [], "of the same day"
    early = clinic.visit(FIRST, deliver=False)
    assert points(clinic.report(early)) == [], "the others are later"
    last = clinic.visit("20270101")
    prior = clinic.prior(last)
    assert prior is not None and prior.day == date(2026, 7, 1)
    for case_id in (first, second):
        verdicts.mark(
            clinic.database, shown(clinic.database, case_id).job, "false lesion", "a cyst", "user ann"
        )
    left = clinic.prior(last)
    assert left is not None and left.day == date(2026, 1, 1), "that one is being sent"


def test_priors_outlive_retention_and_not_a_person_who_forgets(clinic: Clinic) -> None:
    first, second = clinic.visit(FIRST), clinic.visit(SECOND)
    uid = shown(clinic.database, first).study_uid
    assert retention.forget(clinic.database, uid, first)
    assert clinic.prior(second) is not None
    (row,) = clinic.database.rows("SELECT patient_id, patient_name FROM studies WHERE case_id = ?", (first,))
    assert tuple(row) == ("", ""), "no name stays"
    priors.forget_old(clinic.database, 1e-9)
    assert clinic.database.rows("SELECT 1 FROM sizes") == []


def test_who_forgets_a_study_forgets_its_sizes(clinic: Clinic) -> None:
    first = clinic.visit(FIRST)
    second = clinic.visit(SECOND)
    retention.forget_now(clinic.database, first, "user ann")
    assert clinic.prior(second) is None


def test_no_lesion_then_is_said_and_is_no_number(clinic: Clinic, tmp_path: Path) -> None:
    clinic.visit(FIRST, study=write_dicom(tmp_path / "empty", TinyStudy(t2w=(), dwi=())))
    other = write_bundle(tmp_path / "other.bundle", TinyBundle(indeterminate=(0.01, 0.999)))
    second = clinic.visit(SECOND)
    report = clinic.report(second)
    assert {point[1] for point in points(report)} == {2}
    assert "earlier, on 2026-01-01: no lesion segmented" in comments(report)
    assert "another bundle" not in comments(report)
    orders.rerun(clinic.database, second, "user ann", bundle=str(other))
    assert clinic.worker.step()
    assert "another bundle" in comments(clinic.report(second))


def test_priors_can_be_switched_off(tmp_path: Path, dicom_study: Path, bundle: Path) -> None:
    clinic = Clinic(tmp_path, dicom_study, bundle, retention={"prior_days": 0})
    clinic.visit(FIRST)
    assert points(clinic.report(clinic.visit(SECOND))) == []
    assert clinic.database.rows("SELECT 1 FROM jobs WHERE person IS NOT NULL") == []
    clinic.worker.close()


def test_a_rejected_result_is_no_prior(tmp_path: Path, dicom_study: Path, bundle: Path) -> None:
    clinic = Clinic(tmp_path, dicom_study, bundle, service={"require_review": True})
    first = clinic.visit(FIRST, deliver=False)
    jobs.act(clinic.database, shown(clinic.database, first).job, Action.REJECT, "user ann", "motion")
    assert points(clinic.report(clinic.visit(SECOND, deliver=False))) == []
    clinic.worker.close()
