"""Widgets that show a picture: in characters, or in pixels where the terminal has them."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from scanside.tui.case.cells import WORDS, Mark, lines_of_cells
from scanside.tui.case.draw import Rgb
from scanside.tui.case.graphics import Cells, Graphics, Terminal
from scanside.tui.case.sixel import sixel

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

MOST_PIXELS = 600_000
"""Of a picture in pixels: with more, each step through the slices would be felt; the terminal enlarges it."""

SHARP = 250_000
"""Pixels of a place up to which Sixel shows each one by itself. In larger places four of them are one of the picture,
which takes half of the time, and is finer than most series are."""

KEPT = 16
"""Pictures as Sixel that a place keeps, of 1 MB at most as a rule."""
_BARE = Style()


class Sized(Message):
    """A place for a picture has got another size."""


class Characters(Widget, can_focus=False):
    """Two, six or eight pixels a cell, in any terminal with colours.

    Attributes:
        cells: How many; may be set.
    """

    DEFAULT_CSS = "Characters { background: black; }"

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._strips: list[Strip] = []
        self._what: object = None
        self._worded: set[int] = set()
        self.cells = Cells.HALF if terminal.few_colours else terminal.cells
        self.picture: Rgb | None = None

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns that a picture should have now; 0 while nothing is laid out."""
        return self.cells.rows * self.size.height, self.cells.columns * self.size.width

    @property
    def tall(self) -> float:
        """Height of a pixel over its width."""
        return self._terminal.tall(self.cells)

    def show(self, picture: Rgb, marks: Sequence[Mark]) -> None:
        """Show a picture of that size; the same again draws nothing."""
        what = (tuple(marks), self.cells, self.size)
        if same(self.picture, picture) and what == self._what:
            return
        self.picture, self._what = picture, what
        self._strips = lines_of_cells(
            picture,
            marks,
            cells=self.cells,
            few_colours=self._terminal.few_colours,
            letters=self.app.no_color,
        )
        self._worded = {
            number for number, strip in enumerate(self._strips) if any(one.style is WORDS for one in strip)
        }
        self.refresh()

    def on_resize(self) -> None:
        """Ask for a picture of the new size."""
        self.post_message(Sized())

    def render_lines(self, crop: Region) -> list[Strip]:
        """As they were made: every cell has both colours, so that nothing of Textual's styles and filters is wanted."""
        if self._terminal.few_colours or self.app.no_color or len(self._strips) != self.size.height:
            return super().render_lines(crop)
        filters, ground = self.get_line_filters(), self.background_colors[1]
        lines = self._strips[crop.y : crop.bottom]
        for number, line in enumerate(lines):
            if crop.y + number in self._worded:  # words have colours of the theme
                for one in filters:
                    line = line.apply_filter(one, ground)
                lines[number] = line
        if crop.column_span != (0, self.size.width):
            lines = [line.crop(*crop.column_span) for line in lines]
        return lines

    def render_line(self, y: int) -> Strip:
        """A line of what was shown last; blank where the widget has grown since."""
        if y >= len(self._strips):
            return Strip.blank(self.size.width, Style())
        return self._strips[y].adjust_cell_length(self.size.width)


class SixelPicture(Widget, can_focus=False):
    """A picture as Sixel. Textual knows no pixels: their bytes stand in the last line, and move there by themselves."""

    DEFAULT_CSS = "SixelPicture { width: 100%; height: 100%; }"

    def __init__(self, cell: tuple[int, int]) -> None:
        super().__init__()
        self._cell = cell
        self._picture: Rgb | None = None
        self._made: OrderedDict[tuple[bytes, Region], str] = OrderedDict()

    def show(self, picture: Rgb) -> None:
        """Show a picture, as large as the widget is."""
        self._picture = picture
        self.refresh()

    @property
    def factor(self) -> int:
        """Pixels of the terminal for each of the picture, down and across."""
        return _factor(self.size.area * self._cell[0] * self._cell[1])

    def render_lines(self, crop: Region) -> list[Strip]:
        """The part of the picture that nothing lies upon; nothing below a window, whose shade would spoil the bytes."""
        if self._picture is None or not self.screen.is_active or not crop.height:
            return []
        place = self.screen.find_widget(self).visible_region
        there, behind = Control.move_to(place.x, place.y), Control.move_to(place.right, place.bottom)
        pixels = Segment(self._pixels(self._picture, crop), _BARE, ((ControlType.CURSOR_FORWARD, 0),))
        line = [Segment(there.segment.text, _BARE), pixels, Segment(behind.segment.text, _BARE)]
        return [Strip([])] * (crop.height - 1) + [Strip(line, crop.width)]

    def _pixels(self, picture: Rgb, crop: Region) -> str:
        """Of a part in cells; what was drawn lately is kept."""
        key = (hashlib.blake2b(picture.tobytes()).digest(), crop)
        if key not in self._made:
            width, height = (side / self.factor for side in self._cell)
            down = np.arange(int(crop.y * height), int(crop.bottom * height)) * picture.shape[0]
            across = np.arange(int(crop.x * width), int(crop.right * width)) * picture.shape[1]
            whole = picture[
                (down // int(self.size.height * height))[:, None], across // int(self.size.width * width)
            ]
            self._made[key] = sixel(whole, self.factor)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


class Pixels(Container, can_focus=False):
    """Real pixels: Sixel, or Kitty's protocol by textual-image."""

    DEFAULT_CSS = """
    Pixels { background: black; }
    Pixels > * { width: 100%; height: 100%; }
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._bare: Rgb | None = None
        self._what: object = None
        self.picture: Rgb | None = None

    def compose(self) -> ComposeResult:
        """The widget of the terminal's protocol."""
        if self._terminal.graphics is Graphics.SIXEL:
            yield SixelPicture(self._terminal.cell)
            return
        from textual_image.widget import TGPImage

        yield TGPImage()

    def on_resize(self) -> None:
        """Ask for a picture of the new size."""
        self.post_message(Sized())

    @property
    def _shrunk(self) -> float:
        area = self.size.width * self._terminal.cell[0] * self.size.height * self._terminal.cell[1]
        least = _factor(area) if self._terminal.graphics is Graphics.SIXEL else 1
        return max(least, (area / MOST_PIXELS) ** 0.5)

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns that a picture should have now; 0 while nothing is laid out."""
        width, height = self._terminal.cell
        return int(self.size.height * height / self._shrunk), int(self.size.width * width / self._shrunk)

    @property
    def tall(self) -> float:
        """Height of a pixel over its width."""
        return 1.0

    def show(self, picture: Rgb, marks: Sequence[Mark]) -> None:
        """Show a picture of that size; the same again draws nothing."""
        what = (tuple(marks), self.size)
        if same(self._bare, picture) and what == self._what:
            return
        self._bare, self._what = picture, what
        self.picture = lettered(picture, marks, self.size)
        shown = self.query_one("*")
        if isinstance(shown, SixelPicture):
            shown.show(self.picture)
            return
        from PIL import Image

        shown.image = Image.fromarray(self.picture)  # type: ignore[attr-defined]


def lettered(picture: Rgb, marks: Sequence[Mark], cells: Size) -> Rgb:
    """Write marks into a picture, where they would stand among cells."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    width, height = picture.shape[1] / max(cells.width, 1), picture.shape[0] / max(cells.height, 1)
    font = _font(max(8, round(height * 0.8)))
    for mark in marks:
        row = mark.row + cells.height if mark.row < 0 else mark.row
        column = mark.column + cells.width if mark.column < 0 else mark.column
        place = (column * width, row * height)
        if mark.bar:
            end, middle = (column + mark.bar) * width, (row + 0.5) * height
            pen.line([(place[0], middle), (end, middle)], fill=(255, 255, 255), width=2)
            for x in (place[0], end):
                pen.line([(x, middle - height / 4), (x, middle + height / 4)], fill=(255, 255, 255), width=2)
            place = (end + width, row * height)
        pen.rectangle(pen.textbbox(place, mark.text, font=font), fill=(0, 0, 0))
        pen.text(place, mark.text, fill=(255, 255, 255), font=font)
    return np.array(image)


def _factor(area: int) -> int:
    """How many pixels of the terminal, down and across, are one of the picture in a place for Sixel of so many."""
    return 1 if area <= SHARP else 2


@lru_cache(maxsize=4)
def _font(size: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont as fonts

    return fonts.load_default(size)


def same(one: Rgb | None, other: Rgb) -> bool:
    """Whether a picture is shown already."""
    return one is not None and np.array_equal(one, other)


def surface(terminal: Terminal) -> Characters | Pixels:
    """The widget for this terminal."""
    return Characters(terminal) if terminal.graphics is Graphics.CELLS else Pixels(terminal)
