"""What every screen looks at: whose terminal it is, over which appliance, and what is known of its store.

The app makes one and hangs it on itself; screens and widgets find it with `workplace(node)` and never need the app's
own class, so that nothing imports in a circle.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from textual.dom import DOMNode
from textual.signal import Signal

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Case
from scanside.tui.alarms import Alarm
from scanside.tui.browser import Pages
from scanside.tui.feed import Feed, Snapshot
from scanside.tui.preferences import Preferences

Result = tuple[str, int, float | None]
"""A result of a case: case id, job, when it was finished."""


@dataclass
class Workplace:
    """One person at one terminal.

    Attributes:
        config: Of the appliance whose store is shown.
        configured: Whether that configuration is the appliance's own; otherwise only its data folder is true.
        actor: Who sits here, as the audit log calls them.
        place: What the top line calls this appliance.
        now: What time it is.
        feed: What is known of the store.
        alarms: What needs a person now.
        opened: Results whose images were looked at here.
        opens: What opens a study here, for a sentence: the key, or the typed command.
        preferences: What this user has chosen; screens put in what is chosen now.
        pages: Those that were made for a browser; gone with the terminal.
        coming: What is on its way although nothing has arrived yet, in a sentence; empty where nothing is known.
    """

    config: Config
    actor: str
    place: str
    now: Callable[[], float]
    feed: Feed
    configured: bool = True
    alarms: tuple[Alarm, ...] = ()
    opened: set[Result] = field(default_factory=set)
    opens: str = "Enter"
    coming: Callable[[], str] = lambda: ""
    pages: Pages = field(default_factory=Pages)
    preferences: Preferences = field(default_factory=Preferences)

    @property
    def names(self) -> bool:
        """Whether patients' names may be shown."""
        return self.config.service.show_names

    def was_opened(self, case: Case) -> bool:
        """Whether the images of this very result were looked at here."""
        return _result(case) in self.opened

    def open(self, case: Case) -> None:
        """The images of this result are on the screen."""
        self.opened.add(_result(case))


def _result(case: Case) -> Result:
    return case.case_id, case.job, case.finished


class _HasWorkplace(Protocol):
    work: Workplace
    changes: Signal[Snapshot]


def workplace(node: DOMNode) -> Workplace:
    """The workplace of the app that a screen or widget belongs to."""
    return cast("_HasWorkplace", node.app).work


def changes(node: DOMNode) -> Signal[Snapshot]:
    """Published on the UI's thread after each look that found something; subscribe in `on_mount`."""
    return cast("_HasWorkplace", node.app).changes
