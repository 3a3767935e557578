"""Pictures as Sixel: what a terminal reads out of the bytes, and how often they are made."""

import asyncio
import re

import numpy as np
import pytest
from textual.app import App, ComposeResult

from scanside.tui.case import surface as surfaces
from scanside.tui.case.cells import Mark
from scanside.tui.case.draw import CHOSEN, OTHER, Rgb
from scanside.tui.case.graphics import Graphics, Terminal
from scanside.tui.case.sixel import sixel
from scanside.tui.case.surface import Characters, Pixels, SixelPicture

_STEP = 255 / 31 / 2 + 1.3
"""How far a pixel may lie from its colour: half a level, and whole percents."""


def read_back(text: str) -> Rgb:
    """The picture as a terminal draws it, by the letters of the format."""
    found = re.fullmatch(r'\x1bP[\d;]*q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert found is not None
    columns, rows = int(found[1]), int(found[2])
    made = np.full((-(-rows // 6) * 6, columns, 3), -1.0)
    colours: dict[int, list[float]] = {}
    x = y = colour = 0
    for part in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|(.)", found[3]):
        if part[1]:
            colours[int(part[1])] = [int(percent) * 2.55 for percent in part.groups()[1:4]]
        elif part[5]:
            colour = int(part[5])
        elif part[8]:
            x, y = 0, y + 6 * (part[8] == "-")
        else:
            times, letter = (int(part[6]), part[7]) if part[6] else (1, part[9])
            for row in range(6):
                if (ord(letter) - 63) >> row & 1:
                    made[y + row, x : x + times] = colours[colour]
            x += times
    assert (made[rows:] == -1).all() and (made[:rows] >= 0).all(), (
        "each pixel is drawn, none below the picture"
    )
    return made[:rows]


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (6, 4), (13, 1200), (40, 31)])
def test_what_is_read_back_is_the_picture(rows: int, columns: int, factor: int) -> None:
    gray = np.random.default_rng(1).integers(0, 256, (rows, columns), dtype=np.uint8)
    picture = np.repeat(gray[..., None], 3, axis=2)
    picture[rows // 2, : columns // 2], picture[rows // 3, columns // 2 :] = CHOSEN, OTHER
    whole = np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
    assert np.abs(read_back(sixel(picture, factor)) - whole).max() < _STEP


class Showing(App[None]):
    CSS = "Characters, Pixels { width: 30; height: 10; }"

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self.surface = surfaces.surface(terminal)

    def compose(self) -> ComposeResult:
        yield self.surface


def picture_for(surface: Characters | Pixels, shift: int) -> Rgb:
    rows, columns = surface.pixels
    gray = (np.arange(rows)[:, None] * 3 + np.arange(columns) + shift).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def test_a_picture_is_encoded_once_however_often_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_a_picture_is_encoded_once_however_often_it_is_shown(monkeypatch))


async def _a_picture_is_encoded_once_however_often_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(picture: Rgb, factor: int) -> str:
        made.append(text := sixel(picture, factor))
        return text

    monkeypatch.setattr(surfaces, "sixel", counted)
    app = Showing(Terminal(Graphics.SIXEL))
    async with app.run_test() as pilot:
        assert isinstance(app.surface, Pixels)
        widget = app.query_one(SixelPicture)
        for shift in (0, 0, 90, 0, 90):
            app.surface.show(picture_for(app.surface, shift), [Mark(0, 0, "R")])
            await pilot.pause()
        assert len(made) == 2
        app.surface.show(picture_for(app.surface, 90), [Mark(0, 0, "L")])
        await pilot.pause()
        assert len(made) == 3
        assert app.query_one(SixelPicture) is widget  # the widget stays: nothing is laid out anew
        picture = app.surface.picture
        assert picture is not None and np.abs(read_back(made[-1]) - picture).max() < _STEP


def test_a_large_place_has_a_picture_of_larger_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_a_large_place_has_a_picture_of_larger_pixels(monkeypatch))


async def _a_large_place_has_a_picture_of_larger_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        surfaces, "sixel", lambda picture, factor: made.append(sixel(picture, factor)) or made[-1]
    )
    app = Showing(Terminal(Graphics.SIXEL, cell=(21, 41)))
    app.CSS = "Characters, Pixels { width: 70; height: 30; }"
    async with app.run_test(size=(100, 40)) as pilot:
        assert app.surface.pixels == (30 * 41 // 2, 70 * 21 // 2)
        app.surface.show(picture_for(app.surface, 0), [])
        await pilot.pause()
        picture = app.surface.picture
        assert picture is not None
        whole = np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)
        assert np.abs(read_back(made[-1]) - whole).max() < _STEP


def test_the_same_picture_in_cells_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_the_same_picture_in_cells_is_not_drawn_again(monkeypatch))


async def _the_same_picture_in_cells_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Showing(Terminal(Graphics.CELLS))
    async with app.run_test() as pilot:
        made: list[object] = []
        real = surfaces.lines_of_cells
        monkeypatch.setattr(
            surfaces, "lines_of_cells", lambda *args, **options: made.append(args) or real(*args, **options)
        )
        for shift in (0, 0, 90, 90):
            app.surface.show(picture_for(app.surface, shift), [])
            await pilot.pause()
        assert len(made) == 2
