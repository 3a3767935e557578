"""The top line, with "research use only" always in it, and the line of alarms below."""

import time

from rich.text import Text
from textual.events import Click
from textual.screen import Screen
from textual.widgets import Static

from scanside.tui.feed import Snapshot
from scanside.tui.format import RESEARCH
from scanside.tui.workplace import changes, workplace


class Banner(Static):
    """Where we are, for what the results may be used, and what time it is."""

    def on_mount(self) -> None:
        """Keep the clock going."""
        self._shown = ""
        self._show()
        self._await_minute()

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self._show()

    def _await_minute(self) -> None:
        """Wake when the minute changes: at rest nothing is sent, and the clock is never late."""
        self.set_timer(60.05 - time.time() % 60, self._tick)

    def _tick(self) -> None:
        """The clock shows minutes: only another minute is drawn, and only where it is seen."""
        if self.app.screen is self.screen and self._clock() != self._shown:
            self._show()
        self._await_minute()

    def _clock(self) -> str:
        return time.strftime("%H:%M", time.localtime(workplace(self).now()))

    def _show(self) -> None:
        clock = self._shown = self._clock()
        left, middle = f" scanside · {workplace(self).place}", f" {RESEARCH} "
        room = self.size.width - len(left) - len(middle) - len(clock) - 2
        if room < 0:
            left = left[: max(0, len(left) + room)]
            room = 0
        line = Text(left).append(" " * (room // 2)).append(middle, "bold reverse")
        self.update(line.append(" " * (room - room // 2 + 1)).append(f"{clock} "), layout=False)


class AlarmLine(Static):
    """What needs a person now; takes no room when nothing does. A click goes to what it is about."""

    def on_mount(self) -> None:
        """Listen to the feed, and look again when the screen is seen again."""
        self._words = ""
        changes(self).subscribe(self, self._look)
        self.screen.screen_layout_refresh_signal.subscribe(self, self._seen_again)
        self._show()

    def _look(self, snapshot: Snapshot) -> None:
        if self.app.screen is self.screen:
            self._show()

    def _seen_again(self, screen: Screen[object]) -> None:
        self._show()

    def _show(self) -> None:
        alarms = workplace(self).alarms
        words = "  ".join(alarm.words for alarm in alarms)
        if words == self._words and self.display == bool(alarms):
            return
        self._words = words
        self.display = bool(alarms)
        self.set_class(any(alarm.grave for alarm in alarms), "grave")
        self.update(Text(words))

    def on_click(self, event: Click) -> None:
        """As the key of alarms."""
        self.app.simulate_key("exclamation_mark")
