"""Listens for MRD sessions, a thread each; none is left when it is over."""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from scanside.runtime.mrd.session import Answer, Summary, serve_session
from scanside.runtime.mrd.wire import Limits

log = logging.getLogger("scanside.mrd")
SESSIONS = 4
"""Sessions at once; a further one waits for a place."""
IDLE_SECONDS = 120.0
"""A session that sends or takes nothing for so long is ended."""


class MrdServer(socketserver.ThreadingTCPServer):
    """The listener. It listens once it is made, whatever the answer waits for: a scanner waits half a minute."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        answer: Answer,
        limits: Limits = Limits(),
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Listen.

        Args:
            allowed: Whether an address may connect.

        Raises:
            OSError: If the port is taken.
        """
        self.answer, self.limits, self.allowed = answer, limits, allowed
        self.places = threading.BoundedSemaphore(SESSIONS)
        super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether an address may connect; the log names one that may not."""
        if self.allowed(client_address[0]):
            return True
        log.warning("An MRD session from %s is refused: it is not among the callers.", client_address[0])
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A session that fails ends alone."""
        log.exception("a session failed")


class _Handler(socketserver.BaseRequestHandler):
    server: MrdServer
    request: socket.socket

    def handle(self) -> None:
        with self.server.places:
            self.request.settimeout(IDLE_SECONDS)
            try:
                found = serve_session(
                    self.request.recv, self.request.sendall, self.server.answer, self.server.limits
                )
            except OSError as error:
                log.warning("A session was cut off (%s).", error)
                return
            log.info("%s", _words(found))


def _words(found: Summary) -> str:
    took = "" if found.seconds is None else f", {found.seconds:.1f} s from CLOSE to the last label"
    return (
        f"{found.received} images came, {found.returned} went back, {found.volumes} volumes labelled{took}."
    )
