"""`?`: what a screen is for, what its symbols mean, and which keys it has."""

from typing import Any, ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static


class HelpScreen(ModalScreen[None]):
    """The help of the screen below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "app.pop_screen", "Close", id="help.close"),
    ]

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._text = of.HELP or ""
        self._keys = [
            (active.binding.description, self._key(active.binding), active.binding.id or "")
            for active in of.active_bindings.values()
            if active.binding.description and not active.binding.system
        ]

    def compose(self) -> ComposeResult:
        """Text, then keys."""
        from textual.widgets import Markdown  # takes as long to import as all the rest of a screen

        with VerticalScroll(id="help"):
            yield Markdown(self._text)
            table = Table(box=None, pad_edge=False)
            for title in ("key", "does", "name for keys.toml"):
                table.add_column(title)
            seen: set[str] = set()
            for description, key, name in self._keys:
                if f"{key}{description}" not in seen:
                    seen.add(f"{key}{description}")
                    table.add_row(key, description, name)
            yield Static(table)

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one("#help").focus()

    def _key(self, binding: Binding) -> str:
        return self.app.get_key_display(binding)
