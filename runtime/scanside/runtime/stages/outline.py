"""Outlines of labels as closed polygons along the edges of pixels: filled again, they are the mask, pixel by pixel."""

import numpy as np
import numpy.typing as npt

Polygon = npt.NDArray[np.float64]
"""(N, 2): x, y of the corners, in pixels; the first pixel spans 0 to 1. The last corner is the first."""
_Edge = tuple[int, int, int, int]
"""x, y of where it begins; step along x and y."""


def outlines(plane: npt.NDArray[np.bool_]) -> list[Polygon]:
    """One polygon for each border of what is set: outer ones run clockwise on the screen, those of holes the other way.

    Pixels that touch at a corner alone lie in polygons of their own.

    Args:
        plane: (Y, X).
    """
    every = dict.fromkeys(_edges(plane))
    left, found = dict(every), []
    while left:
        start = edge = next(iter(left))
        corners = []
        while True:
            del left[edge]
            following = _next(edge, every)
            if following[2:] != edge[2:]:
                corners.append(following[:2])
            edge = following
            if edge == start:
                break
        found.append(np.array([*corners, corners[0]], np.float64))
    return found


def _next(edge: _Edge, every: dict[_Edge, None]) -> _Edge:
    """The edge of the same pixels that follows: the turn to the right, where two pixels touch at a corner."""
    x, y, dx, dy = edge
    ways = ((-dy, dx), (dx, dy), (dy, -dx))
    return next(one for way in ways if (one := (x + dx, y + dy, *way)) in every)


def _edges(plane: npt.NDArray[np.bool_]) -> list[_Edge]:
    """Edges between what is set and what is not, the set pixel to their right."""
    padded = np.pad(plane, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0, 1, 0)),  # nothing above: along the top of the pixel
        (padded[1:-1, 2:], (1, 0, 0, 1)),
        (padded[2:, 1:-1], (1, 1, -1, 0)),
        (padded[1:-1, :-2], (0, 1, 0, -1)),
    )
    return [
        (column + x, row + y, dx, dy)
        for neighbour, (x, y, dx, dy) in sides
        for row, column in np.argwhere(inside & ~neighbour).tolist()
    ]
