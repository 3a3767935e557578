"""A complete study waits for what it lacks, in the store: once, for a bounded time, and whatever came of it is said."""

import threading
from pathlib import Path

import pytest

from scanside.runtime.appliance.store import fetches, intake, jobs
from scanside.runtime.appliance.store.audit import entries
from scanside.runtime.appliance.store.fetches import LATE
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.cli.queue_text import line_of, state_of
from scanside.runtime.remark import Remark
from tests.runtime.appliance.work.filled import ASSOCIATION, configured, opened, received, shown

pytestmark = pytest.mark.requirement("asked-for")

NOW = 1e10


def test_a_study_waits_and_its_result_says_what_was_not_fetched(
    tmp_path: Path, bundle: Path, dicom_study: Path
) -> None:
    config, database = opened(configured(tmp_path, bundle))
    files = [file for file in sorted(dicom_study.rglob("*.dcm")) if "/adc/" not in str(file)]
    case_id = received(config, database, files, complete=False)
    intake.close_association(database, ASSOCIATION)

    def complete(at: float) -> list[str]:
        return intake.complete_studies(database, quiet_seconds=0, series=None, fetch_seconds=60, now=at)

    assert complete(NOW) == [] and complete(NOW + 59) == []
    case = shown(database, case_id)
    assert case.state is State.RECEIVING and state_of(case, NOW) == "receiving: fetching"
    assert line_of(case, names=False, stages=False) == f"{case_id} receiving: fetching"
    due = fetches.due(database, NOW)
    assert due is not None and (due.case_id, due.patient_id, due.tries) == (
        case_id,
        case.patient.patient_id,
        0,
    )
    fetches.try_again(database, due, "it is down", 20, NOW)
    assert fetches.due(database, NOW + 19) is None
    due = fetches.due(database, NOW + 20)
    assert due is not None and due.tries == 1
    fetches.end(database, due, {}, Remark("The study lacks an ADC map.", "fetch-failed"), NOW + 21)
    assert complete(NOW + 22) == [case_id] and shown(database, case_id).stage is None
    worker = Worker(config, database, threading.Event())
    assert worker.step()
    worker.close()
    codes = [one.code for one in shown(database, case_id).warnings or ()]
    assert "fetch-failed" in codes and "adc-computed" in codes
    database.close()


def test_time_ends_a_fetch_that_nobody_ends(tmp_path: Path, bundle: Path, dicom_study: Path) -> None:
    """Whatever became of the thread: a study is never lost, and is looked for once."""
    config, database = opened(configured(tmp_path, bundle))
    first = sorted(dicom_study.rglob("*.dcm"))[:1]
    case_id = received(config, database, first, complete=False)
    intake.close_association(database, ASSOCIATION)

    def complete(at: float, seconds: float | None = 60) -> list[str]:
        return intake.complete_studies(database, quiet_seconds=0, series=None, fetch_seconds=seconds, now=at)

    assert complete(NOW) == [] and complete(NOW + 61) == [case_id]
    case = shown(database, case_id)
    said = fetches.remark_of(database, case.job)
    assert said == LATE and said is not None and said.code == "fetch-late"
    assert [one.action for one in entries(database)][-2:] == ["fetch failed", Action.COMPLETE]
    received(config, database, sorted(dicom_study.rglob("*.dcm"))[1:2], complete=False)
    intake.close_association(database, ASSOCIATION)
    assert shown(database, case_id).state is State.RECEIVING
    assert complete(NOW + 62) == [case_id], "once for each job"
    database.close()


@pytest.mark.parametrize("seconds", [None, 60])
def test_a_study_that_a_person_cancels_is_not_asked_for(
    tmp_path: Path, bundle: Path, dicom_study: Path, seconds: float | None
) -> None:
    config, database = opened(configured(tmp_path, bundle))
    case_id = received(config, database, sorted(dicom_study.rglob("*.dcm"))[:1], complete=False)
    intake.close_association(database, ASSOCIATION)
    queued = intake.complete_studies(database, quiet_seconds=0, series=None, fetch_seconds=seconds, now=NOW)
    assert queued == ([] if seconds else [case_id])
    assert (fetches.due(database, NOW) is None) is (seconds is None)
    jobs.act(database, shown(database, case_id).job, Action.CANCEL, "test")
    assert fetches.due(database, NOW) is None
    database.close()
