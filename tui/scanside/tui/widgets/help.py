"""`?`: what a screen is for, what its symbols mean, and which keys it has."""

from typing import Any, ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from scanside.tui.format import RESEARCH


class HelpScreen(ModalScreen[None]):
    """The help of the screen below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "app.pop_screen", "Close", id="help.close"),
    ]

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._text = of.HELP or ""
        self._keys = [
            active.binding
            for active in of.active_bindings.values()
            if active.binding.id and not active.binding.system
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
            keys: dict[str, list[str]] = {}
            for binding in self._keys:
                keys.setdefault(f"{binding.id} {binding.description}", []).append(
                    self.app.get_key_display(binding)
                )
            for named, all_keys in keys.items():
                name, _, description = named.partition(" ")
                table.add_row(" ".join(dict.fromkeys(all_keys)), description, name)
            yield Static(table)

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one("#help").focus()
