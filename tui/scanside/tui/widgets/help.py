"""`?`: what a screen is for, what its symbols mean, and which keys it has."""

from typing import Any, ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from scanside.tui.commands import BY_NAME, Place, bindings
from scanside.tui.format import RESEARCH


class HelpScreen(ModalScreen[None]):
    """The help of the screen below it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.HELP)

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._text = of.HELP or ""
        self._offered = [
            active.binding for active in of.active_bindings.values() if active.binding.id in BY_NAME
        ]

    def compose(self) -> ComposeResult:
        """Text, then keys."""
        from textual.widgets import Markdown  # takes as long to import as all the rest of a screen

        with VerticalScroll(id="help") as window:
            window.border_title = RESEARCH
            yield Markdown(self._text)
            table = Table(box=None, pad_edge=False)
            for title in ("key", "does", "name for keys.toml"):
                table.add_column(title)
            for name, command in BY_NAME.items():
                keys = [self.app.get_key_display(one) for one in self._offered if one.id == name]
                if keys:
                    table.add_row(" ".join(dict.fromkeys(keys)), command.words, name)
            yield Static(table)

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one("#help").focus()
