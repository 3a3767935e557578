"""Showing a page: in this desktop's browser, or, over ssh, once, at an address of the loopback that only we know."""

import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanside.tui.one_page import OnePage

KEPT_SECONDS = 600.0
"""How long an address waits for its reader."""


class Pages:
    """The pages that a terminal has made; they are gone when it ends."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._folder: Path | None = None
        self._servers: list[OnePage] = []

    def show(self, name: str, text: str, seen: Callable[[], None] = lambda: None) -> str:
        """Show a page; returns the sentence that says where.

        Args:
            name: Of its file: a case id.
            seen: Called when a browser has it: at once here, over ssh when it has been fetched, on another thread.
        """
        if self._desktop():
            import webbrowser

            path = self.write(name, text)
            if webbrowser.open(path.as_uri()):
                seen()
                return f"The page of {name} opens in the browser; it is removed when this terminal ends."
        return self.offer(text, seen)

    def write(self, name: str, text: str) -> Path:
        """Write a page where only this user can read it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="scanside-page-"))  # 0700
        path = self._folder / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        return path

    def offer(self, text: str, seen: Callable[[], None] = lambda: None) -> str:
        """Offer a page for one reader at an address that cannot be guessed; returns the sentence with it."""
        from scanside.tui.one_page import OnePage  # imported when somebody wants it: opening is quick

        token = secrets.token_urlsafe(24)
        server = OnePage(text.encode(), f"/{token}", KEPT_SECONDS, seen)
        self._servers.append(server)
        threading.Thread(target=server.serve, name="page", daemon=True).start()
        port = server.server_address[1]
        return (
            f"Open http://127.0.0.1:{port}/{token} once, within 10 minutes; over ssh, forward it first: "
            f"ssh -L {port}:127.0.0.1:{port}"
        )

    def close(self) -> None:
        """Remove what was written, and end what is offered."""
        for server in self._servers:
            server.server_close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _desktop(self) -> bool:
        known = self._environment
        here = bool(known.get("DISPLAY") or known.get("WAYLAND_DISPLAY"))
        return here and not known.get("SSH_CONNECTION")
