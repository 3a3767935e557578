"""The command palette: every command that the screen has now, under its words, with its key."""

from collections.abc import Iterator
from typing import Any

from textual.app import App, SystemCommand
from textual.screen import Screen

from scanside.tui.commands import BY_NAME

_MOVES = ("up", "down", "page-up", "page-down", "first", "last", "slice-up", "slice-down")
"""Nobody looks for an arrow key in a list."""


def commands_here(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Commands of the screen and the app, in the order of the table."""
    found = {
        active.binding.id: active.binding
        for active in screen.active_bindings.values()
        if active.binding.id in BY_NAME and active.binding.id != "app.palette"
    }
    for name, command in BY_NAME.items():
        if (binding := found.get(name)) and name.rpartition(".")[2] not in _MOVES:
            key = app.get_key_display(binding)
            yield SystemCommand(command.words, f"Key {key}", lambda keys=binding.key: app.simulate_key(keys))
