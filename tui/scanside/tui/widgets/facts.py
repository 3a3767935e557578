"""A panel of facts: a name on the left, what is so on the right, wrapped below itself."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widgets import Static

from scanside.tui.format import Tone, Words, bar
from scanside.tui.tones import quiet, toned

_NAME = 16
_BAR = 10


@dataclass(frozen=True)
class Fact:
    """One fact.

    Attributes:
        name: Empty to go on with the one above.
        part: How full something is, 0 to 1, drawn as a bar.
    """

    name: str
    text: str
    tone: Tone = Tone.PLAIN
    part: float | None = None

    @classmethod
    def of(cls, name: str, words: Words) -> "Fact":
        """From a state's words."""
        return cls(name, str(words), words.tone)


class Facts(Static):
    """Facts below each other, as wide as the panel."""

    def __init__(self, *, id: str, title: str) -> None:
        super().__init__(id=id, classes="panel")
        self.border_title = title
        self._facts: Sequence[Fact] = ()

    def show(self, facts: Sequence[Fact]) -> None:
        """Show these instead."""
        if facts != self._facts:
            self._facts = facts
            self._draw()

    def on_resize(self) -> None:
        """Wrap anew."""
        self._draw()

    def _draw(self) -> None:
        room = max(20, self.content_size.width)
        self.update(Content("\n").join(_lines(fact, room) for fact in self._facts))


def _lines(fact: Fact, width: int) -> Content:
    level = "" if fact.part is None else f"{bar(fact.part, _BAR)} "
    indent = " " * (_NAME + 1)
    name = f"{fact.name} " if len(fact.name) > _NAME else f"{fact.name:<{_NAME + 1}}"
    room = max(10, width - _NAME - 1)
    wrapped = textwrap.wrap(level + fact.text, room, initial_indent=" " * (len(name) - _NAME - 1)) or [""]
    first, rest = wrapped[0].lstrip() if not level else wrapped[0], wrapped[1:]
    text = "\n".join([first, *(indent + line for line in rest)])
    return Content.assemble(quiet(name), toned(text, fact.tone, bold=fact.tone is Tone.BAD))
