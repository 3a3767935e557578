"""A lens on a lesion: the same slice, enlarged, in a corner of the picture that the lesion does not reach."""

from dataclasses import replace

from scanside.runtime.volume import Triple
from scanside.tui.case.draw import Rgb, View, draw
from scanside.tui.case.stack import Stack, index_of

_PART = 0.45
"""Of the picture's height and width that it takes at most: less than half hides nothing in its middle."""
_AROUND, _NOTHING_MM = 1.6, 40.0
_LEAST, _MOST = 2.0, 8.0
_SMALLEST = 8
"""Fewer pixels down show nothing."""
_FRAME = 170


def with_lens(
    picture: Rgb,
    stack: Stack,
    number: int,
    view: View,
    window: tuple[float, float],
    chosen: int | None,
    centre: Triple,
) -> tuple[Rgb, float, tuple[int, int]] | None:
    """Put a lens into a picture of a slice, at its right, above or below the place that it shows.

    Args:
        picture, stack, number, view, window, chosen: As of `draw`, which made the picture.
        centre: What it shows, (x, y, z), mm, LPS: in the plane of the slice.

    Returns:
        The picture, how many times it enlarges, and its first row and column; None where there is no room for it.
    """
    tall = view.mm[0] / view.mm[1]
    columns = min(int(_PART * view.columns), int(_PART * view.rows * tall))
    rows = int(columns / tall)
    if rows < _SMALLEST:
        return None
    wide = _AROUND * max(stack.extent(chosen)) if chosen else 0.0
    factor = min(max(view.mm[1] * columns / (wide or _NOTHING_MM), _LEAST), _MOST)
    mm = (view.mm[0] / factor, view.mm[1] / factor)
    inner = draw(
        stack, number, replace(view, centre=centre, mm=mm, rows=rows, columns=columns), window, chosen
    )
    for edge in (inner[0], inner[-1], inner[:, 0], inner[:, -1]):
        edge[:] = _FRAME
    below = index_of(stack.geometry, centre)[1] <= index_of(stack.geometry, view.centre)[1]
    top, left = (view.rows - rows if below else 0), view.columns - columns
    made = picture.copy()
    made[top : top + rows, left : left + columns] = inner
    return made, factor, (top, left)
