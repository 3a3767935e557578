"""The bottom line: the keys of the screen. It draws text; Textual's own makes a dozen widgets anew at each change."""

from dataclasses import dataclass
from typing import Any

from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

from scanside.tui.commands import BY_NAME, Command, foot_words

_NARROW = 100
"""Below so many columns there may be two lines."""
_TALL = 20
"""In fewer rows than this the list needs the second line more."""
_META = "scanside.key"  # not @click, which is drawn as a link


@dataclass(frozen=True)
class _Key:
    key: str
    display: str
    words: str
    allowed: bool

    @property
    def width(self) -> int:
        return len(self.display) + 1 + len(self.words)


class KeyLine(Static):
    """Keys with what they do, as many as fit, the most wanted first; those that are not allowed now are greyed.

    A click does what the key does; one on a greyed key tells why not, as the key itself.
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._shown: list[list[_Key]] = []

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._show)
        self.call_after_refresh(self._show, self.screen)

    def on_resize(self) -> None:
        """More keys fit, or fewer."""
        self._show(self.screen)

    def _show(self, screen: Screen[Any]) -> None:
        lines = self._fitting(self._keys(screen))
        if self._shown != lines:
            self._shown = lines
            drawn = [Content("  ").join(_drawn(key) for key in line) for line in lines]
            self.set_class(len(lines) > 1, "two")  # never as high as old words would be in a smaller window
            self.update(Content("\n").join(drawn))

    def _keys(self, screen: Screen[Any]) -> list[tuple[int, _Key]]:
        """Turn → key, each command once, in the order of its turn."""
        found: dict[str, tuple[int, _Key]] = {}
        for active in screen.active_bindings.values():
            command = BY_NAME.get(active.binding.id or "")
            if command is None or not command.foot or command.name in found:
                continue
            key = _Key(
                active.binding.key,
                self.app.get_key_display(active.binding),
                foot_words(command.name),
                _why_not(screen, command) is None,
            )
            found[command.name] = (command.foot, key)
        return sorted(found.values(), key=lambda pair: pair[0])

    def _fitting(self, keys: list[tuple[int, _Key]]) -> list[list[_Key]]:
        """From the most wanted on, as long as there is room; help and the end, which are wanted most, stand last.

        Returns:
            Lines: two where the terminal is narrow, high enough, and one does not name them all.
        """
        width = self.size.width or 80
        most = 2 if width < _NARROW and self.app.size.height >= _TALL else 1
        last = [key for turn, key in keys if turn < 10]
        lines: list[list[_Key]] = [[]]
        for key in (key for turn, key in keys if turn >= 10):
            ends = len(lines) == most
            if _width([*lines[-1], key, *(last if ends else [])]) <= width:
                lines[-1].append(key)
            elif ends:
                break
            else:
                lines.append([key])
        if _width([*lines[-1], *last]) > width and len(lines) < most:
            lines.append([])
        lines[-1] += last
        return lines

    def on_click(self, event: Click) -> None:
        """As if the key had been pressed."""
        if key := event.style.meta.get(_META):
            self.app.simulate_key(key)


def _width(keys: list[_Key]) -> int:
    return sum(key.width + 2 for key in keys) - 2


def _why_not(screen: Screen[Any], command: Command) -> str | None:
    guard = getattr(screen, "why_not", None)
    return guard(command) if guard is not None else None


def _drawn(key: _Key) -> Content:
    """`a Accept`."""
    if key.allowed:
        words = Content.assemble((key.display, "bold $footer-key-foreground"), f" {key.words}")
    else:
        words = Content.styled(f"{key.display} {key.words}", "$quiet")
    return words.stylize(Style.from_meta({_META: key.key}))
