"""What every screen has: the banner on top, the alarms below it, the keys at the bottom, help on `?`."""

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.screen import Screen

from scanside.tui.feed import Snapshot
from scanside.tui.widgets.banner import AlarmLine, Banner
from scanside.tui.widgets.keyline import KeyLine

if TYPE_CHECKING:
    from scanside.tui.app import ScansideApp


class ScansideScreen(Screen[None]):
    """A screen of the terminal. Subclasses compose their own part and are told of every look into the store.

    `HELP` is the text of the screen's help; `BINDINGS` want an `id` of the form `screen.action`, so that they can be
    moved to other keys.
    """

    @property
    def terminal(self) -> "ScansideApp":
        """The app, with its type."""
        return cast("ScansideApp", self.app)

    def compose(self) -> ComposeResult:
        """Banner, alarms, the screen's own part, keys."""
        yield Banner()
        yield AlarmLine()
        yield from self.compose_body()
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """The screen's own part."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Listen to the feed, beginning with what is known."""
        self.terminal.changes.subscribe(self, self.store_changed)
        self.call_after_refresh(self.store_changed, self.terminal.feed.everything())

    def store_changed(self, snapshot: Snapshot) -> None:
        """Something is new in the store, or the health of the service has changed. Called on the UI's thread."""
