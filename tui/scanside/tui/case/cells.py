"""Pixels → lines of text: as many pixels a cell as the terminal has characters for.

Half blocks show two pixels in their own colours. Sextants (Unicode 13) and octants (Unicode 16) show six and eight in
two colours: a cell is cut where its brightness is halfway between its darkest and its brightest pixel, and outlines
keep their colour. A terminal of 256 colours gets their nearest by itself; one of 16 gets shades of `░▒▓█` and yellow
outlines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from scanside.tui.case.draw import CHOSEN, OTHER, Rgb
from scanside.tui.case.graphics import Cells

_SHADES = " ░▒▓█"
_LEVELS = 0xFC
"""64 levels of a colour: nobody sees the difference, and styles can be kept."""
_COLOURED = 64
"""From this difference between its channels a pixel belongs to an outline: images are grey."""


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


def _sextants() -> str:
    """Characters of the 64 patterns; bit n is pixel n in reading order. U+1FB00 leaves out those that were there."""
    older = {0: " ", 0b010101: "▌", 0b101010: "▐", 0b111111: "█"}
    following = iter(range(0x1FB00, 0x1FB3C))
    return "".join(older.get(pattern) or chr(next(following)) for pattern in range(64))


def _octants() -> str:
    """Characters of the 256 patterns, as `_sextants`; U+1CD00 leaves out those of older blocks (Unicode 16, 22.7)."""
    older = {
        0: 0x20, 1: 0x1CEA8, 2: 0x1CEAB, 3: 0x1FB82, 5: 0x2598, 10: 0x259D, 15: 0x2580, 20: 0x1FBE6, 40: 0x1FBE7,
        63: 0x1FB85, 64: 0x1CEA3, 80: 0x2596, 85: 0x258C, 90: 0x259E, 95: 0x259B, 128: 0x1CEA0, 160: 0x2597,
        165: 0x259A, 170: 0x2590, 175: 0x259C, 192: 0x2582, 240: 0x2584, 245: 0x2599, 250: 0x259F, 252: 0x2586,
        255: 0x2588,
    }  # fmt: skip
    following = iter(range(0x1CD00, 0x1CDE6))
    return "".join(chr(older[one] if one in older else next(following)) for one in range(256))


GLYPHS = {Cells.SEXTANTS: _sextants(), Cells.OCTANTS: _octants()}
"""Pattern → character."""


@lru_cache(maxsize=1 << 16)
def _style(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Style:
    return Style.from_color(Color.from_rgb(*upper), Color.from_rgb(*lower))


WORDS = Style.parse("bold white on black")
"""Of marks: colours that the theme gives."""
_PLAIN = Style.parse("white on black")
_LINE = Style.parse("bold bright_yellow on black")
_Cell = tuple[str, Style]


def lines_of_cells(
    picture: Rgb,
    marks: Sequence[Mark] = (),
    *,
    cells: Cells = Cells.HALF,
    few_colours: bool = False,
    letters: bool = False,
) -> list[Strip]:
    """Lines of cells.

    Args:
        picture: (`cells.rows` × lines, `cells.columns` × columns, 3).
        marks: Words that stand on it.
        few_colours: The terminal knows 16 colours at most: half blocks.
        letters: It shows none: outlines are letters, `o` around the lesion that is looked at, `x` around others.
    """
    rows, columns = picture.shape[0] // cells.rows, picture.shape[1] // cells.columns
    blocks = picture.reshape(rows, cells.rows, columns, cells.columns, 3).swapaxes(1, 2)
    blocks = blocks.reshape(rows, columns, -1, 3)  # the pixels of a cell in reading order
    written = _written(marks, rows, columns)
    drawn = _mosaic(blocks, GLYPHS[cells]) if cells in GLYPHS else [_halves(line) for line in blocks]
    if few_colours:
        drawn = [_shades(line) for line in blocks]
    elif letters:
        drawn = [_lettered(line, cell) for line, cell in zip(blocks, drawn, strict=True)]
    return [Strip(_merged(line, written.get(row, {})), columns) for row, line in enumerate(drawn)]


def _halves(line: Rgb) -> list[_Cell]:
    upper, lower = (line & _LEVELS).swapaxes(0, 1).tolist()
    return [("▀", _style(tuple(a), tuple(b))) for a, b in zip(upper, lower, strict=True)]


def _mosaic(blocks: Rgb, glyphs: str) -> list[list[_Cell]]:
    """Cells of two colours.

    Args:
        blocks: (lines, columns, pixels of a cell, 3).
    """
    light = blocks.mean(axis=3)
    low, high = light.min(axis=2, keepdims=True), light.max(axis=2, keepdims=True)
    outline = _coloured(blocks)
    front = np.where(outline.any(axis=2, keepdims=True), outline, light > (low + high) / 2)
    patterns = (front << np.arange(front.shape[2])).sum(axis=2)
    colours = [_mean(blocks, part) & _LEVELS for part in (front, ~front)]
    return [
        [(glyphs[p], _style(tuple(a), tuple(b))) for p, a, b in zip(*line, strict=True)]
        for line in zip(patterns.tolist(), colours[0].tolist(), colours[1].tolist(), strict=True)
    ]


def _mean(blocks: Rgb, part: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The mean colour of some pixels of each cell; black where there is none, which then shows nowhere."""
    count = np.maximum(part.sum(axis=2), 1)
    total = (blocks.astype(np.int64) * part[..., None]).sum(axis=2)
    return np.asarray(total // count[..., None])


def _coloured(blocks: Rgb) -> npt.NDArray[np.bool_]:
    return np.asarray(blocks.max(axis=-1).astype(int) - blocks.min(axis=-1) > _COLOURED)


def _lettered(line: Rgb, drawn: list[_Cell]) -> list[_Cell]:
    """Grey cells, with letters where an outline is."""
    chosen, other = _holding(line, CHOSEN), _holding(line, OTHER)
    return [
        ("o", WORDS) if here else ("x", WORDS) if there else cell
        for cell, here, there in zip(drawn, chosen, other, strict=True)
    ]


def _holding(line: Rgb, colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Cells that hold a pixel of a colour."""
    pixels = np.asarray(np.equal(line, np.array(colour, np.uint8)).all(axis=2))
    return np.asarray(pixels.any(axis=1))


def _shades(line: Rgb) -> list[_Cell]:
    gray = line.mean(axis=(1, 2)) / 255 * len(_SHADES)
    shades = np.minimum(gray.astype(int), len(_SHADES) - 1)
    return [
        ("o", _LINE) if outline else (_SHADES[shade], _PLAIN)
        for outline, shade in zip(np.asarray(_coloured(line).any(axis=1)), shades, strict=True)
    ]


def _merged(cells: list[_Cell], written: dict[int, str]) -> list[Segment]:
    """Cells of one style become one segment."""
    segments: list[Segment] = []
    text, style = "", WORDS
    for column, (letter, own) in enumerate(cells):
        if column in written:
            letter, own = written[column], WORDS
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
