"""Against a real Orthanc: C-STORE with commitment, STOW-RS, loss, TLS, and a sender that is killed at any instant."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest

from scanside.runtime.appliance.config import DicomDestination, WebDestination
from scanside.runtime.appliance.deliver.echo import echo
from scanside.runtime.appliance.store.states import SETTLED, Sending, State
from tests.runtime.appliance.deliver.desk import Desk, end
from tests.support.appliance import free_port, until
from tests.support.peers import Orthanc
from tests.support.tls_files import make_tls


def _pacs(orthanc: Orthanc, name: str = "pacs", **more: object) -> DicomDestination:
    return DicomDestination.model_validate(
        {"name": name, "ae_title": orthanc.ae_title, "host": "127.0.0.1", "port": orthanc.port, **more}
    )


@pytest.fixture(scope="module")
def listener() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, listener: int) -> Iterator[Orthanc]:
    with Orthanc(
        tmp_path_factory.mktemp("orthanc"), modalities={"SCANSIDE": ("127.0.0.1", listener)}, dicom_web=True
    ) as one:
        yield one


@pytest.fixture(autouse=True)
def _empty(orthanc: Orthanc) -> Iterator[None]:
    yield
    for uid in orthanc.sop_uids():
        orthanc.delete(uid)


def test_store_and_commitment(tmp_path: Path, orthanc: Orthanc, listener: int) -> None:
    desk = Desk(tmp_path, _pacs(orthanc), commitment_port=listener)
    made = desk.put("pacs")
    assert echo(desk.config.destinations[0], desk.config, 5) is None
    with desk.sending():
        desk.wait("pacs", Sending.COMMITTED)
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in made)
    assert desk.job_states() == {State.DONE}
    for one in made:  # what arrived is what was made, to the byte of its data set
        (tmp_path / "back.dcm").write_bytes(orthanc.file(one.sop_uid))
        assert pydicom.dcmread(tmp_path / "back.dcm") == pydicom.dcmread(desk.config.results / one.path)


def test_an_object_lost_before_commitment_is_sent_again(
    tmp_path: Path, orthanc: Orthanc, listener: int
) -> None:
    """Stored without a row for the request; then the PACS loses it; commitment finds out."""
    desk = Desk(tmp_path, _pacs(orthanc), commitment_port=listener)
    with _deaf(orthanc) as deaf:
        desk.destinations(deaf)
        made = desk.put("pacs")
        with desk.sending():
            desk.reason("pacs", "does not offer storage commitment")
    orthanc.delete(made[0].sop_uid)
    desk.destinations(_pacs(orthanc))
    with desk.sending():
        desk.wait("pacs", Sending.COMMITTED)
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in made)
    assert desk.audited("object waiting") == 1


@contextmanager
def _deaf(orthanc: Orthanc) -> Iterator[DicomDestination]:
    """The same archive behind a door that knows no storage commitment: what it takes, it passes on."""
    from pynetdicom import AE, evt

    from tests.runtime.appliance.deliver.scripted import STORAGE

    def forward(event: object) -> int:
        inside = AE("DOOR")
        for one in STORAGE:
            inside.add_requested_context(one)
        association = inside.associate("127.0.0.1", orthanc.port, ae_title=orthanc.ae_title)
        dataset = event.dataset  # type: ignore[attr-defined]
        dataset.file_meta = event.file_meta  # type: ignore[attr-defined]
        status = association.send_c_store(dataset).Status
        association.release()
        return int(status)

    entity = AE("PEER")
    for one in STORAGE:
        entity.add_supported_context(one)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, forward)])
    assert server is not None
    try:
        yield DicomDestination(name="pacs", ae_title="PEER", host="127.0.0.1", port=server.server_address[1])
    finally:
        server.shutdown()


def test_the_pacs_stops_hangs_and_comes_back(tmp_path: Path, orthanc: Orthanc, listener: int) -> None:
    desk = Desk(tmp_path, _pacs(orthanc), commitment_port=listener, timeout_seconds=1)
    orthanc.hang()
    made = desk.put("pacs")
    try:
        with desk.sending():
            desk.reason("pacs", "within 1 s")
            orthanc.wake()
            desk.wait("pacs", Sending.COMMITTED)
    finally:
        orthanc.wake()
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in made)


def test_stow(tmp_path: Path, orthanc: Orthanc) -> None:
    web = WebDestination(kind="stow", name="web", url=orthanc.dicom_web)
    wrong = WebDestination(kind="stow", name="wrong", url=f"{orthanc.url}/nothing")
    desk = Desk(tmp_path, web, wrong)
    made = desk.put("web", "wrong")
    assert echo(web, desk.config, 5) is None
    assert "HTTP 404" in (echo(wrong, desk.config, 5) or "")
    with desk.sending():
        desk.wait("web", Sending.DELIVERED)
        assert "HTTP 404" in desk.reason("wrong", "took nothing")
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in made)


def test_stow_sends_the_others_when_a_file_is_missing(tmp_path: Path, orthanc: Orthanc) -> None:
    web = WebDestination(kind="stow", name="web", url=orthanc.dicom_web)
    desk = Desk(tmp_path, web)
    missing, *others = desk.put("web")
    (desk.config.results / missing.path).unlink()
    with desk.sending():
        desk.reason("web", "cannot be read")
        until(lambda: Sending.DELIVERED in desk.states("web"), 20, "the others")
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in others)


def test_stow_over_https(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    with Orthanc(tmp_path / "orthanc", dicom_web=True, https=files.server) as secure:
        good = WebDestination(
            kind="stow", name="good", url=secure.dicom_web, authority=files.server.authority
        )
        stranger = good.model_copy(update={"name": "stranger", "authority": files.stranger.authority})
        system = good.model_copy(update={"name": "system", "authority": None})
        desk = Desk(tmp_path / "desk", good, stranger, system)
        made = desk.put("good", "stranger", "system")
        with desk.sending():
            desk.wait("good", Sending.DELIVERED)
            desk.reason("stranger", "certificate of stranger is not accepted")
            desk.reason("system", "certificate of system is not accepted")
        assert secure.sop_uids() == sorted(one.sop_uid for one in made)


class _Scripted(BaseHTTPRequestHandler):
    """A web server that answers as told."""

    status, body, wanted = 200, b"", "Bearer secret"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = self.status if self.headers.get("Authorization") == self.wanted else 401
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _web(status: int, body: bytes) -> Iterator[str]:
    handler = type("Told", (_Scripted,), {"status": status, "body": body})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
        server.shutdown()


def _reference(uid: str, reason: int | None = None) -> dict[str, object]:
    found: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return found if reason is None else {**found, "00081197": {"vr": "US", "Value": [reason]}}


def test_stow_partial_answers(tmp_path: Path) -> None:
    """202 and 409 tell of each object (PS3.18 10.5.3.1); what is not told of has not arrived."""
    import json

    token = tmp_path / "token"
    token.write_text("secret\n")
    desk = Desk(tmp_path, *_nothing())
    made = desk.put("web")
    answer = {
        "00081199": {"vr": "SQ", "Value": [_reference(made[0].sop_uid)]},
        "00081198": {"vr": "SQ", "Value": [_reference(made[1].sop_uid, 0xA900)]},
    }
    with _web(202, json.dumps(answer).encode()) as url:
        desk.destinations(WebDestination(kind="stow", name="web", url=url, token=token))
        with desk.sending():
            desk.reason("web", "does not match its SOP class, status A900")
            desk.reason("web", "does not say that it has the object")
        assert [item.state for item in desk.items()] == [Sending.DELIVERED, Sending.WAITING, Sending.WAITING]


@pytest.mark.parametrize(
    ("status", "body", "token", "words"),
    [
        (200, b"", "secret", "without DICOM JSON"),
        (200, b"<xml/>", "secret", "without DICOM JSON"),
        (200, b"[]", "secret", "without DICOM JSON"),
        (503, b"", "secret", "HTTP 503: it is busy"),
        (302, b"", "secret", "HTTP 302"),
        (200, b"{}", "wrong", "HTTP 401: it wants another token"),
        (200, b"{}", "", "does not hold one token"),
        (200, b"{}", None, "cannot be read"),
    ],
)
def test_stow_answers_that_do_not_help(
    tmp_path: Path, status: int, body: bytes, token: str | None, words: str
) -> None:
    path = tmp_path / "token"
    if token is not None:
        path.write_text(token)
    with _web(status, body) as url:
        desk = Desk(tmp_path, WebDestination(kind="stow", name="web", url=url, token=path))
        desk.put("web", kinds=("sr",))
        with desk.sending():
            assert "secret" not in desk.reason("web", words)
        assert desk.states("web") == {Sending.WAITING}


def test_stow_one_object_at_fault_does_not_hold_the_others(tmp_path: Path) -> None:
    """A server that answers 400 to whatever the bad object is in."""
    import json

    class Strict(_Scripted):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            there = [uid for uid in uids if uid.encode() in body]
            self.body = json.dumps({"00081199": {"Value": [_reference(uid) for uid in there]}}).encode()
            self.send_response(400 if uids[1] in there else 200)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

    desk = Desk(tmp_path, *_nothing())
    uids = [one.sop_uid for one in desk.put("web")]
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        desk.destinations(WebDestination(kind="stow", name="web", url=url))
        with desk.sending():
            desk.reason("web", "HTTP 400")
            until(
                lambda: [item.state for item in desk.items()].count(Sending.DELIVERED) == 2, 20, "the others"
            )
        server.shutdown()
    assert desk.items()[1].state is Sending.WAITING


def _nothing() -> tuple[WebDestination, ...]:
    return (WebDestination(kind="stow", name="web", url=f"http://127.0.0.1:{free_port()}"),)


def test_stow_that_nobody_hears(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *_nothing())
    desk.put("web", kinds=("sr",))
    with desk.sending():
        desk.reason("web", "cannot be reached (connection refused)")
    assert "cannot be reached" in (echo(desk.config.destinations[0], desk.config, 1) or "")


def test_a_sender_killed_at_any_instant_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, orthanc: Orthanc, listener: int
) -> None:
    """The PACS ends with each object exactly once, and every row settles, however often the sender dies."""
    studies, kills, seed = 4, 4, 20261
    chance = random.Random(seed)
    web = WebDestination(kind="stow", name="web", url=orthanc.dicom_web)
    desk = Desk(tmp_path, _pacs(orthanc, commitment_seconds=1), web, commitment_port=listener)
    made = [one for study in range(1, studies + 1) for one in desk.put("pacs", "web", study=study)]
    number, most = 0, len(made) * 2
    for _ in range(kills):
        process = desk.start_process()
        goal = min(most, sum(item.state in SETTLED for item in desk.items()) + chance.randint(1, 4))
        try:
            until(
                lambda goal=goal: sum(i.state is not Sending.WAITING for i in desk.items()) >= goal,
                60,
                "progress",
            )
        finally:
            end(process)
        number += 1
    process = desk.start_process()
    try:
        until(lambda: desk.job_states() == {State.DONE}, 90, f"all are done after {number} kills")
    finally:
        end(process, signal.SIGTERM)
    assert desk.states("pacs") == {Sending.COMMITTED}
    assert desk.states("web") == {Sending.DELIVERED}
    assert orthanc.sop_uids() == sorted(one.sop_uid for one in made)
