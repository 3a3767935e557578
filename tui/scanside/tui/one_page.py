"""A server of one page, for one reader, at an address of the loopback that cannot be guessed."""

import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast


class OnePage(HTTPServer):
    """Serves a page once, then ends.

    Attributes:
        page, path: What is served, and where.
        was_read: Whether its reader has come.
    """

    def __init__(self, page: bytes, path: str, seconds: float, read: Callable[[], None]) -> None:
        """Bind a free port.

        Args:
            seconds: How long it waits for its reader.
            read: Called, on the thread of `serve`, when its reader has come.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page, self.path, self.timeout = page, path, seconds
        self.was_read = False
        self._waited = False
        self._read = read

    def handle_timeout(self) -> None:
        """Nobody came."""
        self._waited = True

    def gone_out(self) -> None:
        """Its reader has it."""
        self.was_read = True
        self._read()

    def serve(self) -> None:
        """Until it was read, or nobody came."""
        try:
            while not self.was_read and not self._waited:
                self.handle_request()
        except (OSError, ValueError):  # closed with the terminal
            return
        finally:
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("OnePage", self.server)
        found = secrets.compare_digest(self.path.encode(), server.path.encode())
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if found:
            self.wfile.write(server.page)
            server.gone_out()

    def log_message(self, format: str, *arguments: object) -> None:
        """The address is nobody else's business."""
