"""Who is refused: the wrong title, the wrong place, too many, too long, too slow, and without the right certificate."""

import json
import socket
import struct
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import ValidationError
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from scanside.runtime.appliance.receive.main import run
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import UsageError
from tests.runtime.appliance.receive.receiving import (
    MR,
    associate,
    configuration,
    mr_slice,
    receiver,
    send,
    series_files,
    wait_until_closed,
)
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT
from tests.support.peers import echoscu, storescu
from tests.support.tls_files import TlsFiles, make_tls

pytestmark = pytest.mark.requirement("malformed", "limits")

CALLERS = [
    {"ae_title": "MR1", "address": "127.0.0.1"},
    {"ae_title": "MR2", "address": "127.0.0.2"},
    {"ae_title": "ANY"},
]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.mark.requirement("callers")
@pytest.mark.parametrize(
    ("calling", "called", "address", "reason"),
    [
        ("MR1", "SCANSIDE", "127.0.0.1", None),
        ("MR2", "SCANSIDE", "127.0.0.2", None),
        ("ANY", "SCANSIDE", "127.0.0.3", None),
        ("MR3", "SCANSIDE", "127.0.0.1", "Calling AE title not recognised"),
        ("MR2", "SCANSIDE", "127.0.0.1", "Calling AE title not recognised"),
        ("mr1", "SCANSIDE", "127.0.0.1", "Calling AE title not recognised"),
        ("MR1", "ANY-SCP", "127.0.0.1", "Called AE title not recognised"),
    ],
)
def test_titles_and_addresses(
    tmp_path: Path, calling: str, called: str, address: str, reason: str | None
) -> None:
    with receiver(tmp_path / "data", callers=CALLERS) as desk:
        association = associate(desk.port, calling=calling, called=called, bind_address=(address, 0))
        assert association.is_established == (reason is None)
        if reason is None:
            association.release()
            assert desk.audited("association refused") == []
            return
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source) == (1, 1)
        assert answer.reason_str == reason
        (entry,) = until(lambda: desk.audited("association refused"), 10, "the audit entry")
        detail = json.loads(entry.detail)
        assert (detail["calling"], detail["address"]) == (calling, address)


def test_an_address_that_no_caller_has_gets_no_answer_at_all(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", callers=CALLERS[:2]) as desk:
        association = associate(desk.port, bind_address=("127.0.0.9", 0))
        assert not association.is_established and association.acceptor.primitive is None
        (entry,) = until(lambda: desk.audited("association refused"), 10, "the audit entry")
        assert json.loads(entry.detail)["why"] == "address not known"


def test_dcmtk_is_told_why(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", callers=CALLERS) as desk:
        assert "Calling AE Title Not Recognized" in echoscu(desk.port, calling="STRANGER").stdout
        assert "Called AE Title Not Recognized" in echoscu(desk.port, called="ORTHANC").stdout
        assert echoscu(desk.port).returncode == 0


def test_a_scan_of_the_port_does_not_fill_the_log(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", callers=CALLERS) as desk:
        for _ in range(30):
            assert not associate(desk.port, calling="STRANGER").is_established
        assert echoscu(desk.port).returncode == 0
        assert 1 <= len(desk.audited("association refused")) <= 5


def test_an_address_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises((UsageError, ValidationError), match="address"):
        run(configuration(tmp_path / "data", callers=[{"ae_title": "A", "address": "x"}]), threading.Event())


def test_too_many_at_once_are_told_to_come_back(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", max_associations=2) as desk:
        first, second = associate(desk.port), associate(desk.port)
        assert first.is_established and second.is_established
        third = associate(desk.port)
        assert third.is_rejected
        answer = third.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2), "transient, limit"
        first.release()
        fourth = until(lambda: _established(desk.port), 10, "a place")
        fourth.release()
        second.release()


def _established(port: int) -> Association | None:
    association = associate(port)
    return association if association.is_established else None


def test_who_connects_and_says_nothing_takes_no_place(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files", 2)
    with receiver(tmp_path / "data", max_associations=1) as desk:
        silent = [socket.create_connection(("127.0.0.1", desk.port)) for _ in range(20)]
        assert storescu(desk.port, files).returncode == 0
        for one in silent:
            one.close()
        for _ in range(300):  # a load balancer that looks whether somebody is there
            socket.create_connection(("127.0.0.1", desk.port)).close()
        assert storescu(desk.port, files).returncode == 0


def test_who_comes_when_all_connections_are_taken_waits_for_one(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files", 2)
    with receiver(tmp_path / "data", max_associations=1, idle_seconds=1) as desk:
        silent = [socket.create_connection(("127.0.0.1", desk.port)) for _ in range(100)]
        assert storescu(desk.port, files).returncode == 0
        for one in silent:
            one.close()


def test_who_finds_no_connection_free_in_time_is_turned_away(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", max_associations=1, idle_seconds=30) as desk:
        silent = [socket.create_connection(("127.0.0.1", desk.port)) for _ in range(66)]
        until(lambda: desk.audited("association refused"), 10, "a refusal")
        assert "too many connections" in str(desk.audited("association refused")[0])
        for one in silent:
            one.close()


def test_our_limit_of_a_pdu_is_announced_and_kept(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", max_pdu=4096) as desk:
        association = associate(desk.port)
        assert association.acceptor.maximum_length == 4096

        def large(dataset: object) -> None:
            dataset.Rows, dataset.Columns = 200, 200  # type: ignore[attr-defined]
            dataset.PixelData = bytes(80_000)  # type: ignore[attr-defined]

        assert send(association, mr_slice(1, large)) == 0
        association.dul.socket.send(struct.pack(">BxL", 4, 20_000) + bytes(20_000))
        until(lambda: not association.is_established, 10, "the end of the association")
        assert desk.wait_for(State.QUEUED).instances == 1


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">BxL", 1, 0xFFFFFFFF) + bytes(1000),  # four gigabytes to come
        struct.pack(">BxL", 4, 10) + bytes(10),  # data before an association
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        struct.pack(">BxL", 1, 200) + b"\xff" * 200,
        struct.pack(">BxL", 7, 4) + bytes(4),
        b"\1",
    ],
    ids=["4 GiB", "data", "http", "tls", "noise", "abort", "one byte"],
)
def test_who_does_not_speak_dicom_is_hung_up_on(tmp_path: Path, garbage: bytes) -> None:
    with receiver(tmp_path / "data", idle_seconds=1) as desk:
        with socket.create_connection(("127.0.0.1", desk.port)) as peer:
            peer.sendall(garbage)
            wait_until_closed(peer)
        assert echoscu(desk.port).returncode == 0


def test_an_association_that_says_nothing_ends(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", idle_seconds=0.5) as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        until(lambda: not association.is_established, 10, "the end of the association")
        assert desk.wait_for(State.QUEUED).instances == 1


def test_a_pdu_that_does_not_end_ends_the_association(tmp_path: Path) -> None:
    """A byte now and then keeps no time-out of a socket from running, but one of the whole PDU."""
    with receiver(tmp_path / "data", idle_seconds=1) as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        peer = association.dul.socket.socket
        peer.sendall(struct.pack(">BxL", 4, 10_000))
        over = threading.Event()

        def drip() -> None:
            while not over.wait(0.05):
                try:
                    peer.sendall(b"\0")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert desk.wait_for(State.QUEUED).instances == 1
        finally:
            over.set()
            thread.join()
            association.abort()


def pdata(context: int, header: int, data: bytes) -> bytes:
    item = struct.pack(">LBB", len(data) + 2, context, header) + data
    return struct.pack(">BxL", 4, len(item)) + item


def command(field: int, *, data_set: int = 1) -> bytes:
    elements = b"".join(
        struct.pack("<HHLH", 0, number, 2, value)
        for number, value in ((0x0100, field), (0x0110, 1), (0x0700, 0), (0x0800, data_set))
    )
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


@pytest.mark.parametrize(
    "messages",
    [
        [pdata(1, 0, bytes(100))] * 3 + [pdata(1, 2, b"")],  # a data set without a command
        [pdata(1, 1, bytes(4000))] * 40,  # a command without end
        [pdata(1, 3, command(0x0020))],  # C-FIND, which was not negotiated
        [pdata(1, 3, command(0x0100))],  # N-EVENT-REPORT
        [pdata(1, 3, command(0x7777))],  # nothing
        [pdata(1, 3, bytes(64))],
        [pdata(1, 3, b"")],
        [struct.pack(">BxLLB", 4, 5, 1, 1)],  # a PDV without a header
    ],
    ids=["data only", "endless", "find", "event", "unknown", "zeros", "empty", "no header"],
)
def test_messages_that_make_no_sense_end_the_association_and_nothing_else(
    tmp_path: Path, messages: list[bytes]
) -> None:
    with receiver(tmp_path / "data", max_pdu=8192) as desk:
        association = associate(desk.port)
        other = associate(desk.port)
        for message in messages:
            association.dul.socket.send(message)
        until(lambda: not association.is_alive(), 15, "the end of the association")
        assert send(other, mr_slice(1)) == 0, "others go on"
        other.release()
        assert desk.wait_for(State.QUEUED).instances == 1
        assert desk.incoming() == []


def test_who_does_not_wait_for_answers_gets_them_all_the_same(tmp_path: Path) -> None:
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        association._reactor_checkpoint.clear()
        until(lambda: association._is_paused, 10, "the reactor of the sender")
        for number in range(1, 31):
            request = C_STORE()
            request.MessageID, request.Priority = number, 2
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = MR, f"{ROOT}.1.3.{number}"
            request.DataSet = BytesIO(encode(mr_slice(number), False, True) or b"")
            association.dimse.send_msg(request, 1)
        answers = [association.dimse.get_msg(block=True)[1] for _ in range(30)]
        assert [(one.MessageIDBeingRespondedTo, one.Status) for one in answers] == [
            (n, 0) for n in range(1, 31)
        ]
        association._reactor_checkpoint.set()
        association.release()
        assert desk.wait_for(State.QUEUED).instances == 30


def test_half_an_instance_leaves_nothing_behind(tmp_path: Path) -> None:
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        request = b"".join(
            struct.pack("<HHL", 0, number, len(value)) + value
            for number, value in (
                (0x0002, b"1.2.840.10008.5.1.4.1.1.4\0"),
                (0x0100, struct.pack("<H", 1)),
                (0x0110, struct.pack("<H", 1)),
                (0x0700, struct.pack("<H", 0)),
                (0x0800, struct.pack("<H", 1)),
                (0x1000, b"1.2.3.4\0"),
            )
        )
        peer = association.dul.socket
        peer.send(pdata(1, 3, struct.pack("<HHLL", 0, 0, 4, len(request)) + request))
        for _ in range(5):
            peer.send(pdata(1, 0, bytes(4000)))
        until(desk.incoming, 10, "the file that comes in")
        peer.socket.close()
        until(lambda: not desk.incoming(), 10, "that it is gone")
        assert desk.cases == []


def test_tls_takes_the_right_certificate_and_no_other(tmp_path: Path, tls: TlsFiles) -> None:
    files = series_files(tmp_path / "files", 2)
    with receiver(tmp_path / "data", tls=tls.server.model_dump()) as desk:
        sent = storescu(desk.port, files, tls=tls.client)
        assert sent.returncode == 0, sent.stdout
        assert desk.wait_for(State.QUEUED).instances == 2
        assert echoscu(desk.port, tls=tls.client).returncode == 0
        for wrong in (tls.imposter, tls.expired, tls.stranger):
            assert echoscu(desk.port, tls=wrong).returncode != 0
        anonymous = ("+tla", "+cf", str(tls.client.authority))
        assert echoscu(desk.port, *anonymous).returncode != 0
        assert echoscu(desk.port).returncode != 0, "plaintext"
        reasons = {json.loads(one.detail)["why"] for one in desk.audited("association refused")}
        assert len(reasons) >= 2 and all("tls" in reason.lower() for reason in reasons), reasons
        assert echoscu(desk.port, tls=tls.client).returncode == 0


def test_a_handshake_that_never_ends_keeps_nobody_waiting(tmp_path: Path, tls: TlsFiles) -> None:
    with receiver(tmp_path / "data", tls=tls.server.model_dump(), max_associations=1) as desk:
        silent = [socket.create_connection(("127.0.0.1", desk.port)) for _ in range(5)]
        began = time.monotonic()
        assert echoscu(desk.port, tls=tls.client).returncode == 0
        assert time.monotonic() - began < 9, "the handshakes have ten seconds"
        for one in silent:
            one.close()


@pytest.mark.requirement("callers")
def test_off_loopback_only_with_tls_and_callers(tmp_path: Path, tls: TlsFiles) -> None:
    with pytest.raises(ValidationError, match=r"receive\.tls"):
        configuration(tmp_path / "data", host="0.0.0.0", callers=CALLERS)
    with pytest.raises(ValidationError, match="list the callers"):
        configuration(tmp_path / "data", host="0.0.0.0", tls=tls.server.model_dump())
    with receiver(tmp_path / "data", host="0.0.0.0", callers=CALLERS, tls=tls.server.model_dump()) as desk:
        assert echoscu(desk.port, tls=tls.client).returncode == 0
        assert echoscu(desk.port).returncode != 0
