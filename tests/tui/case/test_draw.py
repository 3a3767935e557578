"""Pixels: windowed as asked, at the right place and scale, with the outline outside the lesion."""

import numpy as np
import pytest
from rich.style import Style

from scanside.runtime.volume import Geometry, Volume
from scanside.tui.case.cells import Mark, lines_of_cells
from scanside.tui.case.draw import CHOSEN, OTHER, Rgb, View, _along, draw, fitting
from scanside.tui.case.stack import Stack, position, stack_of

GRID = Geometry((3, 40, 60), (5.0, 2.0, 2.0), (-59.0, -39.0, -5.0))


def made(mask: np.ndarray | None = None) -> Stack:
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32) * 10, GRID.shape).copy()
    volume = Volume(ramp[None], GRID)
    return stack_of(volume, None if mask is None else Volume(mask[None].astype(np.float32), GRID))


def view(
    stack: Stack, mm: float, rows: int, columns: int, place: tuple[float, float, float] | None = None
) -> View:
    return View(place or stack.middle, (mm, mm), rows, columns)


def is_(picture: Rgb, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


def test_a_whole_slice_fits_and_keeps_its_shape() -> None:
    assert fitting(GRID, 40, 60) == 2.0
    assert fitting(GRID, 20, 60) == 4.0, "height decides"
    assert fitting(GRID, 20, 60, tall=2.0) == 2.0, "pixels twice as tall as wide"
    assert fitting(GRID, 400, 60) == 2.0, "width decides"


def test_pixel_by_pixel_it_is_the_image_through_the_window() -> None:
    stack = made()
    picture = draw(stack, 1, view(stack, 2.0, 40, 60), (100.0, 300.0))
    expected = np.clip((np.arange(60) * 10 - 100) / 200, 0, 1) * 255
    assert np.allclose(picture, np.rint(expected)[None, :, None], atol=1)


@pytest.mark.parametrize("shrunk", [2, 4])
def test_shrinking_averages_and_enlarging_interpolates(shrunk: int) -> None:
    stack = made()
    small = draw(stack, 0, view(stack, 2.0 * shrunk, 40 // shrunk, 60 // shrunk), (0.0, 590.0))
    mean = np.arange(60).reshape(-1, shrunk).mean(axis=1) * 10 / 590 * 255
    inner = slice(1, -1)
    assert np.allclose(small[:, inner, 0], mean[inner], atol=1.5)
    large = draw(stack, 0, view(stack, 1.0, 10, 20), (0.0, 590.0))
    steps = np.diff(large[0, :, 0].astype(int))
    assert np.all((steps >= 1) & (steps <= 3)), "5 a pixel of 2 mm, drawn at 1 mm: between 2 and 3"


def test_what_is_beyond_the_image_is_black() -> None:
    stack = made()
    picture = draw(stack, 0, view(stack, 2.0, 60, 60), (-600.0, 0.0))
    assert (picture[10:50] == 255).all() and not picture[:10].any() and not picture[50:].any()


def test_the_outline_lies_around_the_lesion_and_hides_none_of_it() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[1, 10:16, 20:30] = True
    stack = made(mask)
    seen = view(stack, 2.0, 40, 60)
    plain, lined = draw(stack, 1, seen, (0, 590)), draw(stack, 1, seen, (0, 590), 1)
    ring = is_(lined, CHOSEN)
    assert ring.sum() == 2 * (6 + 10), "one pixel on each side, no corners"
    assert not ring[mask[1]].any()
    assert np.array_equal(lined[~ring], plain[~ring])
    rows, columns = np.nonzero(ring)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 16, 19, 30)
    assert not is_(draw(stack, 0, seen, (0, 590), 1), CHOSEN).any(), "another slice"


def test_the_lesion_that_is_looked_at_is_told_from_the_others() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[1, 10:16, 20:30] = mask[1, 30, 50] = True
    stack = made(mask)
    picture = draw(stack, 1, view(stack, 2.0, 40, 60), (0, 590), 2)
    assert is_(picture, CHOSEN).sum() == 4 and is_(picture, OTHER).sum() == 32


@pytest.mark.parametrize("rows", [8, 11, 20])
def test_no_lesion_gets_lost_by_shrinking(rows: int) -> None:
    for y in range(2, 38, 5):
        mask = np.zeros(GRID.shape, bool)
        mask[1, y, 31] = True
        stack = made(mask)
        picture = draw(stack, 1, view(stack, 80 / rows, rows, rows), (0, 590), 1)
        at = np.argwhere(is_(picture, CHOSEN))
        assert len(at), y
        assert abs(at[:, 0].mean() - (y + 0.5) * rows / 40 + 0.5) <= 1.0, "and stays where it is"


def test_the_middle_of_the_picture_is_the_place_that_is_looked_at() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[1, 30, 50] = True
    stack = made(mask)
    picture = draw(stack, 1, view(stack, 0.5, 41, 41, position(GRID, (1, 30, 50))), (0, 590), 1)
    at = np.argwhere(is_(picture, CHOSEN))
    assert np.allclose(at.mean(axis=0), 20, atol=0.6)


def test_half_blocks_show_two_pixels_a_cell() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    picture[2:4, 3:6] = 7  # cells of one colour are merged
    strips = lines_of_cells(picture)
    assert len(strips) == 3 and all(strip.cell_length == 9 for strip in strips)
    for row, strip in enumerate(strips):
        cells = [(letter, segment.style) for segment in strip for letter in segment.text]
        for column, (letter, style) in enumerate(cells):
            assert letter == "▀" and isinstance(style, Style) and style.color and style.bgcolor
            for colour, pixel in (
                (style.color, picture[2 * row, column]),
                (style.bgcolor, picture[2 * row + 1, column]),
            ):
                assert colour.triplet and (pixel - np.array(colour.triplet)).min() >= 0
                assert (pixel - np.array(colour.triplet)).max() < 4
    assert len(list(strips[1])) == 7


def test_marks_stand_on_the_picture_or_are_left_out() -> None:
    picture = np.zeros((8, 10, 3), np.uint8)
    marks = [Mark(0, 4, "A"), Mark(-1, -1, "P"), Mark(2, 0, "R"), Mark(1, 8, "too long"), Mark(9, 0, "x")]
    lines = [strip.text for strip in lines_of_cells(picture, marks)]
    assert [line.replace("▀", ".") for line in lines] == [
        "....A.....",
        "..........",
        "R.........",
        ".........P",
    ]


def test_sixteen_colours_are_enough_for_shades_and_an_outline() -> None:
    picture = np.zeros((2, 6, 3), np.uint8)
    picture[:, 1:5] = np.array([60, 110, 170, 255])[None, :, None]
    picture[0, 5] = CHOSEN
    (strip,) = lines_of_cells(picture, few_colours=True)
    assert strip.text == " ░▒▓█o"
    assert {segment.style.color.name for segment in strip if segment.style and segment.style.color} == {
        "white",
        "bright_yellow",
    }


@pytest.mark.parametrize("step", [0.3, 1.0, 1.7, 4.0])
def test_places_are_weighed_as_a_matrix_of_all_weights_would(step: float) -> None:
    image = np.random.default_rng(3).normal(size=(20, 7)).astype(np.float32)
    at = np.arange(-3, 25, step)
    dense = np.maximum(0.0, 1 - np.abs(np.clip(at, 0, 19)[:, None] - np.arange(20)) / max(1.0, step))
    np.testing.assert_allclose(_along(image, at), dense / dense.sum(axis=1, keepdims=True) @ image, atol=1e-5)
