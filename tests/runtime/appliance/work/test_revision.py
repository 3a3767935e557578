"""Several results of one study: each says when it was made, which one it is, and what it takes the place of."""

import shutil
import threading
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import jobs, orders, outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.appliance.work.main import Worker
from tests.runtime.appliance.work.filled import PACS, configured, opened, received, shown
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support.dciodvfy import errors_of

pytestmark = pytest.mark.requirement("once")


def sent(config: Config, database: Database, job: int) -> dict[str, list[Any]]:
    """Kind → the objects of a job, all of which have left."""
    items = outbox.of_job(database, job)
    outbox.stored(database, items, commitment=False)
    found: dict[str, list[Any]] = {}
    for item in items:
        assert errors_of(config.results / item.path) == [], item.kind
        found.setdefault(item.kind, []).append(pydicom.dcmread(config.results / item.path))
    return found


def predecessors(report: Any) -> list[tuple[str, str, str]]:
    """Study, series and object that a report names as the ones before it."""
    return [
        (study.StudyInstanceUID, series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, dicom_study: Path, bundle: Path) -> Any:
    """T2WI and ADC are sent and computed; then the DWI comes; then another bundle, and the first one again."""
    tmp_path = tmp_path_factory.mktemp("revisions")
    pacs = {**PACS, "rule": {"objects": ["seg", "sr", "sc", "key", "reject", "gsps"]}}
    config, database = opened(configured(tmp_path, bundle, destinations=[pacs]))
    study = Path(shutil.copytree(dicom_study, tmp_path / "study"))
    late = sorted((study / "b" / "dwi").rglob("*.dcm"))
    early = [file for file in sorted(study.rglob("*.dcm")) if file not in late]
    worker = Worker(config, database, threading.Event())
    made = []
    case_id = received(config, database, early)
    assert worker.step()
    made.append(sent(config, database, 1))
    received(config, database, late)
    assert worker.step()
    made.append(sent(config, database, 2))
    other = write_bundle(tmp_path / "other.bundle", TinyBundle(indeterminate=(0.01, 0.999)))
    for chosen in (str(other), None, None):
        orders.rerun(database, case_id, "user ann", bundle=chosen)
        assert worker.step()
        made.append(sent(config, database, shown(database, case_id).job))
    worker.close()
    yield made
    database.close()


def test_every_object_has_the_time_of_its_job(results: list[dict[str, list[Any]]]) -> None:
    now = datetime.now()
    for made in results:
        for one in (one for objects in made.values() for one in objects):
            name = "PresentationCreation" if one.Modality == "PR" else "Content"
            day, time = one[f"{name}Date"].value, one[f"{name}Time"].value
            at = datetime.strptime(f"{day}{time[:6]}", "%Y%m%d%H%M%S")
            assert now - timedelta(minutes=15) < at <= now, "the scan was at new year"
            assert (one.InstanceCreationDate, one.InstanceCreationTime) == (day, time)
            assert one.StudyDate == "20260101"


def test_a_report_says_which_result_it_is_and_which_it_replaces(results: list[dict[str, list[Any]]]) -> None:
    reports = [made["sr"][0] for made in results]
    assert [int(one.InstanceNumber) for one in reports] == [1, 2, 3, 4, 4]
    assert [one.SeriesDescription.partition(", result ")[2][:1] for one in reports] == [
        "",
        "2",
        "3",
        "4",
        "4",
    ]
    assert all(one.SeriesDescription.endswith("(RESEARCH USE ONLY)") for one in reports)
    assert predecessors(reports[0]) == []
    for before, after in pairwise(reports[:4]):
        assert predecessors(after) == [
            (before.StudyInstanceUID, before.SeriesInstanceUID, before.SOPInstanceUID)
        ]
        assert (before.ContentDate, before.ContentTime) <= (after.ContentDate, after.ContentTime)
    assert len({one.SOPInstanceUID for one in reports}) == 4


def test_the_same_inputs_once_more_are_the_same_result(results: list[dict[str, list[Any]]]) -> None:
    *_, once, again = results
    assert {kind: [one.to_json() for one in found] for kind, found in once.items()} == {
        kind: [one.to_json() for one in found] for kind, found in again.items()
    }


def test_what_is_superseded_is_rejected_where_that_is_configured(
    results: list[dict[str, list[Any]]],
) -> None:
    assert "reject" not in results[0]
    for before, after in pairwise(results[:4]):
        (note,) = after["reject"]
        (title,) = note.ConceptNameCodeSequence
        assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
        named = {
            one.ReferencedSOPInstanceUID
            for study in note.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for one in series.ReferencedSOPSequence
        }
        old = {one.SOPInstanceUID for kind, found in before.items() if kind != "reject" for one in found}
        assert named == old and note.StudyInstanceUID == before["sr"][0].StudyInstanceUID


def test_what_never_left_is_not_replaced(tmp_path: Path, dicom_study: Path, bundle: Path) -> None:
    """A result that a person rejected is no predecessor, and its number is free."""
    path = configured(tmp_path, bundle, service={"require_review": True})
    config, database = opened(path)
    case_id = received(config, database, sorted(dicom_study.rglob("*.dcm")))
    worker = Worker(config, database, threading.Event())
    worker.step()
    jobs.act(database, 1, jobs.Action.REJECT, "user ann", "another patient's images")
    orders.rerun(database, case_id, "user ann")
    worker.step()
    worker.close()
    with database:
        items: list[Item] = outbox.of_job(database, 2)
        (report,) = [pydicom.dcmread(config.results / one.path) for one in items if one.kind == "sr"]
    assert report.InstanceNumber == 1 and predecessors(report) == []
