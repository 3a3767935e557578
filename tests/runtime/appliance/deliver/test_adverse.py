"""Peers that refuse, reject, run out, hang, drip and vanish: each a reason in the outbox, and no other waits for it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pynetdicom.sop_class import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, SegmentationStorage

from scanside.runtime.appliance.config import DicomDestination
from scanside.runtime.appliance.store.states import Sending, State
from tests.runtime.appliance.deliver.desk import Desk
from tests.runtime.appliance.deliver.raw import raw
from tests.runtime.appliance.deliver.scripted import STORAGE, peer
from tests.support.appliance import free_port, until
from tests.support.tls_files import make_tls

pytestmark = pytest.mark.requirement("once")


def _destination(port: int, name: str = "broken", **more: object) -> DicomDestination:
    return DicomDestination.model_validate(
        {"name": name, "ae_title": "PEER", "host": "127.0.0.1", "port": port, "commitment": False, **more}
    )


def _silent(client: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def _closes(client: socket.socket, stop: threading.Event) -> None:
    client.recv(10)


def _speaks_http(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    stop.wait()


def _drips(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(b"\x02\x00\x00\x00\xff\xff")  # an A-ASSOCIATE-AC that never ends
    while not stop.wait(0.1):
        client.sendall(b"\x00")


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (_silent, "did not answer the request for an association within 1 s"),
        (_closes, "ended the connection before an association"),
        (_speaks_http, "ended the connection before an association"),
        (_drips, "did not answer the request for an association within 1 s"),
    ],
)
def test_what_is_no_peer_is_a_reason_and_holds_nobody(
    tmp_path: Path, behave: Callable[[socket.socket, threading.Event], None], words: str
) -> None:
    with raw(behave) as port, peer() as pacs:
        desk = Desk(tmp_path, _destination(port), pacs.destination(commitment=False), timeout_seconds=1)
        desk.put("broken", "pacs")
        with desk.sending():
            desk.wait("pacs", Sending.DELIVERED)
            desk.reason("broken", words)
            until(lambda: max(item.attempts for item in desk.items()) > 1, 30, "another attempt")
        assert desk.states("broken") == {Sending.WAITING}
        assert desk.audited("delivery failed") == 3  # each object once for one reason, not at each attempt


def test_nothing_listens(tmp_path: Path) -> None:
    port = free_port()
    desk = Desk(tmp_path, _destination(port))
    desk.put("broken")
    with desk.sending():
        assert f"127.0.0.1:{port} (connection refused)" in desk.reason("broken", "cannot be reached")
        with peer(port=port) as pacs:
            desk.wait("broken", Sending.DELIVERED)
            assert len(pacs.got) == 3
    assert desk.job_states() == {State.DONE}


def test_unknown_host(tmp_path: Path) -> None:
    desk = Desk(tmp_path, _destination(104, host="pacs.invalid", plaintext=True))
    desk.put("broken", kinds=("sr",))
    with desk.sending():
        desk.reason("broken", "cannot be reached at pacs.invalid:104")


def test_a_refused_association(tmp_path: Path) -> None:
    with peer(title="OTHER", strict=True) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            desk.reason("pacs", "refused the association (called ae title not recognised)")
        assert desk.states("pacs") == {Sending.WAITING}


def test_no_context_is_accepted(tmp_path: Path) -> None:
    with peer(takes=()) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs", kinds=("seg",))
        with desk.sending():
            desk.reason("pacs", "does not take Segmentation Storage")


def test_one_context_is_rejected_and_the_other_objects_arrive(tmp_path: Path) -> None:
    with peer(takes=(SegmentationStorage, SecondaryCaptureImageStorage)) as pacs:
        desk = Desk(tmp_path, pacs.destination(commitment=False))
        desk.put("pacs")
        with desk.sending():
            desk.reason("pacs", "does not take Comprehensive 3D SR Storage")
            until(lambda: desk.states("pacs") == {Sending.WAITING, Sending.DELIVERED}, 20, "the others")
        by_class = {item.sop_class: item.state for item in desk.items()}
        assert by_class[Comprehensive3DSRStorage] is Sending.WAITING
        assert by_class[SegmentationStorage] is by_class[SecondaryCaptureImageStorage] is Sending.DELIVERED


def test_a_peer_that_takes_implicit_vr_alone(tmp_path: Path) -> None:
    with peer(syntaxes=("1.2.840.10008.1.2",)) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            desk.wait("pacs", Sending.COMMITTED)
        assert len(pacs.got) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA700, "out of resources, status A700"),
        (0xA900, "does not match its SOP class, status A900"),
        (0xC123, "cannot understand the object, status C123"),
        (0x0124, "not authorised, status 0124"),
    ],
)
def test_a_failure_status_is_a_reason_until_it_changes(tmp_path: Path, status: int, words: str) -> None:
    with peer(status=status) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            desk.reason("pacs", words)
            until(lambda: min(item.attempts for item in desk.items()) > 1, 20, "all are tried again")
            pacs.status = 0
            desk.wait("pacs", Sending.COMMITTED)


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0x0111])
def test_a_warning_is_stored_and_noted(tmp_path: Path, status: int) -> None:
    with peer(status=status) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            desk.wait("pacs", Sending.COMMITTED)
        assert desk.audited("stored with a warning") == 3


def test_a_peer_that_hangs_after_accepting(tmp_path: Path) -> None:
    with peer() as pacs, _hanging_store() as hanging:
        desk = Desk(tmp_path, _destination(hanging), pacs.destination(), timeout_seconds=1)
        desk.put("broken", "pacs")
        with desk.sending():
            desk.wait("pacs", Sending.COMMITTED)
            desk.reason("broken", "did not acknowledge the object")


@contextmanager
def _hanging_store() -> Iterator[int]:
    from pynetdicom import AE, evt

    release = threading.Event()

    def hang(event: object) -> int:
        release.wait(60)
        return 0xC000

    entity = AE("PEER")
    for sop_class in STORAGE:
        entity.add_supported_context(sop_class)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, hang)])
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        release.set()
        server.shutdown()


def test_a_peer_that_vanishes_in_the_middle_of_an_object(tmp_path: Path) -> None:
    """The network ends between the association and the acknowledgement, again and again; then it holds."""
    with peer() as pacs, _cutting(pacs.port, after=700, times=3) as (port, cut):
        desk = Desk(tmp_path, _destination(port, "pacs"), timeout_seconds=2)
        made = desk.put("pacs")
        with desk.sending():
            desk.wait("pacs", Sending.DELIVERED)
        assert len(cut) >= 3
        assert set(pacs.got) == {one.sop_uid for one in made}
    assert desk.job_states() == {State.DONE}


@contextmanager
def _cutting(target: int, after: int, times: int) -> Iterator[tuple[int, list[int]]]:
    """A proxy that cuts its first `times` connections once a number of bytes went to the peer."""
    cut: list[int] = []

    def behave(client: socket.socket, stop: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", target)) as server:
            back = threading.Thread(target=pump, args=(server, client, None), daemon=True)
            back.start()
            if pump(client, server, after if len(cut) < times else None):
                cut.append(1)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def pump(source: socket.socket, sink: socket.socket, left: int | None) -> bool:
        with suppress(OSError):
            while data := source.recv(256):
                sink.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        return True
        return False

    with raw(behave) as port:
        yield port, cut


def test_a_missing_or_changed_file_is_an_alarm_and_the_others_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(commitment=False))
        missing, swapped, good = desk.put("pacs")
        whole = (desk.config.results / missing.path).read_bytes()
        (desk.config.results / missing.path).unlink()
        (desk.config.results / swapped.path).write_bytes((desk.config.results / good.path).read_bytes())
        with desk.sending():
            desk.reason("pacs", "cannot be read (No such file or directory)")
            desk.reason("pacs", "holds another object")
            until(lambda: good.sop_uid in pacs.got, 20, "the sound object")
            (desk.config.results / missing.path).write_bytes(whole)
            until(lambda: missing.sop_uid in pacs.got, 20, "the file is back")
        assert swapped.sop_uid not in pacs.got
    assert any(
        record.levelname == "ERROR" and "cannot be read" in record.message for record in caplog.records
    )
    assert all("Doe" not in record.getMessage() for record in caplog.records)


def test_a_file_cut_short_is_not_sent(tmp_path: Path) -> None:
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(commitment=False))
        (made,) = desk.put("pacs", kinds=("sr",))
        path = desk.config.results / made.path
        path.write_bytes(path.read_bytes()[:200])
        with desk.sending():
            desk.reason("pacs", "damaged")
        assert pacs.got == []


def test_what_is_under_review_is_not_sent(tmp_path: Path) -> None:
    from scanside.runtime.appliance.store import jobs
    from scanside.runtime.appliance.store.states import Action

    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(), _destination(free_port()))
        desk.put("pacs", hold=True)
        desk.put("pacs", study=2)
        with desk.sending():
            until(lambda: len(pacs.got) == 3, 20, "the other study")
            assert all(".1.2." in uid for uid in pacs.got)
            jobs.act(desk.database, 1, Action.ACCEPT, "user test")
            until(lambda: desk.job_states() == {State.DONE}, 20, "accepted")


def test_objects_for_a_destination_that_is_gone_stay_and_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(), _destination(free_port(), "old"))
        desk.put("old", "pacs")
        desk.destinations(pacs.destination())
        with desk.sending():
            desk.wait("pacs", Sending.COMMITTED)
        assert desk.states("old") == {Sending.WAITING}
    told = [record for record in caplog.records if "3 objects wait for old" in record.getMessage()]
    assert len(told) == 1


def test_tls_peers(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    with peer(tls=files.server) as pacs, peer(tls=files.elsewhere) as elsewhere:
        client = files.client
        desk = Desk(
            tmp_path,
            pacs.destination("good", tls=client, commitment=False),
            pacs.destination("expired", tls=files.expired, commitment=False),
            pacs.destination("imposter", tls=files.imposter, commitment=False),
            pacs.destination("plain", commitment=False),
            elsewhere.destination("elsewhere", tls=client, commitment=False),
            pacs.destination("stranger", tls=files.stranger, commitment=False),
            timeout_seconds=2,
        )
        bad = ("expired", "imposter", "plain", "elsewhere", "stranger")
        desk.put("good", *bad, kinds=("sr",))
        with desk.sending():
            desk.wait("good", Sending.DELIVERED)
            desk.reason("stranger", "its certificate is not accepted")
            desk.reason("elsewhere", "its certificate is not accepted")
            desk.reason("expired", "our certificate")
            desk.reason("imposter", "our certificate")
            until(
                lambda: all(item.reason for item in desk.items() if item.destination == "plain"), 20, "plain"
            )
        assert all(desk.states(name) == {Sending.WAITING} for name in bad)
        assert len(pacs.got) == 1


@pytest.mark.parametrize("own", [False, True], ids=["of the destination", "its own"])
def test_commitment_over_tls_on_an_association_of_the_peer(tmp_path: Path, own: bool) -> None:
    import json

    from scanside.runtime.appliance.deliver.listener import port_file
    from tests.runtime.appliance.deliver.scripted import Answer

    files = make_tls(tmp_path / "tls")
    with peer(tls=files.server, answer=Answer.LATER) as pacs:
        listener = {"tls": files.server.model_dump()} if own else {}
        desk = Desk(tmp_path, pacs.destination(tls=files.client), **listener)
        with desk.sending():
            until(port_file(desk.config).exists, 10, "the listener")
            pacs.listener = ("127.0.0.1", json.loads(port_file(desk.config).read_text())["port"])
            with socket.create_connection(pacs.listener):  # silent, before any handshake
                desk.put("pacs")
                desk.wait("pacs", Sending.COMMITTED)
            pacs.tls = files.imposter
            assert not pacs.call_back(pacs.report("1.2.3", []))
