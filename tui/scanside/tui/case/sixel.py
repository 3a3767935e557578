"""A picture as Sixel: grey in 32 levels, outlines in their own colours; all of it with arrays, without a loop.

Sixel draws bands of six rows. In each band every colour is drawn in a pass of its own from the left: a character says
which of the six pixels of a column have that colour, and a count says how many columns are passed over.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from scanside.tui.case.draw import Rgb

_BAND = 6
_GRAYS = 32
_COLOURS = 64
"""At most so many beside the grey ones; outlines are two."""
_NOTHING, _LINE, _BACK = b"?", b"-", b"$"
_PIECE = 8
"""Bytes of a piece: `!9999?` and a character or two, or what begins a pass, such as `$#95`."""
_PIXEL = np.array([1, 2, 4, 8, 16, 32, 0, 0], np.uint8)


def sixel(picture: Rgb, factor: int = 1) -> str:
    """The bytes that draw a picture where the cursor is.

    Args:
        picture: (rows, columns, 3).
        factor: 1, or 2 for a picture of which each pixel becomes four of the terminal.
    """
    index, colours = _indexed(picture)
    index = np.repeat(index, factor, axis=0)
    rows, columns = index.shape[0], index.shape[1] * factor
    percents = np.rint(colours.astype(float) * (100 / 255)).astype(int)
    registers = "".join(f"#{n};2;{r};{g};{b}" for n, (r, g, b) in enumerate(percents.tolist()))
    return f'\x1bP0;1q"1;1;{columns};{rows}{registers}{_bands(index, len(colours), factor).decode()}\x1b\\'


def _indexed(picture: Rgb) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """(rows, columns) numbers of colours, and (N, 3) the colours."""
    levels = np.repeat(np.rint(np.linspace(0, 255, _GRAYS)).astype(np.uint8)[:, None], 3, axis=1)
    index = np.rint(picture[..., 1] * np.float32((_GRAYS - 1) / 255)).astype(np.int32)
    coloured = (picture[..., 0] != picture[..., 1]) | (picture[..., 1] != picture[..., 2])
    if not coloured.any():
        return index, levels
    pixels = picture[coloured]
    found, which = np.unique(pixels, axis=0, return_inverse=True)
    if len(found) > _COLOURS:
        found, which = np.unique(pixels & 0xC0, axis=0, return_inverse=True)
    index[coloured] = _GRAYS + which.ravel()
    return index, np.concatenate([levels, found])


def _bands(index: npt.NDArray[np.int32], colours: int, factor: int) -> bytes:
    """Every band, its colours one after the other."""
    rows, columns = index.shape
    row = np.arange(rows, dtype=np.int32)[:, None]
    places = ((row // _BAND) * colours + index) * columns + np.arange(columns, dtype=np.int32)
    keys = np.sort((places * 8 + row % _BAND).ravel())  # by band, colour, column; then the pixel in it
    places = keys >> 3
    first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
    sums = np.cumsum(_PIXEL[keys & 7], dtype=np.int32)[np.append(first[1:], len(keys)) - 1]
    letters = np.diff(sums, prepend=0) + ord(_NOTHING)
    places = places[first]
    passes = places // columns
    begins = np.concatenate([[True], passes[1:] != passes[:-1]])
    gaps = np.diff(places, prepend=-1) - 1
    gaps[begins] = places[begins] % columns
    pieces = _skips(columns, factor)[gaps]
    for place in range(_PIECE - factor, _PIECE):
        pieces |= letters.astype(np.uint64) << np.uint64(8 * place)
    starts = np.flatnonzero(begins)
    return np.insert(pieces, starts, _heads(passes[starts], colours)).tobytes().translate(None, b"\0")


def _heads(passes: npt.NDArray[np.int32], colours: int) -> npt.NDArray[np.uint64]:
    """What begins each pass: to the next band, or to the left again; the colour."""
    band, colour = np.divmod(passes, colours)
    same = np.concatenate([[False], band[1:] == band[:-1]])
    heads = _selections(colours)[np.where(same, colours, 0) + colour]
    heads[0] = _pieces([b"#%d" % colour[0]])[0]
    return heads


@lru_cache(maxsize=8)
def _skips(columns: int, factor: int) -> npt.NDArray[np.uint64]:
    """What passes over so many columns of the picture."""
    return _pieces([_NOTHING * n if n <= 3 else b"!%d?" % n for n in range(0, columns * factor, factor)])


@lru_cache(maxsize=8)
def _selections(colours: int) -> npt.NDArray[np.uint64]:
    """What chooses a colour in the next band; behind them what chooses it in the same."""
    return _pieces([b"%s#%d" % (sign, n) for sign in (_LINE, _BACK) for n in range(colours)])


def _pieces(words: list[bytes]) -> npt.NDArray[np.uint64]:
    """Each in eight bytes, filled with zeros: moved as one number."""
    return np.frombuffer(b"".join(word.ljust(_PIECE, b"\0") for word in words), "<u8").astype(np.uint64)
