"""What the terminal can show: real pixels where it can, half blocks elsewhere. Asked once, before Textual starts."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console


class Graphics(StrEnum):
    """A way to show pixels."""

    KITTY = "kitty"
    """Kitty's graphics protocol, with placeholders."""
    SIXEL = "sixel"
    HALVES = "half blocks"


@dataclass(frozen=True)
class Terminal:
    """What was found out.

    Attributes:
        cell: Width and height of a cell, pixels.
        few_colours: It has 16 colours at most.
    """

    graphics: Graphics = Graphics.HALVES
    cell: tuple[int, int] = (10, 20)
    few_colours: bool = False

    @property
    def tall(self) -> float:
        """Height over width of half a cell; within what fonts have."""
        width, height = self.cell
        return min(max(height / 2 / width, 0.7), 1.4)


_found = Terminal()


def found() -> Terminal:
    """What `probe` found; half blocks where nobody asked."""
    return _found


def probe() -> Terminal:
    """Ask the terminal what it can. To be called before Textual starts, which would swallow the answer.

    A terminal that does not answer costs a few tenths of a second; no terminal costs nothing.
    """
    global _found
    streams = (sys.__stdin__, sys.__stdout__)
    if any(stream is None or not stream.isatty() for stream in streams) or os.environ.get("TERM") == "dumb":
        return _found
    few = Console(file=sys.__stdout__).color_system not in ("truecolor", "256", "windows")
    graphics, cell = _ask()
    _found = Terminal(graphics, cell, few)
    return _found


def _ask() -> tuple[Graphics, tuple[int, int]]:
    """textual-image asks when it is loaded. Whatever goes wrong with that: half blocks need no answer."""
    try:
        from textual_image._terminal import get_cell_size
        from textual_image.renderable import Image, SixelImage, TGPImage

        ways = {SixelImage: Graphics.SIXEL, TGPImage: Graphics.KITTY}
        graphics, cell = ways.get(Image, Graphics.HALVES), get_cell_size()
        if graphics is not Graphics.HALVES:
            import textual_image.widget  # noqa: F401 - now, as it asks too when it is loaded
    except Exception:
        return Terminal.graphics, Terminal.cell
    finally:
        _drop_late_answers()
    return graphics, (max(cell.width, 1), max(cell.height, 1))


def _drop_late_answers() -> None:
    """An answer that comes after its time would be taken for keys."""
    if sys.platform == "win32" or sys.__stdin__ is None:
        return
    import termios

    with suppress(OSError, ValueError, termios.error):
        termios.tcflush(sys.__stdin__, termios.TCIFLUSH)
