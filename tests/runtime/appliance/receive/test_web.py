"""STOW-RS in: the same instance is the same whichever way it comes, and nothing is told of as stored that is not."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from scanside.runtime.appliance.config import WebDestination
from scanside.runtime.appliance.receive.multipart import Body, BodyError, parts
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.appliance.tls import client_context
from tests.runtime.appliance.deliver.desk import Desk as Sender
from tests.runtime.appliance.receive.receiving import Desk, associate, child, mr_slice, receiver, send
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT, save
from tests.support.peers import Orthanc, storescu
from tests.support.tls_files import make_tls

pytestmark = pytest.mark.requirement("callers", "limits")

KIND = 'multipart/related; type="application/dicom"; boundary=edge'


def web_port(desk: Desk) -> int:
    return int(json.loads((desk.data / "receive.port").read_text())["web"])


def file_bytes(dataset: Dataset, folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    return save(dataset, folder / f"{dataset.SOPInstanceUID}.dcm").read_bytes()


def multipart(files: Iterable[bytes]) -> bytes:
    body = b"".join(b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files)
    return body + b"--edge--\r\n"


def post(
    port: int,
    body: bytes | Iterable[bytes],
    path: str = "/studies",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> tuple[int, Any]:
    """One request; a body that is no bytes goes in chunks."""
    connection = (
        http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    )
    sent = {"Content-Type": KIND, "Accept": "application/dicom+json", **headers}
    connection.request("POST", path, body=body, headers=sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.status in (200, 202, 409, 503) and content[
        :1
    ] == b"{" else content


def stored(document: Any) -> list[str]:
    return [one["00081155"]["Value"][0] for one in document.get("00081199", {}).get("Value", ())]


def refused(document: Any) -> list[int]:
    return [one["00081197"]["Value"][0] for one in document.get("00081198", {}).get("Value", ())]


@pytest.mark.parametrize("chunks", [False, True])
def test_a_study_comes_and_is_complete(tmp_path: Path, chunks: bool) -> None:
    slices = [mr_slice(number) for number in range(3)]
    body = multipart(file_bytes(one, tmp_path / "files") for one in slices)
    with receiver(tmp_path / "data", web={"port": 0, "priority": 3}) as desk:
        sent = (body[at : at + 1000] for at in range(0, len(body), 1000)) if chunks else body
        status, document = post(web_port(desk), sent)
        assert status == 200 and stored(document) == [one.SOPInstanceUID for one in slices]
        case = desk.wait_for(State.QUEUED)
        assert (case.instances, case.calling, case.priority) == (3, "STOW", 3)
        assert desk.open_associations == 0


def test_both_ways_keep_the_same_bytes(tmp_path: Path) -> None:
    image = mr_slice(1)
    with receiver(tmp_path / "data", quiet_seconds=600, web={"port": 0}) as desk:
        association = associate(desk.port)
        assert send(association, image) == 0
        (before,) = desk.instances()
        status, document = post(web_port(desk), multipart([file_bytes(image, tmp_path / "files")]))
        association.release()
        assert status == 200 and desk.instances() == [before], "the same file, which changes nothing"
        other = mr_slice(1)
        other.PatientID = "P2"
        status, document = post(web_port(desk), multipart([file_bytes(other, tmp_path / "other")]))
        assert (status, refused(document)) == (409, [0x0111])


def test_each_part_is_judged_for_itself(tmp_path: Path) -> None:
    good, alien, odd = mr_slice(1), mr_slice(2), mr_slice(3, study="7")
    alien.SOPClassUID = alien.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    files = [file_bytes(one, tmp_path / "files") for one in (good, alien, odd)]
    lying = bytearray(file_bytes(mr_slice(4), tmp_path / "files"))
    at = lying.rindex(b"1.2.840.10008.5.1.4.1.1.4")  # in the data set, not in the file's head
    lying[at : at + 25] = b"1.2.840.10008.5.1.4.1.1.7"
    body = multipart([*files, bytes(lying), b"no file", files[0][:300]])
    with receiver(tmp_path / "data", web={"port": 0}) as desk:
        status, document = post(web_port(desk), body, f"/dicom-web/studies/{ROOT}.1")
        assert status == 202 and stored(document) == [good.SOPInstanceUID]
        assert refused(document) == [0x0122, 0xA900, 0xA900, 0xC000, 0xC000]
        assert len(desk.instances()) == 1 and desk.incoming() == []
        until(lambda: len(desk.audited("instance refused")) >= 4, 20, "the refusals in the audit log")


def test_what_is_no_request_is_answered_and_leaves_nothing(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    body = multipart(file_bytes(mr_slice(number), tmp_path / "files") for number in (1, 2))
    right = {"Authorization": "Bearer 0123456789abcdef"}
    with receiver(tmp_path / "data", web={"port": 0, "token": token}) as desk:
        port = web_port(desk)
        assert post(port, body)[0] == 401
        assert post(port, body, Authorization="Bearer 0123456789abcdeg")[0] == 401
        assert post(port, body, "/instances", **right)[0] == 404
        assert post(port, body, **right, **{"Content-Type": "application/dicom"})[0] == 415
        assert post(port, body[:-40], **right)[0] == 400, "the last part does not end"
        assert post(port, b"--edge--\r\n", **right)[0] == 400, "no part"
        assert desk.incoming() == [] and len(desk.instances()) == 1, "a part that had ended is kept"
        assert post(port, body, **right)[0] == 200


def test_an_instance_that_is_too_large_and_a_full_disk(tmp_path: Path) -> None:
    large = mr_slice(1)
    large.PixelData = bytes(20_000)
    body = multipart([file_bytes(large, tmp_path / "files")])
    with receiver(tmp_path / "one", max_instance_mb=0.01, web={"port": 0}) as desk:
        status, document = post(web_port(desk), body)
        assert (status, refused(document)) == (503, [0xA700]) and desk.incoming() == []
    with receiver(tmp_path / "two", reserve_gb=1e9, web={"port": 0}) as desk:
        status, document = post(web_port(desk), body)
        assert (status, refused(document)) == (503, [0xA700])


def test_who_breaks_off_or_drips_leaves_nothing_and_holds_nobody(tmp_path: Path) -> None:
    body = multipart([file_bytes(mr_slice(1), tmp_path / "files")])
    head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with receiver(tmp_path / "data", idle_seconds=1, max_associations=2, web={"port": 0}) as desk:
        port = web_port(desk)
        with socket.create_connection(("127.0.0.1", port)) as broken:
            broken.sendall(head + body[:200])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for one in silent:
            one.sendall(head + body[:200])
        until(lambda: post(port, body)[0] == 200, 20, "a place")
        for one in silent:
            one.close()
        until(lambda: desk.incoming() == [], 20, "nothing unfinished")
        desk.wait_for(State.QUEUED)


def test_mutual_tls(tmp_path: Path) -> None:
    tls_files = make_tls(tmp_path / "tls")
    body = multipart([file_bytes(mr_slice(1), tmp_path / "files")])
    with receiver(tmp_path / "data", web={"port": 0, "tls": tls_files.server}) as desk:
        port = web_port(desk)
        context = client_context(tls_files.client)
        assert post(port, body, context=context)[0] == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            post(port, body)
        stranger = ssl.create_default_context(cafile=str(tls_files.server.authority))
        with pytest.raises((OSError, http.client.HTTPException)):
            post(port, body, context=stranger)


def test_a_killed_receiver_has_what_it_acknowledged(tmp_path: Path) -> None:
    with child(tmp_path, quiet_seconds=600, web={"port": 0}) as desk:
        acknowledged: list[str] = []

        def feed() -> None:
            for number in range(1000):
                try:
                    one = multipart([file_bytes(mr_slice(number), tmp_path / "files")])
                    acknowledged.extend(stored(post(web_port(desk), one)[1]))
                except (OSError, ValueError, http.client.HTTPException):
                    return

        feeding = threading.Thread(target=feed)
        feeding.start()
        until(lambda: len(acknowledged) > 5, 30, "some instances")
        desk.end(9)
        feeding.join(30)
        desk.start()
        kept = {row.sop_uid: row for row in desk.instances()}
        assert set(acknowledged) <= set(kept)
        for uid in acknowledged:
            assert pydicom.dcmread(desk.data / "spool" / kept[uid].path).SOPInstanceUID == uid


def test_orthanc_sends_a_study_by_its_plug_in(tmp_path: Path) -> None:
    files = [tmp_path / "files" / f"{mr_slice(n).SOPInstanceUID}.dcm" for n in range(4)]
    for number in range(4):
        file_bytes(mr_slice(number), tmp_path / "files")
    with receiver(tmp_path / "data", web={"port": 0}) as desk:
        servers = {"scanside": [f"http://127.0.0.1:{web_port(desk)}/"]}
        options = {"DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers}}
        with Orthanc(tmp_path / "orthanc", dicom_web=True, options=options) as archive:
            assert storescu(archive.port, files, called="PACS").returncode == 0
            archive.post(
                "/dicom-web/servers/scanside/stow",
                {"Resources": archive.get("/studies"), "Synchronous": True},
            )
            assert desk.wait_for(State.QUEUED).instances == 4


def test_one_appliance_sends_to_another(tmp_path: Path) -> None:
    """Our own user agent: SEG, SR and capture, which are kept with their study."""
    with receiver(tmp_path / "data", web={"port": 0}) as desk:
        url = f"http://127.0.0.1:{web_port(desk)}"
        sender = Sender(tmp_path / "sender", WebDestination(kind="stow", name="next", url=url))
        made = sender.put("next")
        with sender.sending():
            sender.wait("next", Sending.DELIVERED)
        with_uids = {row.sop_uid for case in desk.cases for row in desk.instances(case.study_uid)}
        assert with_uids == {one.sop_uid for one in made}


class Dripping(BytesIO):
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(self._most, size if size and size > 0 else self._most))


CONTENT = st.lists(st.binary(max_size=60).filter(lambda one: b"--edge" not in one), min_size=1, max_size=4)


@given(CONTENT, st.integers(1, 50), st.booleans())
def test_any_content_comes_out_as_it_went_in(files: Sequence[bytes], most: int, preamble: bool) -> None:
    data = (b"to be passed over\r\n" if preamble else b"") + multipart(files)
    chunked = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 7]), data[at : at + 7]) for at in range(0, len(data), 7)
    )
    for body in (
        Body(Dripping(data, most), len(data), 60),
        Body(Dripping(chunked + b"0\r\n\r\n", most), None, 60),
    ):
        assert [b"".join(part.pieces) for part in parts(body, "edge")] == list(files)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_do_anything_but_be_refused(data: bytes, chunked: bool) -> None:
    body = Body(Dripping(data, 9), None if chunked else len(data), 60)
    try:
        found: Iterator[Any] = parts(body, "edge")
        assert list(found) or b"--edge" in data
    except BodyError as error:
        assert str(error)
