"""Earlier results that only an archive holds: found, marked, never guessed, and never in the way."""

import copy
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE, evt

from scanside.runtime.appliance.deliver.classes import COMPREHENSIVE_3D_SR
from scanside.runtime.appliance.fetch.archive import MOST_REPORT
from scanside.runtime.appliance.fetch.dicom import STUDY_FIND, STUDY_GET, STUDY_MOVE
from scanside.runtime.appliance.fetch.prior_reports import PriorFetcher
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.store import audit, intake, orders, prior_lookups, priors, verdicts, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Measured, Patient
from scanside.runtime.appliance.store.states import State
from scanside.runtime.dicom.patient import day_of, person_of
from scanside.runtime.remark import Remark
from scanside.runtime.study.prior import Prior, Size
from scanside.runtime.study.prior_report import NotUsedError, Whose, read_prior_report
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
    """Another appliance, whose results an archive holds."""
    made = Clinic(tmp_path_factory.mktemp("other"), dicom_study, bundle, visits=100)
    yield made
    made.close()


@pytest.fixture(scope="module")
def report(other: Clinic) -> Path:
    """Of its first study."""
    return other.report_file(other.visit(FIRST))


@pytest.fixture(scope="module")
def second(other: Clinic, report: Path) -> Path:
    """Of the same patient, half a year later: it states the first one beside its own."""
    return other.report_file(other.visit(SECOND))


@contextmanager
def clinic(
    folder: Path, study: Path, bundle: Path, *archives: dict[str, Any], visits: int = 0, **more: Any
) -> Iterator[Clinic]:
    """Ours, whose store is empty."""
    fetch = {
        "archives": [{"priors": True, **one} for one in archives],
        "tries": 1,
        "retry_seconds": 0,
        **more,
    }
    made = Clinic(folder / "here", study, bundle, visits, fetch=fetch, send={"timeout_seconds": 10})
    yield made
    made.close()


def seek(here: Clinic, times: int = 1) -> Callable[[], None]:
    """The archives are looked through."""

    def look() -> None:
        ledger = Ledger(here.config.database)
        prior_fetcher = PriorFetcher(here.config, ledger, here.config.spool)
        try:
            assert [prior_fetcher.step() for _ in range(times + 1)] == [*[True] * times, False]
        finally:
            ledger.close()

    return look


def told(here: Clinic, case_id: str) -> Any:
    result = here.config.results / str(shown(here.database, case_id).result) / "result.json"
    return json.loads(result.read_text())


def looked(
    here: Clinic, day: str = SECOND, patient: str = "P1", times: int = 1, **who: str
) -> tuple[Prior | None, Remark | None]:
    """Of a study that arrives: the earlier result that its report would state, and what it would say of archives."""
    case = shown(here.database, here.arrive(day, patient, most=1, **who))
    seek(here, times)()
    (row,) = here.database.rows("SELECT path FROM instances WHERE study_uid = ?", (case.study_uid,))
    headers = [pydicom.dcmread(here.config.spool / row["path"])]
    person, examined = person_of(headers), day_of(headers)
    assert person is not None and examined is not None
    measured = Measured(priors.pseudonym_of(here.database, person), examined, "", "", ())
    names = [one.name for one in here.config.fetch.prior_archives]
    prior = priors.prior_of(here.database, case.study_uid, measured, names)
    return prior, prior_lookups.remark_of(here.database, case.job)


def changed(report: Path, **attributes: Any) -> Any:
    """The report with other attributes and, unless they say so, another UID."""
    made = pydicom.dcmread(report)
    for keyword, value in {"SOPInstanceUID": f"{made.SOPInstanceUID}1"[:64], **attributes}.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def put(orthanc: Orthanc, *reports: Any) -> None:
    for one in reports:
        orthanc.request("POST", "/instances", one.read_bytes() if isinstance(one, Path) else file_of(one))


def file_of(made: Any) -> bytes:
    file = BytesIO()
    made.save_as(file)
    return file.getvalue()


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


def walked(item: Any) -> Iterator[Any]:
    for below in item.get("ContentSequence", ()):
        yield below
        yield from walked(below)


def concept(item: Any) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def measured_lesions(made: Any) -> list[Any]:
    """Items that state a volume."""
    return [item for item in walked(made) if concept(item) == "118565006"]


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


class Liar:
    """A DICOMweb archive that lists one report, and gives what a test wants."""

    def __init__(self, report: Path, given: bytes, listed: bytes | None = None) -> None:
        truly = pydicom.dcmread(report)
        tags = {"0020000D": truly.StudyInstanceUID, "0020000E": truly.SeriesInstanceUID,
                "00080018": truly.SOPInstanceUID, "00080016": COMPREHENSIVE_3D_SR}  # fmt: skip
        listing = json.dumps([{tag: {"vr": "UI", "Value": [str(uid)]} for tag, uid in tags.items()}]).encode()
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + given + b"\r\n--b--\r\n"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                search = self.path.startswith("/instances?")
                self.send_response(200)
                kind = (
                    "application/dicom+json"
                    if search
                    else 'multipart/related; type="application/dicom"; boundary=b'
                )
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write((listed if listed is not None else listing) if search else body)

            def log_message(self, *words: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> dict[str, Any]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return {"kind": "dicomweb", "name": "liar", "url": f"http://127.0.0.1:{self._server.server_port}"}

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def dicom_liar(report: Path, *given: Any) -> Iterator[dict[str, Any]]:
    """The same by Query/Retrieve: at each level it lists one thing."""
    truly = pydicom.dcmread(report)

    def find(event: Any) -> Iterator[tuple[int, Any]]:
        found = copy.deepcopy(event.identifier)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            if keyword in found:
                setattr(found, keyword, getattr(truly, keyword))
        yield 0xFF00, found

    def get(event: Any) -> Iterator[Any]:
        yield len(given)
        for one in given:
            yield 0xFF00, one

    entity = AE("PACS")
    for uid in (STUDY_FIND, STUDY_MOVE, STUDY_GET):
        entity.add_supported_context(uid)
    entity.add_supported_context(COMPREHENSIVE_3D_SR, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield {"name": "liar", "ae_title": "PACS", "host": "127.0.0.1", "port": server.server_address[1]}
    finally:
        server.shutdown()


def test_what_c_get_brings_is_one_report_of_a_size(
    tmp_path: Path, dicom_study: Path, bundle: Path, report: Path
) -> None:
    one = pydicom.dcmread(report)
    large = changed(report)
    large.add_new(0x00991001, "OB", b"\0" * (MOST_REPORT + (1 << 20)))
    for number, (given, words) in enumerate(
        [
            ((one,), ""),
            ((one, changed(report)), "gave 2 objects for one report"),
            ((large,), "not read from an archive"),
        ]
    ):
        with (
            dicom_liar(report, *given) as liar,
            clinic(tmp_path / str(number), dicom_study, bundle, liar) as here,
        ):
            prior, remark = looked(here)
            assert (prior is not None, remark is None) == (not words, not words)
            assert words in (remark or "")


def _without(made: Any, code: str) -> None:
    """Take an item out of every group."""
    for item in [made, *walked(made)]:
        if "ContentSequence" in item:
            item.ContentSequence = [below for below in item.ContentSequence if concept(below) != code]


def _number(value: str) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        for item in measured_lesions(made):
            item.MeasuredValueSequence[0].NumericValue = value

    return change


def _unit(made: Any) -> None:
    measured_lesions(made)[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "ml"


def _attribute(keyword: str, value: Any) -> Callable[[Any], None]:
    return lambda made: setattr(made, keyword, value)


def _bundle(made: Any) -> None:
    for item in walked(made):
        if str(item.get("TextValue", "")).startswith("bundle_sha256="):
            item.TextValue = f"bundle_sha256={'ab' * 32}"


REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "another patient": (_attribute("PatientID", "P2"), "states another patient"),
    "another birth date": (_attribute("PatientBirthDate", "19600103"), "states another patient"),
    "no birth date": (_attribute("PatientBirthDate", ""), "states another patient"),
    "another issuer": (_attribute("IssuerOfPatientID", "H2"), "states another patient"),
    "another study": (_attribute("StudyInstanceUID", "1.2.3"), "is another object than was asked for"),
    "another instance": (_attribute("SOPInstanceUID", "1.2.3"), "is another object than was asked for"),
    "another bundle": (_bundle, "states a device that is not the one of its bundle"),
    "no template": (_attribute("ContentTemplateSequence", []), "is no report of template 1500"),
    "no date": (_attribute("StudyDate", ""), "states no date of its study"),
    "no content": (_attribute("ContentSequence", []), "does not hold what a report of Scanside holds"),
    "no volume": (lambda made: _without(made, "118565006"), "does not hold what a report of Scanside holds"),
    "zero": (_number("0"), "states a size that is none"),
    "another unit": (_unit, "states a size that is none"),
}


def whose(report: Path) -> Whose:
    truly = pydicom.dcmread(report)
    person = person_of([truly])
    assert person is not None
    return Whose(str(truly.StudyInstanceUID), str(truly.SOPInstanceUID), "P1", person)


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_it_must_be_is_refused_by_name(report: Path, change: Any, words: str) -> None:
    made = pydicom.dcmread(report)
    change(made)
    with pytest.raises(NotUsedError, match=f"^{words}$"):
        read_prior_report(file_of(made), whose(report))


def test_any_bytes_are_a_report_or_refused(report: Path) -> None:
    """Cut off anywhere, or with bytes changed anywhere: it says what it said, or is not used, or is not ours."""
    file, who, chance = report.read_bytes(), whose(report), random.Random(43)
    truly = read_prior_report(file, who)
    assert truly is not None
    for _ in range(15):
        at = chance.randrange(132, len(file))
        for bad in (file[:at], file[:at] + chance.randbytes(8) + file[at + 8 :]):
            with suppress(NotUsedError):
                read_prior_report(bad, who)
    with pytest.raises(NotUsedError, match="is compressed"):
        read_prior_report(file.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1), who)


def test_of_several_lesions_the_measured_one_counts_and_none_is_guessed(report: Path) -> None:
    made, who = pydicom.dcmread(report), whose(report)
    (group,) = [one for one in walked(made) if tracking(one) == "t2w Lesion 1"]
    larger = copy.deepcopy(group)
    next(one for one in larger.ContentSequence if concept(one) == "112039").TextValue = "t2w Lesion 2"
    feature = [
        one for one in larger.ContentSequence if any(concept(below) == "FEATURE" for below in walked(one))
    ]
    larger.ContentSequence = [one for one in larger.ContentSequence if one not in feature]
    measured_lesions(larger)[0].MeasuredValueSequence[0].NumericValue = "99000"
    (groups,) = [one for one in made.ContentSequence if concept(one) == "126010"]
    groups.ContentSequence.append(larger)
    assert read_prior_report(file_of(made), who) == read_prior_report(report.read_bytes(), who)
    group.ContentSequence = [
        one for one in group.ContentSequence if not any(concept(below) == "FEATURE" for below in walked(one))
    ]
    said = read_prior_report(file_of(made), who)
    assert said is not None and [size.role for size in said.sizes] == ["dwi"]


def tracking(item: Any) -> str:
    below = [one for one in item.get("ContentSequence", ()) if concept(one) == "112039"]
    return str(below[0].TextValue) if below else ""


def test_an_earlier_result_that_a_report_repeats_is_not_its_own(second: Path) -> None:
    """A report with points in time states the lesions of two studies."""
    made = pydicom.dcmread(second)
    earlier = [one for one in walked(made) if tracking(one).endswith("lesion of 2026-01-01")]
    for group in earlier:
        measured_lesions(group)[0].MeasuredValueSequence[0].NumericValue = "1"
    said = read_prior_report(file_of(made), whose(second))
    assert len(earlier) == 2 and said == read_prior_report(second.read_bytes(), whose(second))
    assert said is not None and said.day == date(2026, 7, 1)
    assert [size.role for size in said.sizes] == ["dwi", "t2w"]
    assert all(size.volume_ml is not None and size.volume_ml > 1 for size in said.sizes)


def test_what_another_maker_wrote_is_none(report: Path) -> None:
    assert (
        read_prior_report(
            file_of(changed(report, SOPInstanceUID=whose(report).sop_uid, Manufacturer="ACME")), whose(report)
        )
        is None
    )


def test_an_archive_that_lies_spoils_nothing(
    tmp_path: Path, dicom_study: Path, bundle: Path, report: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uid = pydicom.dcmread(report).SOPInstanceUID
    another = file_of(changed(report, SOPInstanceUID=uid, PatientID="P2", PatientName="Somebody^Else"))
    lies = [
        (Liar(report, another), "1 states another patient"),
        (Liar(report, b"nonsense"), "1 cannot be read"),
        (Liar(report, another, b"[{}, 1]"), "answers a search without DICOM JSON"),
        (Liar(report, b"0" * (MOST_REPORT + 1)), "gave more than one report"),
    ]
    for number, (lie, words) in enumerate(lies):
        with lie as liar, clinic(tmp_path / str(number), dicom_study, bundle, liar) as here:
            prior, remark = looked(here)
            assert prior is None and remark is not None and words in remark
            assert here.database.rows("SELECT * FROM archived") == []
            assert "P2" not in "".join(one.detail for one in audit.entries(here.database))
    assert "a report from liar states another patient; it is not used" in caplog.text
    assert "P2" not in caplog.text and "Somebody" not in caplog.text
