"""The application: three screens over one feed."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.signal import Signal

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.audit import person
from scanside.tui import actions
from scanside.tui.alarms import Alarm, alarms
from scanside.tui.feed import Feed, Snapshot
from scanside.tui.keys import all_bindings, keys_file, load_keys
from scanside.tui.themes import THEMES
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.screen import WorklistScreen


def _system() -> Screen[None]:
    from scanside.tui.system.screen import SystemScreen  # imported when it is looked at: opening is quick

    return SystemScreen()


def _bench() -> Screen[None]:
    from scanside.tui.bench.screen import BenchScreen

    return BenchScreen()


MODES: dict[str, Callable[[], Screen[None]]] = {
    "worklist": WorklistScreen,
    "system": _system,
    "bench": _bench,
}


class ScansideApp(App[None]):
    """The operator's terminal.

    Attributes:
        config: Of the appliance whose store is shown.
        actor: Who sits here, as the audit log calls them.
        feed: What is known of the store.
        changes: Published on the UI's thread after each look that found something; subscribe in `on_mount`.
        alarms: What needs a person now.
        place: What the top line calls this appliance.
    """

    TITLE = "scanside"
    CSS_PATH = "styles/app.tcss"
    MODES: ClassVar[dict[str, Any]] = MODES
    DEFAULT_MODE = "worklist"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "show_help", "Help", key_display="?", id="app.help"),
        Binding("1", "switch_mode('worklist')", "Worklist", show=False, id="app.worklist"),
        Binding("2", "switch_mode('system')", "System", id="app.system"),
        Binding("3", "switch_mode('bench')", "Bench", show=False, id="app.bench"),
        Binding("T", "next_theme", "Theme", show=False, id="app.theme"),
        Binding("q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+q", "quit", "Quit", show=False, system=True, id="app.quit-always"),
    ]

    def __init__(
        self,
        config: Config,
        *,
        theme: str = "dark",
        actor: str | None = None,
        place: str | None = None,
        clock: Callable[[], float] = time.time,
        keys: Path | None = None,
    ) -> None:
        """Prepare it.

        Args:
            theme: One of `THEMES`.
            actor: Instead of the user at the keyboard.
            place: What the top line calls the appliance; None for its AE title.
            clock: What time it is (for tests).
            keys: File of the chosen keys; None for the user's own.

        Raises:
            UsageError: If the file of keys is wrong.
        """
        super().__init__()
        self.config = config
        self.actor = actor or person()
        self.place = place or config.receive.ae_title
        self.now = clock
        self.feed = Feed(config, self._looked, clock)
        self.changes: Signal[Snapshot] = Signal(self, "changes")
        self.alarms: tuple[Alarm, ...] = ()
        for known in THEMES.values():
            self.register_theme(known)
        self.theme = theme
        self.set_keymap(dict(load_keys(keys or keys_file(), all_bindings)))

    def on_mount(self) -> None:
        """Begin to look."""
        self.feed.start()

    def on_unmount(self) -> None:
        """End the thread."""
        self.feed.stop()

    class Looked(Message):
        """The feed has found something."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    def _looked(self, snapshot: Snapshot) -> None:
        """On the feed's thread: hand over."""
        self.post_message(self.Looked(snapshot))

    @on(Looked)
    def _take(self, message: Looked) -> None:
        snapshot = message.snapshot
        self.feed.take(snapshot)
        self.alarms = alarms(self.feed.cases.values(), self.feed.health, self.config, self.now())
        self.changes.publish(snapshot)

    def _fatal_error(self) -> None:
        """A fault of ours: end without Textual's traceback, whose values would show patients; `cli` says a sentence."""
        if os.environ.get("SCANSIDE_DEBUG"):
            super()._fatal_error()
        else:
            self._close_messages_no_wait()

    @property
    def fault(self) -> Exception | None:
        """What ended the app although nobody wanted it to."""
        return self._exception

    def action_show_help(self) -> None:
        """Tell what this screen is and which keys it has."""
        from scanside.tui.widgets.help import HelpScreen

        if not isinstance(self.screen, HelpScreen | ConfirmScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_next_theme(self) -> None:
        """Dark, light, high contrast, and again."""
        names = list(THEMES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette (ctrl+p) offers beside the keys of the screen."""
        for number, mode in enumerate(MODES, 1):
            yield SystemCommand(
                f"{mode.capitalize()} screen", f"Key {number}", lambda to=mode: self.switch_mode(to)
            )
        for name in THEMES:
            yield SystemCommand(
                f"Theme {name}", "Change the colours", lambda to=name: setattr(self, "theme", to)
            )
        paused = self.feed.health.paused
        words = "Resume the queue" if paused else "Pause the queue"
        yield SystemCommand(
            words, "For every case; asks first", lambda: actions.pause_queue(self, not paused)
        )
        yield SystemCommand("Help", "What this screen is, and its keys", self.action_show_help)
        yield SystemCommand("Quit", "The service goes on", self.exit)
