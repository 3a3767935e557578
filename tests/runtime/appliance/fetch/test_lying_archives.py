"""Archives that give something else than a report of the patient: nothing is spoiled."""

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE, evt

from scanside.runtime.appliance.deliver.classes import COMPREHENSIVE_3D_SR
from scanside.runtime.appliance.fetch.archive import MOST_REPORT
from scanside.runtime.appliance.fetch.dicom import STUDY_FIND, STUDY_GET, STUDY_MOVE
from scanside.runtime.appliance.store import audit
from tests.runtime.appliance.fetch.looking import changed, clinic, file_of, looked

pytestmark = pytest.mark.requirement("asked-for")


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
