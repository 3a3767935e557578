"""Widgets that show a picture: in characters, or in pixels where the terminal has them."""

from collections.abc import Sequence

import numpy as np
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from scanside.tui.case.cells import Mark, lines_of_cells
from scanside.tui.case.draw import Rgb
from scanside.tui.case.graphics import Cells, Graphics, Terminal

MOST_PIXELS = 600_000
"""Of a picture in pixels: with more, each step through the slices would be felt; the terminal enlarges it."""


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
        """Show a picture of that size."""
        self.picture = picture
        self._strips = lines_of_cells(
            picture,
            marks,
            cells=self.cells,
            few_colours=self._terminal.few_colours,
            letters=self.app.no_color,
        )
        self.refresh()

    def on_resize(self) -> None:
        """Ask for a picture of the new size."""
        self.post_message(Sized())

    def render_line(self, y: int) -> Strip:
        """A line of what was shown last; blank where the widget has grown since."""
        if y >= len(self._strips):
            return Strip.blank(self.size.width, Style())
        return self._strips[y].adjust_cell_length(self.size.width)


class Pixels(Container, can_focus=False):
    """Real pixels, by textual-image."""

    DEFAULT_CSS = """
    Pixels { background: black; }
    Pixels > * { width: 100%; height: 100%; }
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self.picture: Rgb | None = None

    def compose(self) -> ComposeResult:
        """The widget of the terminal's protocol."""
        from textual_image.widget import SixelImage, TGPImage

        yield SixelImage() if self._terminal.graphics is Graphics.SIXEL else TGPImage()

    def on_resize(self) -> None:
        """Ask for a picture of the new size."""
        self.post_message(Sized())

    @property
    def _shrunk(self) -> float:
        area = self.size.width * self._terminal.cell[0] * self.size.height * self._terminal.cell[1]
        return max(1.0, (area / MOST_PIXELS) ** 0.5)

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
        """Show a picture of that size."""
        from PIL import Image

        self.picture = lettered(picture, marks, self.size)
        self.query_one("*").image = Image.fromarray(self.picture)  # type: ignore[attr-defined]


def lettered(picture: Rgb, marks: Sequence[Mark], cells: Size) -> Rgb:
    """Write marks into a picture, where they would stand among cells."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    width, height = picture.shape[1] / max(cells.width, 1), picture.shape[0] / max(cells.height, 1)
    font = ImageFont.load_default(max(8, round(height * 0.8)))
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


def surface(terminal: Terminal) -> Characters | Pixels:
    """The widget for this terminal."""
    return Characters(terminal) if terminal.graphics is Graphics.CELLS else Pixels(terminal)
