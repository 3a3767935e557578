"""What a complete study lacks is fetched from an archive, and nothing that an archive does holds or spoils a study."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from scanside.runtime.appliance.fetch.dicom import STUDY_FIND, STUDY_MOVE
from scanside.runtime.appliance.receive.classes import PROCEDURE_STEP
from scanside.runtime.appliance.store import fetches, jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Instance
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.remark import Remark
from tests.runtime.appliance.receive.receiving import MR, Desk, associate, receiver, send
from tests.support.appliance import free_port, until
from tests.support.dicom_factory import ROOT
from tests.support.peers import Orthanc

pytestmark = pytest.mark.requirement("asked-for")

ADC = f"{ROOT}.2.7"


@pytest.fixture(scope="module")
def port() -> int:
    """Of the receiver: an archive knows where it sends to."""
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, port: int, dicom_study: Path) -> Iterator[Orthanc]:
    """An archive that has the whole study."""
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, modalities={"SCANSIDE": ("127.0.0.1", port)}, dicom_web=True) as one:
        for file in files_of(dicom_study):
            one.request("POST", "/instances", file.read_bytes())
        yield one


def files_of(study: Path, *, adc: bool = True) -> list[Path]:
    return [file for file in sorted(study.rglob("*.dcm")) if adc or "/adc/" not in str(file)]


def dicom(orthanc: Orthanc) -> dict[str, Any]:
    return {"name": "pacs", "ae_title": orthanc.ae_title, "host": "127.0.0.1", "port": orthanc.port}


def web(orthanc: Orthanc) -> dict[str, Any]:
    return {"kind": "dicomweb", "name": "pacs", "url": orthanc.dicom_web}


@contextmanager
def fetcher(folder: Path, port: int, *archives: dict[str, Any], **more: Any) -> Iterator[Desk]:
    tables = {
        "fetch": {"archives": archives, "tries": 2, "retry_seconds": 0.1, "seconds": 30, **more},
        "send": {"timeout_seconds": 1},
    }
    callers = [{"ae_title": "MR1"}]
    with receiver(folder / "data", tables, port=port, callers=callers) as desk:
        yield desk


def sent_without_adc(desk: Desk, study: Path) -> None:
    association = associate(desk.port)
    for file in files_of(study, adc=False):
        assert send(association, pydicom.dcmread(file)) == 0
    association.release()


def remark(desk: Desk, case: Case) -> Remark | None:
    with Database(desk.data / "scanside.db") as database:
        return fetches.remark_of(database, case.job)


@pytest.mark.parametrize("kind", [dicom, web])
def test_a_missing_series_is_fetched_and_nothing_else(
    tmp_path: Path, port: int, orthanc: Orthanc, dicom_study: Path, kind: Any
) -> None:
    with fetcher(tmp_path, port, kind(orthanc)) as desk:
        sent_without_adc(desk, dicom_study)
        case = desk.wait_for(State.QUEUED)
        here = desk.instances(case.study_uid)
    assert len(here) == len(files_of(dicom_study)) and sum(one.series_uid == ADC for one in here) == 15
    assert desk.open_associations == 0 and remark(desk, case) is None and case.stage is None
    (ended,) = desk.audited("fetch ended")
    assert '"images": 15' in ended.detail and len(desk.audited("fetch begun")) == 1
    (completed,) = desk.audited("complete")
    assert completed.number > ended.number
    for file in files_of(dicom_study):  # to the byte of its data set
        image = pydicom.dcmread(file)
        (one,) = [found for found in here if found.sop_uid == image.SOPInstanceUID]
        assert pydicom.dcmread(desk.data / "spool" / one.path) == image


def test_a_whole_study_is_fetched_for_nothing(tmp_path: Path, port: int, dicom_study: Path) -> None:
    """The archive would not even answer."""
    nobody = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    with fetcher(tmp_path, port, nobody) as desk:
        association = associate(desk.port)
        for file in files_of(dicom_study):
            assert send(association, pydicom.dcmread(file)) == 0
        association.release()
        case = desk.wait_for(State.QUEUED)
        assert remark(desk, case) is None and desk.audited("fetch failed") == []


def test_an_archive_that_is_down_costs_its_tries_and_leaves_a_remark(
    tmp_path: Path, port: int, dicom_study: Path
) -> None:
    nobody = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    with fetcher(tmp_path, port, nobody) as desk:
        sent_without_adc(desk, dicom_study)
        case = desk.wait_for(State.QUEUED)
        said = remark(desk, case)
        assert len(desk.audited("fetch try failed")) == 1 and len(desk.audited("fetch failed")) == 1
    assert said is not None and said.code == "fetch-failed" and "lacks an ADC map" in said
    assert "pacs cannot be reached" in said and said.endswith(".")
    assert len(desk.instances(case.study_uid)) == len(files_of(dicom_study, adc=False))


@pytest.mark.parametrize("kind", [dicom, web])
def test_an_archive_that_hangs_holds_a_study_for_its_time_and_no_other_at_all(
    tmp_path: Path, port: int, orthanc: Orthanc, dicom_study: Path, kind: Any
) -> None:
    orthanc.hang()
    try:
        with fetcher(tmp_path, port, kind(orthanc), seconds=1.5) as desk:
            sent_without_adc(desk, dicom_study)
            waiting = until(lambda: next((one for one in desk.cases if one.stage), None), 10, "a fetch")
            assert (waiting.state, waiting.stage) == (State.RECEIVING, "fetching")
            case = desk.wait_for(State.QUEUED)
            said = remark(desk, case)
    finally:
        orthanc.wake()
    assert said is not None and said.code in ("fetch-late", "fetch-failed")


class Scripted:
    """An archive that lists the right series, and sends what a test wants."""

    def __init__(self, port: int, images: Sequence[Dataset]) -> None:
        self._port, self._images = port, images
        self.answers: list[int] = []
        self.before: Callable[[], None] = lambda: None
        """Called before it sends."""

    @contextmanager
    def running(self) -> Iterator[dict[str, Any]]:
        entity = AE("PACS")
        entity.add_supported_context(STUDY_FIND)
        entity.add_supported_context(STUDY_MOVE)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            yield {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": server.server_address[1]}
        finally:
            server.shutdown()

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        found = Dataset()
        found.QueryRetrieveLevel, found.StudyInstanceUID = "SERIES", event.identifier.StudyInstanceUID
        found.SeriesInstanceUID, found.Modality, found.NumberOfSeriesRelatedInstances = ADC, "MR", 15
        yield 0xFF00, found

    def _move(self, event: Any) -> Iterator[Any]:
        """By hand: pynetdicom's own suboperations do not tell what they were answered."""
        self.before()
        entity = AE("PACS")
        entity.add_requested_context(MR)
        association = entity.associate("127.0.0.1", self._port, ae_title="SCANSIDE")
        assert association.is_established
        for image in self._images:
            answer = association.send_c_store(image, originator_aet="SCANSIDE", originator_id=1)
            self.answers.append(int(answer.Status))
        association.release()
        yield "127.0.0.1", self._port, {"contexts": [build_context(MR)]}
        yield 0


def _changed(study: Path, **attributes: str) -> list[Dataset]:
    found = []
    for file in sorted((study / "b" / "adc").rglob("*.dcm")):
        image = pydicom.dcmread(file)
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
        found.append(image)
    return found


@pytest.mark.parametrize(
    ("attributes", "code", "words"),
    [
        (
            {"PatientID": "P2", "PatientName": "Somebody^Else"},
            "fetch-other-patient",
            "15 images of another patient",
        ),
        (
            {"StudyInstanceUID": f"{ROOT}.99", "PatientID": "P2"},
            "fetch-failed",
            "15 images that it was not asked for",
        ),
    ],
    ids=["another patient", "another study"],
)
def test_what_is_of_another_patient_is_refused(
    tmp_path: Path, port: int, dicom_study: Path, attributes: dict[str, str], code: str, words: str
) -> None:
    archive = Scripted(port, _changed(dicom_study, **attributes))
    with archive.running() as peer, fetcher(tmp_path, port, peer, tries=1) as desk:
        sent_without_adc(desk, dicom_study)
        case = desk.wait_for(State.QUEUED)
        assert [one.case_id for one in desk.cases] == [case.case_id]
        said, stored = remark(desk, case), desk.spooled()
        assert len(desk.audited("instance refused")) > 0
    assert archive.answers == [0x0124] * 15
    assert said is not None and said.code == code and words in said
    assert len(stored) == len(files_of(dicom_study, adc=False))


def test_what_nobody_waits_for_any_more_is_refused(tmp_path: Path, port: int, dicom_study: Path) -> None:
    """A person has cancelled the study while the archive was looking: it must not come to life again."""
    archive = Scripted(port, _changed(dicom_study))
    with archive.running() as peer, fetcher(tmp_path, port, peer, tries=1) as desk:

        def cancel() -> None:
            with Database(desk.data / "scanside.db") as database:
                jobs.act(database, desk.cases[0].job, Action.CANCEL, "test")

        archive.before = cancel
        sent_without_adc(desk, dicom_study)
        until(lambda: len(archive.answers) == 15, 15, "the archive's images")
        (case,) = desk.cases
        assert case.state is State.CANCELLED
        assert len(desk.instances(case.study_uid)) == len(files_of(dicom_study, adc=False))
    assert set(archive.answers) == {0x0124}


def test_an_archive_may_not_send_on_its_own(tmp_path: Path, port: int, dicom_study: Path) -> None:
    """It may associate, since it has to bring what is asked for; a sender of its own has to be among the callers."""
    archive = Scripted(port, ())
    image = pydicom.dcmread(files_of(dicom_study)[0])
    with archive.running() as peer, fetcher(tmp_path, port, peer) as desk:
        association = associate(desk.port, calling="PACS")
        assert association.is_established and send(association, image) == 0x0124
        association.release()
        association = associate(desk.port, calling="PACS", classes=(PROCEDURE_STEP,))
        step, scheduled = Dataset(), Dataset()
        scheduled.StudyInstanceUID, step.PerformedProcedureStepStatus = image.StudyInstanceUID, "IN PROGRESS"
        step.ScheduledStepAttributesSequence = [scheduled]
        assert association.send_n_create(step, PROCEDURE_STEP, "1.2.9")[0].Status == 0x0124
        association.release()
        assert desk.cases == []


def test_a_series_that_comes_in_part_is_kept_and_not_computed(
    tmp_path: Path, port: int, dicom_study: Path
) -> None:
    """What came was acknowledged; but the study is what it would be without, until the rest of it is here."""
    archive = Scripted(port, _changed(dicom_study)[:4])
    with archive.running() as peer, fetcher(tmp_path, port, peer, tries=1) as desk:
        sent_without_adc(desk, dicom_study)
        case = desk.wait_for(State.QUEUED)
        said = remark(desk, case)
        here = desk.instances(case.study_uid)
        assert sum(one.series_uid == ADC for one in here) == 4
        with Database(desk.data / "scanside.db") as database:
            computed = fetches.without_incomplete(database, case.job, here)
            codes = [one.code for one in fetches.remarks_of(database, case.job, len(here) - len(computed))]
        assert len(computed) == len(files_of(dicom_study, adc=False))
        assert codes == ["fetch-failed", "fetch-incomplete"]
        association = associate(desk.port)
        for image in _changed(dicom_study):
            assert send(association, image) == 0
        association.release()
        here = until(lambda: _all(desk, case, dicom_study), 10, "all images")
        with Database(desk.data / "scanside.db") as database:
            assert fetches.without_incomplete(database, case.job, here) == here
    assert archive.answers == [0] * 4
    assert said is not None and said.code == "fetch-failed" and "4 of 15" in said


def _all(desk: Desk, case: Case, study: Path) -> list[Instance] | None:
    here = desk.instances(case.study_uid)
    return here if len(here) == len(files_of(study)) else None


def test_the_receiver_goes_on_with_a_fetch_after_a_kill(
    tmp_path: Path, port: int, orthanc: Orthanc, dicom_study: Path
) -> None:
    orthanc.hang()
    try:
        with fetcher(tmp_path, port, dicom(orthanc)) as desk:
            sent_without_adc(desk, dicom_study)
            until(lambda: desk.audited("fetch begun"), 10, "a fetch")
    finally:
        orthanc.wake()
    with fetcher(tmp_path, port, dicom(orthanc)) as desk:
        case = desk.wait_for(State.QUEUED)
        assert remark(desk, case) is None and len(desk.audited("fetch begun")) == 1
        assert len(desk.instances(case.study_uid)) == len(files_of(dicom_study))
