"""STOW-RS as origin server, for a site that sends by DICOMweb alone: `POST /studies` and `POST /studies/{study}`."""

import hmac
import itertools
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scanside.runtime.appliance.config import Receive, WebReceive
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.multipart import Body, BodyError, boundary_of
from scanside.runtime.appliance.receive.scp import Receiver, Sender
from scanside.runtime.appliance.receive.stow import Told, answer_of, store_all
from scanside.runtime.appliance.tls import server_context
from scanside.runtime.errors import UsageError

PATH = re.compile(r"(?:/[A-Za-z0-9_.-]+)?/studies(?:/(?P<study>[0-9.]{1,64}))?/?")
_UNASSOCIATED = 16
"""Connections beyond those that may send at once."""
_JSON = "application/dicom+json"

log = logging.getLogger("scanside.receive")


def token_of(web: WebReceive) -> str | None:
    """The token that senders have to show; None where they need none.

    Raises:
        UsageError: If its file cannot be read or holds no token.
    """
    if web.token is None:
        return None
    try:
        token = web.token.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The token file {web.token} cannot be read; check receive.web.token.") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise UsageError(f"The token file {web.token} does not hold one token of 16 characters or more.")
    return token


class WebServer(ThreadingHTTPServer):
    """Accepts requests, each in its own thread and as an association of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, receive: Receive, conditions: Conditions, receiver: Receiver) -> None:
        """Bind and listen; nothing is accepted before `serve_forever`.

        Raises:
            OSError: If the port is taken.
            UsageError: If a TLS file or the token is wrong.
        """
        assert receive.web is not None
        self.web, self.conditions, self.receiver = receive.web, conditions, receiver
        self.token = token_of(self.web)
        self._tls = server_context(self.web.tls) if self.web.tls is not None else None
        self.seconds = receive.idle_seconds
        self.places = threading.BoundedSemaphore(receive.max_associations)
        self._connections = threading.BoundedSemaphore(receive.max_associations + _UNASSOCIATED)
        self._numbers, self._start = itertools.count(1), f"web.{os.getpid()}.{time.time_ns():x}"
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._over: list[str] = []
        if ":" in self.web.host:
            self.address_family = socket.AF_INET6
        super().__init__((self.web.host, self.web.port), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept; the TLS handshake is made in the connection's thread, with its first read."""
        plain, address = super().get_request()
        plain.settimeout(self.seconds)
        if self._tls is None:
            return plain, address
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, unless there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The whole life of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: object, client_address: Any) -> None:
        """A connection that broke, or whose TLS was not accepted."""
        import sys

        why = type(sys.exc_info()[1]).__name__
        log.info("a DICOMweb connection from %s ended (%s)", client_address[0], why)

    def begin(self) -> str:
        """A request begins; returns the name of its association."""
        name = f"{self._start}.{next(self._numbers)}"
        with self._lock:
            self._open.add(name)
        return name

    def finish(self, name: str) -> None:
        """A request has ended, in whatever way."""
        with self._lock:
            self._open.discard(name)
            self._over.append(name)

    def ended(self) -> list[str]:
        """Names of the requests that have ended since the last call."""
        with self._lock:
            names, self._over = self._over, []
        return names

    def running(self) -> int:
        """Requests that go on, and ended ones that `ended` has not named."""
        with self._lock:
            return len(self._open) + len(self._over)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "scanside"
    sys_version = ""
    server: WebServer
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def do_POST(self) -> None:
        """Store Instances."""
        self.close_connection = True  # what is left of a refused body is not read
        try:
            refused = self._refused()
            if refused is not None:
                self.send_error(*refused)
                return
            if not self.server.places.acquire(blocking=False):
                self._busy()
                return
            try:
                self._store()
            finally:
                self.server.places.release()
        except (OSError, ssl.SSLError) as error:
            log.info("a DICOMweb request from %s broke (%s)", self.client_address[0], type(error).__name__)

    def _refused(self) -> tuple[int, str] | None:
        if not self._may():
            return 401, "a bearer token is needed"
        if PATH.fullmatch(self.path.partition("?")[0]) is None:
            return 404, "there is POST /studies"
        if self._boundary() is None:
            return 415, 'multipart/related; type="application/dicom" is taken'
        if self._length() == -1:
            return 411, "a length is needed, or chunks"
        return None

    def _may(self) -> bool:
        token = self.server.token
        if token is None:
            return True
        scheme, _, shown = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())

    def _boundary(self) -> str | None:
        return boundary_of(self.headers.get("Content-Type", ""))

    def _length(self) -> int | None:
        """Bytes of the body; None for chunks, -1 where nothing is said."""
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            return None
        said = self.headers.get("Content-Length", "")
        return int(said) if said.isdigit() and len(said) < 16 else -1

    def _store(self) -> None:
        match, boundary = PATH.fullmatch(self.path.partition("?")[0]), self._boundary()
        assert match is not None and boundary is not None
        name = self.server.begin()
        told: list[Told] = []
        try:
            sender = Sender(name, self.server.web.ae_title, self.server.web.priority)
            body = Body(self.rfile, self._length(), self.server.seconds)
            told += store_all(
                body, boundary, self.server.conditions, self.server.receiver, sender, match["study"]
            )
        except BodyError as error:
            self.send_error(400, str(error))
            return
        finally:
            self.server.finish(name)
        if not told:
            self.send_error(400, "the body has no part")
            return
        status, document = answer_of(told)
        self._answer(status, json.dumps(document).encode())

    def _busy(self) -> None:
        self.send_error(503, "too many requests at once")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """No answer is kept anywhere."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are told of by what they bring; paths hold UIDs."""
        with suppress(Exception):
            log.debug("a DICOMweb request from %s", self.client_address[0])
