"""A slice → pixels: resampled to the size of its place on the screen, windowed, with the outline of the lesions."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.volume import Geometry, Triple
from scanside.tui.case.stack import Stack, index_of

Rgb = npt.NDArray[np.uint8]
"""(rows, columns, 3)."""

CHOSEN = (255, 210, 0)
"""Outline of the lesion that is looked at."""
OTHER = (0, 220, 230)
"""Outlines of the others."""


@dataclass(frozen=True)
class View:
    """What is shown of a slice.

    Attributes:
        centre: Patient position in the middle of the picture, (x, y, z), mm, LPS.
        mm: Height and width of a pixel, mm.
        rows, columns: Size of the picture, pixels.
    """

    centre: Triple
    mm: tuple[float, float]
    rows: int
    columns: int


def fitting(geometry: Geometry, rows: int, columns: int, tall: float = 1.0) -> float:
    """Width of a pixel, mm, with which a whole slice fits into a picture.

    Args:
        tall: Height of a pixel over its width.
    """
    height, width = (geometry.shape[axis] * geometry.spacing[axis] for axis in (1, 2))
    return max(height / (rows * tall), width / columns)


def draw(
    stack: Stack, number: int, view: View, window: tuple[float, float], chosen: int | None = None
) -> Rgb:
    """A picture of a slice.

    Args:
        number: The slice, from 0.
        window: Values that become black and white.
        chosen: Number of the lesion to tell from others; None leaves every outline out.
    """
    down, across = _samples(stack.geometry, view)
    low, high = window
    shown = _resampled(stack.image[number], down, across)
    gray = np.rint(np.clip((shown - low) * (255 / max(high - low, 1e-6)), 0, 255)).astype(np.uint8)
    gray[~_within(down, stack.image.shape[1])] = 0
    gray[:, ~_within(across, stack.image.shape[2])] = 0
    picture = np.empty((*gray.shape, 3), np.uint8)
    picture[:] = gray[..., None]
    if chosen is not None and stack.lesions is not None:
        _outline(picture, stack.lesions[number], down, across, chosen)
    return picture


def _samples(geometry: Geometry, view: View) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fractional row and column of the image under each row and column of the picture."""
    _, y, x = index_of(geometry, view.centre)
    down = np.arange(view.rows, dtype=np.float64) - (view.rows - 1) / 2
    across = np.arange(view.columns, dtype=np.float64) - (view.columns - 1) / 2
    return y + down * (view.mm[0] / geometry.spacing[1]), x + across * (view.mm[1] / geometry.spacing[2])


def _within(at: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.bool_]:
    return (at >= -0.5) & (at <= size - 0.5)


def _resampled(
    image: npt.NDArray[np.float32], down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(rows, columns) of a picture from (Y, X): rows first. A matrix product would wake BLAS, whose threads spin."""
    return _along(_along(image, down).T, across).T


def _along(image: npt.NDArray[np.float32], at: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(N, X) from (Y, X): at each place linear between two rows; a mean over as many as fall on it where it shrinks."""
    size = len(image)
    step = max(1.0, abs(at[1] - at[0]) if len(at) > 1 else 1.0)
    places, reach = np.clip(at, 0, size - 1), math.ceil(step)
    taps = np.floor(places).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    weights = np.maximum(0.0, 1 - np.abs(places[:, None] - taps) / step)
    weights[(taps < 0) | (taps >= size)] = 0
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    rows = np.clip(taps, 0, size - 1)
    found = image[rows[:, 0]] * weights[:, :1]
    for tap in range(1, 2 * reach):
        found += image[rows[:, tap]] * weights[:, tap, None]
    return found


def _outline(
    picture: Rgb,
    lesions: npt.NDArray[np.int32],
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
    chosen: int,
) -> None:
    """Draw around each lesion, outside it, the chosen one last."""
    numbers = sorted((int(n) for n in np.unique(lesions) if n), key=lambda n: n == chosen)
    for number in numbers:
        covered = _covered(lesions == number, down, across)
        ring = ndimage.binary_dilation(covered) & ~covered
        picture[ring] = CHOSEN if number == chosen else OTHER


def _covered(
    lesion: npt.NDArray[np.bool_], down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Pixels that a lesion covers: by voxels where they are larger than pixels, else at least by half.

    A lesion that covers no pixel by half keeps the one that it covers most, so that none gets lost.
    """
    rows, columns = lesion.shape
    shrinks = (down[1] - down[0] if len(down) > 1 else 0) > 1
    if shrinks:
        part = _resampled(lesion.astype(np.float32), down, across)
        part[~(_within(down, rows)[:, None] & _within(across, columns))] = 0
        return part >= min(0.5, max(float(part.max()), 1e-6))
    y = np.clip(np.rint(down).astype(int), 0, rows - 1)
    x = np.clip(np.rint(across).astype(int), 0, columns - 1)
    return lesion[np.ix_(y, x)] & _within(down, rows)[:, None] & _within(across, columns)
