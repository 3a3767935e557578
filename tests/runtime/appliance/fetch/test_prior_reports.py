"""Earlier results that only an archive holds: found, marked, never guessed, and never in the way."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scanside.runtime.appliance.store import audit, intake, orders, prior_lookups, priors, verdicts, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Patient
from scanside.runtime.appliance.store.states import State
from scanside.runtime.study.prior import Size
from tests.runtime.appliance.fetch.looking import (
    changed,
    clinic,
    concept,
    file_of,
    looked,
    measured_lesions,
    seek,
    told,
    walked,
)
from tests.runtime.appliance.fetch.test_fetch import dicom, files_of, web
from tests.runtime.appliance.receive.receiving import associate, receiver, send
from tests.runtime.appliance.work.clinic import FIRST, SECOND, Clinic, comments, points
from tests.runtime.appliance.work.filled import shown
from tests.runtime.study.tiny_study import TinyStudy, write_dicom
from tests.support.appliance import free_port, until
from tests.support.peers import Orthanc

pytestmark = pytest.mark.requirement("asked-for")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(
        tmp_path_factory.mktemp("orthanc"), dicom_web=True, modalities={"SCANSIDE": ("127.0.0.1", 1)}
    ) as one:
        yield one


@pytest.fixture
def orthanc(archive: Orthanc) -> Orthanc:
    """An empty one."""
    for uid in archive.sop_uids():
        archive.delete(uid)
    return archive


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, dicom_study: Path, bundle: Path) -> Iterator[Clinic]:
    """Another appliance, for results of further patients that an archive holds."""
    made = Clinic(tmp_path_factory.mktemp("other"), dicom_study, bundle, visits=200)
    yield made
    made.close()


def put(orthanc: Orthanc, *reports: Any) -> None:
    for one in reports:
        orthanc.request("POST", "/instances", one.read_bytes() if isinstance(one, Path) else file_of(one))


@pytest.mark.parametrize("kind", [dicom, web])
def test_a_report_comes_back_from_an_archive_when_the_store_is_empty(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path, second: Path, kind: Any
) -> None:
    put(orthanc, report, *[file for file in report.parent.glob("*.dcm") if file != report])
    own = json.loads((second.parent / "result.json").read_text())["prior"]
    with clinic(tmp_path, dicom_study, bundle, kind(orthanc)) as here:
        case_id = here.visit(SECOND, arrived=seek(here))
        prior, written = told(here, case_id)["prior"], here.report(case_id)
        (entry,) = [one for one in audit.entries(here.database) if one.action == "earlier results looked for"]
    assert (own.pop("archive"), prior.pop("archive")) == (None, "pacs")
    for mine, theirs in zip(prior.pop("sizes"), own.pop("sizes"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12), "as its own appliance states it"
    assert prior == own
    assert {point[:2] for point in points(written)} == {("2026-01-01", 1), ("2026-07-01", 2)}
    assert "in the archive pacs" in comments(written) and "was not determined" in comments(written)
    assert (
        json.loads(entry.detail) == {"failures": [], "found": True, "not used": {}}
        and "P1" not in entry.detail
    )


def test_it_is_off_unless_an_archive_is_told(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path
) -> None:
    """What was kept while it was on does not count any more either."""
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, web(orthanc)) as here:
        assert looked(here)[0] is not None and len(here.database.rows("SELECT * FROM archived")) == 1
    with clinic(tmp_path, dicom_study, bundle, {**web(orthanc), "priors": False}) as here:
        assert here.config.fetch.prior_archives == ()
        assert here.worker.step()
        (case_id,) = [str(row["case_id"]) for row in here.database.rows("SELECT case_id FROM studies")]
        said = told(here, case_id)
        assert said["prior"] is None and not [one for one in said["warning_codes"] if "prior" in one]


def test_each_study_counts_once_and_our_own_result_of_it_alone(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc
) -> None:
    with clinic(tmp_path, dicom_study, bundle, dicom(orthanc), {**web(orthanc), "name": "again"}) as here:
        first = here.visit(FIRST, arrived=seek(here))
        put(orthanc, here.report_file(first))
        prior, remark = looked(here)
        assert prior is not None and prior.archive is None and remark is None
        assert here.database.rows("SELECT * FROM archived") == []
        verdicts.mark(here.database, shown(here.database, first).job, "false lesion", "a cyst", "user ann")
        assert looked(here) == (None, None), "a person has said that it is none, whatever an archive holds"


def test_one_report_in_two_archives_is_one(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path
) -> None:
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, dicom(orthanc), {**web(orthanc), "name": "again"}) as here:
        prior, _ = looked(here)
        assert prior is not None and prior.archive == "pacs"
        assert len(here.database.rows("SELECT * FROM archived")) == 1


def test_a_study_that_comes_here_later_is_ours(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path
) -> None:
    """Its archived report was read before; now there is a result of our own, which is not counted beside it."""
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, web(orthanc), visits=100) as here:
        here.arrive(FIRST)  # with the UIDs of that report's study
        prior, _ = looked(here, times=2)
        assert prior is not None and prior.archive == "pacs"
        assert here.worker.step()
        prior, _ = looked(here)
        assert prior is not None and prior.archive is None


def test_of_a_study_the_latest_report_counts(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path
) -> None:
    def with_volume(made: Any, volume: str) -> Any:
        for item in measured_lesions(made):
            item.MeasuredValueSequence[0].NumericValue = volume
        return made

    later = with_volume(changed(report, ContentDate="20991231", InstanceNumber=2), "5000")
    as_33 = with_volume(changed(report, SOPInstanceUID="1.2.3", InstanceNumber=0), "4000")
    put(orthanc, report, later, as_33)
    with clinic(tmp_path, dicom_study, bundle, dicom(orthanc)) as here:
        prior, _ = looked(here)
        assert prior is not None and {size.volume_ml for size in prior.sizes} == {5.0}
    unsuitable = changed(report, SOPInstanceUID="1.2.4", ContentDate="21001231")
    status = next(item for item in walked(unsuitable) if concept(item) == "STATUS")
    status.ConceptCodeSequence[0].CodeValue = "UNSUITABLE"
    put(orthanc, unsuitable)
    with clinic(tmp_path / "2", dicom_study, bundle, dicom(orthanc)) as here:
        assert looked(here) == (None, None)


@pytest.mark.parametrize("day", ["20260101", "20250101"], ids=["of the same day", "a later one"])
def test_only_an_earlier_study_is_one(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path, day: str
) -> None:
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, web(orthanc)) as here:
        assert looked(here, day) == (None, None)


@pytest.mark.parametrize("kind", [dicom, web])
def test_whose_it_is_has_to_agree_in_all(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path, kind: Any
) -> None:
    """One Patient ID that two hospitals gave is two people. Another ID is not even listed."""
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, kind(orthanc)) as here:
        prior, remark = looked(here, born="19700102")
        assert prior is None and remark is not None and remark.code == "prior-refused"
        assert "1 states another patient" in remark
        assert looked(here, patient="P2") == (None, None)
        prior, remark = looked(here, patient="P*")
        assert prior is None and remark is not None and "cannot be searched for" in remark, (
            "it would find everybody"
        )
        assert here.database.rows("SELECT * FROM archived") == []


def test_the_issuer_of_the_id_comes_back_too(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, other: Clinic
) -> None:
    put(orthanc, other.report_file(other.visit(FIRST, "P9", IssuerOfPatientID="H1")))
    with clinic(tmp_path, dicom_study, bundle, dicom(orthanc)) as here:
        assert looked(here, patient="P9", IssuerOfPatientID="H1")[0] is not None
        prior, remark = looked(here, patient="P9", IssuerOfPatientID="H2")
        assert prior is None and remark is not None and "1 states another patient" in remark


def test_no_lesion_then_is_said_and_is_no_number(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, other: Clinic
) -> None:
    nothing = write_dicom(tmp_path / "empty", TinyStudy(t2w=(), dwi=()))
    put(orthanc, other.report_file(other.visit(FIRST, "P7", study=nothing)))
    with clinic(tmp_path, dicom_study, bundle, web(orthanc)) as here:
        prior, _ = looked(here, patient="P7")
    assert prior is not None and prior.sizes == (Size("dwi", None, None), Size("t2w", None, None))


def test_who_forgets_forgets_this_too(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc, report: Path
) -> None:
    put(orthanc, report)
    with clinic(tmp_path, dicom_study, bundle, web(orthanc)) as here:
        assert looked(here)[0] is not None
        priors.forget_old(here.database, 1e-9)
        assert here.database.rows("SELECT * FROM archived") == []
        assert looked(here)[0] is not None, "it was read again"
        orthanc.delete(orthanc.sop_uids()[0])
        assert looked(here) == (None, None), "it is not in the archive any more"


def test_a_corrected_patient_is_looked_for_again(
    tmp_path: Path, dicom_study: Path, bundle: Path, orthanc: Orthanc
) -> None:
    with clinic(tmp_path, dicom_study, bundle, web(orthanc)) as here:
        assert looked(here) == (None, None)
        (one,) = worklist.instances_of(
            here.database, str(here.database.rows("SELECT study_uid FROM studies")[0][0])
        )
        intake.replace_instance(
            here.database, replace(one, sha256="0" * 64), before=one.sha256, association="a2", calling="MR1",
            patient=Patient("P2", "Other^Name"),
        )  # fmt: skip
        (sought,) = prior_lookups.sought(here.database)
        assert (
            sought.patient_id == "P2"
            and prior_lookups.remark_of(here.database, sought.job) == prior_lookups.LATE
        )


def test_an_archive_that_is_down_leaves_a_remark(tmp_path: Path, dicom_study: Path, bundle: Path) -> None:
    down = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    with clinic(tmp_path, dicom_study, bundle, down, tries=2) as here:
        case_id = here.visit(SECOND, arrived=seek(here, times=2))
        said = told(here, case_id)
        assert said["prior"] is None and "prior-failed" in said["warning_codes"]
        assert any("pacs cannot be reached" in words for words in said["warnings"])
        first = here.report(case_id)
        assert "pacs cannot be reached" in comments(first)
        orders.rerun(here.database, case_id, "user ann")
        assert here.worker.step()
        again = here.report(case_id)
        assert "were not here in time" in comments(again), "nobody has looked for this job yet"
        assert again.InstanceNumber == 2, "another report is another result"
        (replaced,) = again.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert replaced.ReferencedSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.parametrize("kind", [dicom, web])
def test_an_archive_that_hangs_holds_nothing(
    tmp_path: Path, dicom_study: Path, orthanc: Orthanc, kind: Any
) -> None:
    """The study is queued while the archive is still asked; who computes it now says so."""
    tables = {"fetch": {"archives": [{**kind(orthanc), "priors": True}]}, "send": {"timeout_seconds": 60}}
    orthanc.hang()
    try:
        with receiver(tmp_path / "data", tables, callers=[{"ae_title": "MR1"}]) as desk:
            association = associate(desk.port)
            for file in files_of(dicom_study):
                image = pydicom.dcmread(file)
                image.PatientBirthDate = "19600102"
                assert send(association, image) == 0
            association.release()
            case = desk.wait_for(State.QUEUED)
            with Database(desk.data / "scanside.db") as database:
                late = prior_lookups.remark_of(database, case.job)
            orthanc.wake()
            until(lambda: desk.audited("earlier results looked for"), 20, "the end of the look")
    finally:
        orthanc.wake()
    assert late is not None and late.code == "prior-late"
