"""DICOMweb servers that drip, hang and cut: each is a reason within a deadline, and none holds its sender."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import WebDestination
from scanside.runtime.appliance.deliver.association import AssociationError
from scanside.runtime.appliance.deliver.stow import ask_web
from tests.runtime.appliance.deliver.raw import raw
from tests.support.tls_files import make_tls

pytestmark = pytest.mark.requirement("once")

PIECES, PAUSE_S, SECONDS = 600, 0.1, 0.5
"""A server would go on for a minute; a request may take a second in all."""
LARGE = 1 << 22
"""More than the buffers of both ends hold."""


def _drip(client: socket.socket, stop: threading.Event, given: bytes) -> None:
    """One byte at a time, always within the time-out of a single read; `stop` is set where the peer went away."""
    for _ in range(PIECES):
        if stop.wait(PAUSE_S):
            return
        client.sendall(given)


def _head(client: socket.socket, stop: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(client, stop, b"a")


def _body(client: socket.socket, stop: threading.Event) -> None:
    client.recv(1 << 16)
    client.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 9999\r\n\r\n["
    )
    _drip(client, stop, b" ")


def _takes_nothing(client: socket.socket, stop: threading.Event) -> None:
    stop.wait(PIECES * PAUSE_S)


def _takes_slowly(client: socket.socket, stop: threading.Event) -> None:
    for _ in range(PIECES):
        if stop.wait(PAUSE_S):
            return
        client.recv(16)


def _handshake(client: socket.socket, stop: threading.Event) -> None:
    client.recv(1 << 16)
    client.sendall(b"\x16\x03\x03\x40\x00")  # a TLS record of 16 KiB
    _drip(client, stop, b"\x02")


def _cuts(client: socket.socket, stop: threading.Event) -> None:
    client.recv(1 << 16)
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"00081199"')


Behaviour = Callable[[socket.socket, threading.Event], None]


@pytest.mark.parametrize(
    ("behave", "scheme", "size", "words"),
    [
        (_head, "http", 1, "did not answer within 1 s"),
        (_body, "http", 1, "did not answer within 1 s"),
        (_takes_nothing, "http", LARGE, "did not answer within 0.5 s"),
        (_takes_slowly, "http", LARGE, "did not answer within 0.5 s"),
        (_handshake, "https", 1, "did not answer within 0.5 s"),
        (_cuts, "http", 1, "ended the connection within its answer"),
    ],
)
def test_a_server_that_never_ends_is_a_reason(
    tmp_path: Path, behave: Behaviour, scheme: str, size: int, words: str
) -> None:
    authority = make_tls(tmp_path).server.authority if scheme == "https" else None
    ended = threading.Event()

    def behaves(client: socket.socket, stop: threading.Event) -> None:
        with suppress(OSError):
            behave(client, stop)
        ended.set()

    with raw(behaves) as port:
        peer = WebDestination(name="slow", url=f"{scheme}://127.0.0.1:{port}/dicom-web", authority=authority)
        started = time.monotonic()
        with pytest.raises(AssociationError, match=f"^slow {words}"):
            ask_web(peer, "POST", "studies", SECONDS, body=[bytes(size)])
        assert time.monotonic() - started < PIECES * PAUSE_S, "the server had not ended by itself"
