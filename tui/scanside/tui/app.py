"""The application: three screens over one feed."""

import gc
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.signal import Signal

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.audit import person
from scanside.tui.alarms import alarms
from scanside.tui.asking import pause_queue
from scanside.tui.commands import Place, bindings
from scanside.tui.feed import Feed, Snapshot
from scanside.tui.keys import keys_file, load_keys
from scanside.tui.palette import commands_here
from scanside.tui.preferences import PREFERENCES, load_preferences, save_preferences
from scanside.tui.themes import THEMES
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.screen import WorklistScreen
from scanside.tui.workplace import Workplace


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
        work: What its screens look at.
        changes: Tells them of every look that found something.
    """

    TITLE = "scanside"
    CSS_PATH = "styles/app.tcss"
    MODES: ClassVar[dict[str, Any]] = MODES
    DEFAULT_MODE = "worklist"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.APP)

    def __init__(
        self,
        config: Config,
        *,
        theme: str | None = None,
        actor: str | None = None,
        place: str | None = None,
        configured: bool = True,
        coming: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
        keys: Path | None = None,
    ) -> None:
        """Prepare it.

        Args:
            theme: One of `THEMES`; None for the one that the user had last.
            actor: Instead of the user at the keyboard.
            place: What the top line calls the appliance; None for its AE title.
            configured: Whether the configuration is the appliance's own.
            coming: See `Workplace`.
            clock: What time it is (for tests).
            keys: File of the chosen keys; None for the user's own. Its neighbour keeps the user's preferences.

        Raises:
            UsageError: If the file of keys is wrong.
        """
        super().__init__()
        keys = keys or keys_file()
        self._preferences = keys.with_name(PREFERENCES)
        chosen = load_preferences(self._preferences)
        self.work = Workplace(
            config=config,
            actor=actor or person(),
            place=place or config.receive.ae_title,
            now=clock,
            feed=Feed(config, self._looked, clock),
            configured=configured,
            coming=coming,
            preferences=chosen,
        )
        self._settled = False
        self.changes: Signal[Snapshot] = Signal(self, "changes")
        for known in THEMES.values():
            self.register_theme(known)
        self.theme = theme or (chosen.theme if chosen.theme in THEMES else "dark")
        self.set_keymap(dict(load_keys(keys)))

    def on_mount(self) -> None:
        """Begin to look; end when nobody can type any more."""
        self.work.feed.start()
        if not self.is_headless:
            self.set_interval(1.0, self._end_with_keyboard)

    def _end_with_keyboard(self) -> None:
        """A terminal that is gone sends no signal to everybody: without this Textual reads its end for ever."""
        keyboard = select.poll()
        keyboard.register(sys.__stdin__ or 0, 0)
        if keyboard.poll(0):  # hung up, or closed: nothing else is asked for
            self.exit(return_code=1)

    def on_unmount(self) -> None:
        """End the thread."""
        self.work.feed.stop()
        self.work.pages.close()
        save_preferences(self._preferences, self.work.preferences.model_copy(update={"theme": self.theme}))

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
        work = self.work
        work.feed.take(snapshot)
        work.alarms = alarms(
            work.feed.cases.values(), work.feed.health, work.config, work.now(), work.configured
        )
        self.changes.publish(snapshot)
        if snapshot.complete and not self._settled:
            self._settled = True
            gc.freeze()  # what stays is not searched for garbage again and again, between a key and its paint

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

    def action_copy(self, whole: int) -> None:
        """Put the case id, or what is known of the study, onto the clipboard: through the terminal, over ssh too."""
        about = getattr(self.screen, "copied", None)
        words = about(bool(whole)) if about is not None else ""
        if words:
            self.copy_to_clipboard(words)
            first = words.splitlines()[0]
            self.notify(f"Copied, where the terminal allows it (OSC 52): {first}", markup=False)
        else:
            self.notify("There is no study here to copy.", severity="warning")

    def action_pause_queue(self) -> None:
        """Pause or resume the whole queue: asked first."""
        pause_queue(self)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers: every command of the table that this screen has, with its key."""
        yield from commands_here(self, screen)
        for name in THEMES:
            yield SystemCommand(
                f"Theme {name}", "Change the colours", lambda to=name: setattr(self, "theme", to)
            )
