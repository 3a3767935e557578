"""The bench screen."""

from textual.app import ComposeResult
from textual.widgets import Static

from scanside.tui.screen import ScansideScreen


class BenchScreen(ScansideScreen):
    """To come."""

    def compose_body(self) -> ComposeResult:
        """Nothing yet."""
        yield Static("")
