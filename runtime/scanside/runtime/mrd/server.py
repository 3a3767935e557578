"""Listens for MRD sessions. It listens first and opens the networks meanwhile: a scanner waits about half a minute."""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from scanside.runtime.errors import CaseError, ScansideError
from scanside.runtime.mrd.session import Summary, serve_session
from scanside.runtime.mrd.wire import Limits
from scanside.runtime.pipeline import Segmentation, Segmenter
from scanside.runtime.volume import Volume

log = logging.getLogger("scanside.mrd")
SESSIONS = 4
"""Sessions at once; a further one waits for a place."""
IDLE_SECONDS = 120.0
"""A session that sends nothing for so long is ended."""


class Networks:
    """A segmenter that is opened in the background, proven on its golden cases, and used by one session at a time."""

    def __init__(self, open_it: Callable[[], Segmenter]) -> None:
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._segmenter: Segmenter | None = None
        self._problem: str | None = None
        threading.Thread(target=self._open, args=(open_it,), name="open networks", daemon=True).start()

    def _open(self, open_it: Callable[[], Segmenter]) -> None:
        try:
            self._segmenter = open_it()
        except ScansideError as error:
            self._problem = str(error)
        except Exception as error:
            self._problem = (
                f"The networks cannot be opened: an unforeseen {type(error).__name__}; see the log."
            )
            log.exception("opening the networks")
        finally:
            self._ready.set()

    @property
    def problem(self) -> str | None:
        """Why they cannot be used; None while they open, and when they can."""
        return self._problem

    def wait(self, seconds: float | None = None) -> bool:
        """Whether opening has ended."""
        return self._ready.wait(seconds)

    def segment(self, volume: Volume) -> tuple[Segmentation, str]:
        """Segment a volume when the networks are open; one at a time.

        Raises:
            CaseError: If they cannot be opened.
        """
        self._ready.wait()
        if self._segmenter is None:
            raise CaseError(self._problem or "The networks are closed.")
        with self._lock:
            return self._segmenter.segment(volume), self._segmenter.bundle.sha256

    def close(self) -> None:
        """Close them."""
        self._ready.wait()
        with self._lock:
            if self._segmenter is not None:
                self._segmenter.close()
                self._segmenter = None


class MrdServer(socketserver.ThreadingTCPServer):
    """The listener: a thread per session, none left when it is over."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        networks: Networks,
        limits: Limits = Limits(),
    ) -> None:
        """Listen.

        Raises:
            OSError: If the port is taken.
        """
        self.networks, self.limits = networks, limits
        self.places = threading.BoundedSemaphore(SESSIONS)
        super().__init__(address, _Handler)

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
                    self.request.recv, self.request.sendall, self.server.networks.segment, self.server.limits
                )
            except OSError as error:
                log.warning("A session was cut off (%s).", error)
                return
            log.info("%s", _words(found))


def _words(found: Summary) -> str:
    took = "" if found.seconds is None else f", {found.seconds:.1f} s from CLOSE to the last label"
    return (
        f"{found.received} images came, {found.returned} went back, {found.volumes} volumes segmented{took}."
    )
