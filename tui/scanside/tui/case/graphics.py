"""What the terminal can show: real pixels where it can, characters elsewhere. Asked once, before Textual starts.

Five questions go out at once: the size of a cell in pixels (XTWINOPS 16), whether Kitty's protocol is known (a query of
its graphics command), which program it is (XTVERSION, and for VTE, which has no answer to that, DA2), and what kind of
terminal (DA1, where 4 stands for Sixel). Every terminal answers the last one, so its answer ends the wait.
"""

import os
import re
import select
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from rich.console import Console

_QUESTIONS = b"\x1b[16t\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>0q\x1b[>c\x1b[c"
_CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_KITTY = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_KIND = re.compile(rb"\x1b\[\?([\d;]*)c")
_PROGRAM = re.compile(rb"\x1bP>\|([A-Za-z]+)[ (]v?([\d.]+)")
_VTE = re.compile(rb"\x1b\[>6[15];(\d{4});1c")
_ANSWER_SECONDS = 0.5


class Graphics(StrEnum):
    """A way to show pixels."""

    KITTY = "kitty"
    """Kitty's graphics protocol, with placeholders."""
    SIXEL = "sixel"
    CELLS = "cells"
    """Characters that are parts of a cell."""


class Cells(StrEnum):
    """How many pixels a cell of characters shows."""

    HALF = "half"
    SEXTANTS = "sextants"
    OCTANTS = "octants"

    @property
    def rows(self) -> int:
        """Pixels down a cell."""
        return {Cells.HALF: 2, Cells.SEXTANTS: 3, Cells.OCTANTS: 4}[self]

    @property
    def columns(self) -> int:
        """Pixels across a cell."""
        return 1 if self is Cells.HALF else 2


_DRAWN: Mapping[str, Mapping[Cells, tuple[int, ...]]] = {
    "kitty": {Cells.SEXTANTS: (0, 24), Cells.OCTANTS: (0, 40)},
    "foot": {Cells.SEXTANTS: (1, 8), Cells.OCTANTS: (1, 20)},
    "ghostty": {Cells.SEXTANTS: (1, 0), Cells.OCTANTS: (1, 2)},
    "VTE": {Cells.SEXTANTS: (6200,), Cells.OCTANTS: (7800,)},
    "WezTerm": {Cells.SEXTANTS: (20210814,)},
}
"""Program → the version from which it draws these characters itself, whatever its font has. Others: half blocks."""


@dataclass(frozen=True)
class Terminal:
    """What was found out.

    Attributes:
        cell: Width and height of a cell, pixels.
        few_colours: It has 16 colours at most.
        cells: How finely characters may show a picture, where it has no pixels.
    """

    graphics: Graphics = Graphics.CELLS
    cell: tuple[int, int] = (10, 20)
    few_colours: bool = False
    cells: Cells = Cells.HALF

    def tall(self, cells: Cells) -> float:
        """Height over width of a part of a cell; within what fonts have."""
        width, height = self.cell
        return min(max(height / width, 1.4), 2.8) / cells.rows * cells.columns


_found = Terminal()


def found() -> Terminal:
    """What `probe` found, or a person chose; half blocks where nobody asked."""
    return _found


def choose(cells: Cells) -> None:
    """A person knows what the terminal shows."""
    global _found
    _found = replace(_found, graphics=Graphics.CELLS, cells=cells)


def probe(environment: Mapping[str, str] = os.environ) -> Terminal:
    """Ask the terminal what it can. To be called before Textual starts, which would swallow the answer.

    It costs one round trip; half a second with a terminal that does not answer; nothing where there is no terminal.
    """
    global _found
    streams = (sys.__stdin__, sys.__stdout__)
    if any(stream is None or not stream.isatty() for stream in streams) or environment.get("TERM") == "dumb":
        return _found
    few = Console(file=sys.__stdout__).color_system not in ("truecolor", "256", "windows")
    answer = b""
    with suppress(ImportError, OSError, ValueError):  # whatever goes wrong: half blocks need no answer
        answer = _ask()
    multiplexed = bool(environment.get("TMUX")) or environment.get("TERM", "").startswith(("tmux", "screen"))
    _found = understood(answer, few_colours=few, multiplexed=multiplexed)
    if _found.graphics is Graphics.KITTY:
        import textual_image.widget  # noqa: F401 - now: it asks the terminal once more when it is loaded
    return _found


def understood(answer: bytes, *, few_colours: bool, multiplexed: bool) -> Terminal:
    """What an answer says. Sixel goes first: some that know Kitty's protocol do not know its placeholders.

    Args:
        multiplexed: tmux or screen stand between; they answer for themselves, not for the terminal behind them.
    """
    kind, cell = _KIND.search(answer), _CELL.search(answer)
    graphics = Graphics.CELLS
    if kind is not None and b"4" in kind[1].split(b";")[1:]:
        graphics = Graphics.SIXEL
    elif _KITTY.search(answer):
        graphics = Graphics.KITTY
    size = (
        (int(cell[2]), int(cell[1])) if cell is not None and int(cell[1]) and int(cell[2]) else Terminal.cell
    )
    if multiplexed or few_colours:
        return Terminal(Graphics.CELLS if multiplexed else graphics, size, few_colours)
    return Terminal(graphics, size, few_colours, _drawn_by(answer))


def _drawn_by(answer: bytes) -> Cells:
    """The finest parts of cells that this program draws by itself."""
    program, vte = _PROGRAM.search(answer), _VTE.search(answer)
    name, number = (program[1], program[2]) if program else (b"VTE", vte[1]) if vte else (b"", b"")
    version = tuple(int(part) for part in number.split(b".") if part)
    since = _DRAWN.get(name.decode(), {})
    return max(
        (cells for cells, first in since.items() if version >= first),
        key=lambda one: one.rows,
        default=Cells.HALF,
    )


def _ask() -> bytes:
    """Everything that the terminal answers, up to the answer that comes last."""
    import fcntl
    import termios
    import tty

    assert sys.__stdin__ is not None and sys.__stdout__ is not None
    here, there = sys.__stdin__.fileno(), sys.__stdout__.fileno()
    before = termios.tcgetattr(here)
    rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(there, termios.TIOCGWINSZ, b"\0" * 8))
    # Some tell the system how large they are in pixels but do not answer when asked.
    answer = (
        b"\x1b[6;%d;%dt" % (height // rows, width // columns)
        if rows and columns and width and height
        else b""
    )
    try:
        tty.setcbreak(here, termios.TCSANOW)
        os.write(there, _QUESTIONS)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not _KIND.search(answer):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([here], [], [], left)[0]:
                break
            answer += os.read(here, 1024)
    finally:
        # TCSAFLUSH drops what comes after its time, which would be taken for keys.
        termios.tcsetattr(here, termios.TCSAFLUSH, before)
    return answer
