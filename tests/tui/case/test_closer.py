"""Seeing more of a lesion: finer cells where the terminal draws them, a lens, and the values under the pointer."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from textual.geometry import Offset
from textual.strip import Strip
from textual.widgets import Static

from scanside.runtime.appliance.config import Config
from scanside.runtime.study.names import amount
from scanside.tui.case import graphics
from scanside.tui.case.cells import GLYPHS, lines_of_cells
from scanside.tui.case.draw import CHOSEN, Rgb, View, draw
from scanside.tui.case.graphics import Cells, Terminal, choose, understood
from scanside.tui.case.lens import with_lens
from scanside.tui.case.stack import index_of
from tests.tui.case.driving import opened
from tests.tui.case.test_images import data_of

FINE = [Cells.SEXTANTS, Cells.OCTANTS]


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a test chooses ends with it."""
    before = graphics._found
    yield
    graphics._found = before


def test_sextants_are_those_of_the_standard() -> None:
    for pattern, glyph in enumerate(GLYPHS[Cells.SEXTANTS]):
        numbers = "".join(str(n + 1) for n in range(6) if pattern >> n & 1)
        older = {"": "SPACE", "135": "LEFT HALF BLOCK", "246": "RIGHT HALF BLOCK", "123456": "FULL BLOCK"}
        assert unicodedata.name(glyph) == older.get(numbers, f"BLOCK SEXTANT-{numbers}")


def test_octants_are_those_of_the_standard() -> None:
    """Python 3.11 knows Unicode 14: the older blocks by their names, the new ones by the ends of their range."""
    glyphs = GLYPHS[Cells.OCTANTS]
    assert len(set(glyphs)) == 256 and (glyphs[0b100], glyphs[254]) == ("\U0001cd00", "\U0001cde5")
    named = {
        0b00000011: "UPPER ONE QUARTER BLOCK", 0b00001111: "UPPER HALF BLOCK", 0b11111100: "LOWER THREE QUARTERS BLOCK",
        0b00000101: "QUADRANT UPPER LEFT", 0b10100000: "QUADRANT LOWER RIGHT", 0b01010101: "LEFT HALF BLOCK",
        0b00010100: "MIDDLE LEFT ONE QUARTER BLOCK", 0b11111111: "FULL BLOCK",
    }  # fmt: skip
    for pattern, name in named.items():
        known = unicodedata.name(glyphs[pattern], name)
        assert known == name


@pytest.mark.parametrize("cells", FINE)
def test_two_colours_a_cell_are_shown_pixel_by_pixel(cells: Cells) -> None:
    rng = np.random.default_rng(5)
    dark, light = (rng.integers(low, low + 80, (4, 6)) & 0xFC for low in (0, 160))
    upper = rng.random((4 * cells.rows, 6 * cells.columns)) < 0.5
    spread = np.ones((cells.rows, cells.columns), int)
    gray = np.where(upper, np.kron(light, spread), np.kron(dark, spread)).astype(np.uint8)
    picture = np.repeat(gray[..., None], 3, axis=2)
    assert (shown(lines_of_cells(picture, cells=cells), cells) == picture).all()


@pytest.mark.parametrize("cells", FINE)
def test_an_outline_keeps_its_colour_and_its_place(cells: Cells) -> None:
    picture = np.full((2 * cells.rows, 2 * cells.columns, 3), 100, np.uint8)
    picture[1, 1] = CHOSEN
    (first, _) = lines_of_cells(picture, cells=cells)
    lit = shown([first], cells)
    assert (lit[1, 1] == np.array(CHOSEN) & 0xFC).all() and (lit[0, 0] == 100).all()
    letters = lines_of_cells(picture, cells=cells, letters=True)
    assert letters[0].text[0] == "o" and "o" not in letters[1].text


def shown(strips: list[Strip], cells: Cells) -> Rgb:
    """The pixels that characters show."""
    made = []
    for strip in strips:
        blocks = []
        for segment in strip:
            assert segment.style is not None
            front, back = (
                color.triplet for color in (segment.style.color, segment.style.bgcolor) if color is not None
            )
            for letter in segment.text:
                bits = GLYPHS[cells].index(letter) >> np.arange(cells.rows * cells.columns) & 1
                pixels = np.where(bits[:, None] == 1, np.array(front), np.array(back))
                blocks.append(pixels.reshape(cells.rows, cells.columns, 3))
        made.append(np.concatenate(blocks, axis=1))
    return np.concatenate(made).astype(np.uint8)


@pytest.mark.parametrize(
    ("program", "cells"),
    [
        ("VTE(7802)", Cells.OCTANTS), ("VTE(7006)", Cells.SEXTANTS), ("VTE(5202)", Cells.HALF),
        ("kitty(0.40.1)", Cells.OCTANTS), ("kitty(0.35.2)", Cells.SEXTANTS), ("foot(1.13.1)", Cells.SEXTANTS),
        ("ghostty 1.2.0", Cells.OCTANTS), ("WezTerm 20240203-110809-5046fc22", Cells.SEXTANTS),
        ("XTerm(379)", Cells.HALF), ("Konsole 22.12.3", Cells.HALF), ("tmux 3.4", Cells.HALF),
    ],
)  # fmt: skip
def test_the_program_decides_how_fine_cells_are(program: str, cells: Cells) -> None:
    answer = b"\x1bP>|" + program.encode() + b"\x1b\\\x1b[?62;22c"
    assert understood(answer, few_colours=False, multiplexed=False).cells is cells
    assert understood(answer, few_colours=True, multiplexed=False).cells is Cells.HALF
    assert understood(answer, few_colours=False, multiplexed=True).cells is Cells.HALF


@pytest.mark.asyncio
async def test_v_shows_finer_cells_and_the_next_case_has_them_too(reviewed: Config, as_before: None) -> None:
    async with opened(reviewed, data_of(reviewed).case.case_id, (120, 40)) as driver:
        surface = driver.pane().surface
        before = surface.pixels
        for cells in (*FINE, Cells.HALF):
            await driver.press("V")
            lines = [surface.render_line(y).text for y in range(surface.size.height)]  # type: ignore[union-attr]
            letters = set("".join(lines)) & set(GLYPHS.get(cells, "▀")) - set(" ▌▐█▄▀")
            assert cells is Cells.HALF or len(letters) > 3, cells
            assert surface.pixels == (
                before[0] // 2 * cells.rows,
                before[1] * cells.columns,
            ), "the picture is made for them"
            assert driver.outlined() > 0
            assert graphics.found().cells is cells


def test_vte_is_known_by_its_version_in_the_secondary_attributes() -> None:
    """It has no answer to XTVERSION; this is what VTE 0.70.6 said in a real window."""
    for answer, cells in ((b"\x1b[>65;7006;1c", Cells.SEXTANTS), (b"\x1b[>41;379;0c", Cells.HALF)):
        assert understood(answer + b"\x1b[?65;1;9c", few_colours=False, multiplexed=False).cells is cells


def test_a_person_may_choose_cells_where_there_are_pixels(as_before: None) -> None:
    choose(Cells.OCTANTS)
    assert graphics.found() == replace(Terminal(), cells=Cells.OCTANTS)


@pytest.mark.asyncio
async def test_a_lens_enlarges_the_lesion_and_hides_nothing_in_the_middle(reviewed: Config) -> None:
    async with opened(reviewed, data_of(reviewed).case.case_id, (160, 50)) as driver:
        await driver.press("z")
        without, few = driver.picture(), driver.outlined()
        await driver.press("Z")
        rows, columns = without.shape[:2]
        half = np.s_[:rows, : columns // 2]
        assert (driver.picture()[half] == without[half]).all()
        assert (driver.picture()[rows // 2, columns // 2] == without[rows // 2, columns // 2]).all()
        assert driver.outlined() > 1.5 * few, "the outline is there twice, once enlarged"
        lines = [driver.pane().surface.render_line(y).text for y in range(driver.pane().surface.size.height)]  # type: ignore[union-attr]
        assert any("lens ×" in line for line in lines), "it says how much it enlarges"
        await driver.press("Z")
        assert (driver.picture() == without).all()


@pytest.mark.asyncio
async def test_the_lens_shows_the_same_slice_at_the_scale_that_it_says(reviewed: Config) -> None:
    async with opened(reviewed, data_of(reviewed).case.case_id, (160, 50)) as driver:
        stack = driver.case.viewer.shown["t2w"].stack
        view, window = View(stack.middle, (2.0, 2.0), 120, 120), stack.auto
        number = round(index_of(stack.geometry, stack.middle)[0])
        place = stack.middle
        made = with_lens(draw(stack, number, view, window), stack, number, view, window, None, place)
        assert made is not None
        picture, factor, (top, left) = made
        side = 120 - left
        mm = (2.0 / factor, 2.0 / factor)
        alone = draw(stack, number, View(place, mm, 120 - top, side), window)
        assert (picture[top + 1 : -1, left + 1 : -1] == alone[1:-1, 1:-1]).all()
        small = replace(view, rows=10, columns=10)
        assert (
            with_lens(draw(stack, number, small, window), stack, number, small, window, None, place) is None
        )


@pytest.mark.asyncio
async def test_the_value_under_the_pointer_stands_below_with_the_adc_there(reviewed: Config) -> None:
    async with opened(reviewed, data_of(reviewed).case.case_id, (160, 50)) as driver:
        viewer, pane = driver.case.viewer, driver.pane()
        foot = pane.query_one(".foot", Static)
        assert "middle" in str(foot.content)
        region = pane.surface.region
        at = Offset(region.x + region.width // 3, region.y + region.height // 3)
        place = pane.place_at(at)
        assert place is not None and viewer.looking is not None
        await driver.pilot.hover(offset=at)
        await driver.until(lambda: "pointer" in str(foot.content), "no value")
        value, adc = (viewer.shown[name].stack.value(place) for name in ("t2w", "adc"))
        assert value is not None and adc is not None
        assert str(foot.content).startswith(f" pointer {amount(value)}  ADC {amount(adc)}")
        _, y, x = index_of(viewer.shown["t2w"].stack.geometry, place)
        _, my, mx = index_of(viewer.shown["t2w"].stack.geometry, viewer.looking.place)
        assert y < my and x < mx, "a third from the upper left: towards the front and the patient's right"
        await driver.pilot.hover("Banner")
        await driver.until(lambda: "middle" in str(foot.content), "the pointer has left")
