"""Pixels → lines of text: a cell shows two pixels, one in the colour of `▀`, the other in that of its ground.

A terminal of 256 colours gets their nearest by itself; one of 16 gets shades of `░▒▓█` and yellow outlines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from scanside.tui.case.draw import CHOSEN, OTHER, Rgb

_SHADES = " ░▒▓█"
_LEVELS = 0xFC
"""64 levels of a colour: nobody sees the difference, and styles can be kept."""


@dataclass(frozen=True)
class Mark:
    """Words on a picture.

    Attributes:
        row, column: Of the first cell; negative ones count from the end, as in Python.
        bar: Cells of a ruler that stands before the words; 0 for none.
    """

    row: int
    column: int
    text: str
    bar: int = 0

    @property
    def letters(self) -> str:
        """With the ruler, in letters."""
        return f"├{'─' * (self.bar - 2)}┤ {self.text}" if self.bar >= 2 else self.text


@lru_cache(maxsize=1 << 16)
def _style(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Style:
    return Style.from_color(Color.from_rgb(*upper), Color.from_rgb(*lower))


_WORDS = Style.parse("bold white on black")
_PLAIN = Style.parse("white on black")
_LINE = Style.parse("bold bright_yellow on black")


def half_blocks(
    picture: Rgb, marks: Sequence[Mark] = (), *, few_colours: bool = False, letters: bool = False
) -> list[Strip]:
    """Lines of cells.

    Args:
        picture: (2 × lines, columns, 3).
        marks: Words that stand on it.
        few_colours: The terminal knows 16 colours at most.
        letters: It shows none: outlines are letters, `o` around the lesion that is looked at, `x` around others.
    """
    lines = picture.reshape(picture.shape[0] // 2, 2, picture.shape[1], 3)
    written = _written(marks, len(lines), picture.shape[1])
    cells = _shades if few_colours else _lettered if letters else _halves
    return [
        Strip(_merged(cells(pair), written.get(row, {})), picture.shape[1]) for row, pair in enumerate(lines)
    ]


def _halves(pair: Rgb) -> list[tuple[str, Style]]:
    upper, lower = (pair & _LEVELS).tolist()
    return [("▀", _style(tuple(a), tuple(b))) for a, b in zip(upper, lower, strict=True)]


def _lettered(pair: Rgb) -> list[tuple[str, Style]]:
    """Grey half blocks, with letters where an outline is."""
    chosen, other = ((pair == colour).all(axis=2).any(axis=0) for colour in (CHOSEN, OTHER))
    return [
        ("o", _WORDS) if here else ("x", _WORDS) if there else cell
        for cell, here, there in zip(_halves(pair), chosen, other, strict=True)
    ]


def _shades(pair: Rgb) -> list[tuple[str, Style]]:
    colour = pair.max(axis=2).astype(int) - pair.min(axis=2) > 64
    gray = pair.mean(axis=(0, 2)) / 255 * len(_SHADES)
    shades = np.minimum(gray.astype(int), len(_SHADES) - 1)
    return [
        ("o", _LINE) if line else (_SHADES[shade], _PLAIN)
        for line, shade in zip(colour.any(axis=0), shades, strict=True)
    ]


def _merged(cells: list[tuple[str, Style]], written: dict[int, str]) -> list[Segment]:
    """Cells of one style become one segment."""
    segments: list[Segment] = []
    text, style = "", _WORDS
    for column, (letter, own) in enumerate(cells):
        if column in written:
            letter, own = written[column], _WORDS
        if own is not style and text:
            segments.append(Segment(text, style))
            text = ""
        text, style = text + letter, own
    return [*segments, Segment(text, style)]


def _written(marks: Sequence[Mark], rows: int, columns: int) -> dict[int, dict[int, str]]:
    """Row → column → letter; what does not fit is left out."""
    found: dict[int, dict[int, str]] = {}
    for mark in marks:
        row = mark.row + rows if mark.row < 0 else mark.row
        first = mark.column + columns if mark.column < 0 else mark.column
        words = mark.letters
        if 0 <= row < rows and first >= 0 and first + len(words) <= columns:
            found.setdefault(row, {}).update({first + n: letter for n, letter in enumerate(words)})
    return found
