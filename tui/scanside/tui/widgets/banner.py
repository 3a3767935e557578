"""The top line, with "research use only" always in it, and the line of alarms below."""

import time
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.widgets import Static

from scanside.tui.feed import Snapshot
from scanside.tui.format import RESEARCH

if TYPE_CHECKING:
    from scanside.tui.app import ScansideApp


class Banner(Static):
    """Where we are, for what the results may be used, and what time it is."""

    def on_mount(self) -> None:
        """Keep the clock going."""
        self.set_interval(5, self._show)
        self._show()

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self._show()

    def _show(self) -> None:
        app = cast("ScansideApp", self.app)
        clock = time.strftime("%H:%M", time.localtime(app.now()))
        left, middle = f" scanside · {app.place}", f" {RESEARCH} "
        room = self.size.width - len(left) - len(middle) - len(clock) - 2
        if room < 0:
            left = left[: max(0, len(left) + room)]
            room = 0
        line = Text(left).append(" " * (room // 2)).append(middle, "bold reverse")
        self.update(line.append(" " * (room - room // 2 + 1)).append(f"{clock} "), layout=False)


class AlarmLine(Static):
    """What needs a person now; takes no room when nothing does."""

    def on_mount(self) -> None:
        """Listen to the feed."""
        app = cast("ScansideApp", self.app)
        app.changes.subscribe(self, self._look)
        self._look(app.feed.everything())

    def _look(self, snapshot: Snapshot) -> None:
        app = cast("ScansideApp", self.app)
        alarms = app.alarms
        self.display = bool(alarms)
        self.set_class(any(alarm.grave for alarm in alarms), "grave")
        self.update(
            Text("  ".join(alarm.words for alarm in alarms), no_wrap=True, overflow="ellipsis"), layout=False
        )
