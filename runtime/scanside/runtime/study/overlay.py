"""A picture for a person: slices through the lesion with its outline, in radiological view, with what must be on it."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from scanside.runtime.arrays import LabelMask, Mask, Uint8
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.orient import reoriented
from scanside.runtime.labels import segment_color
from scanside.runtime.study.names import amount
from scanside.runtime.volume import Geometry, Volume

BANNER = "RESEARCH USE ONLY"
SYNTHETIC = "SYNTHETIC PHANTOM"

PANEL = 240
"""Pixels of a slice's longer side."""
MOST_SLICES = 12
FEW_SLICES = 8
"""Of a picture of labels: enough to see whether a mask is where it should be."""
VIEW_MM = 180.0
"""What is shown around the lesion, at least; the whole image where it is smaller."""
_BAR, _GAP, _COLUMNS = 26, 4, 4
_WINDOW = (1.0, 99.5)
_COMPRESSION = 2
"""zlib: three times faster than its default of 6, and on these pictures a tenth larger."""
_BLACK, _WHITE, _RED, _YELLOW = (0, 0, 0), (235, 235, 235), (190, 30, 30), (255, 210, 0)

Colours = Mapping[int, tuple[int, int, int]]
Box = tuple[slice, slice]


def write_overlay(picture: Image.Image, path: Path) -> None:
    """Write what `draw_overlay` drew as a PNG, replaced in one step.

    Raises:
        OutputError: If it cannot be written.
    """
    packed = png(picture)
    with atomic_write(path) as temporary:
        temporary.write_bytes(packed)


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG (ISO/IEC 15948), 8 bits a channel, RGB.

    Pillow tries five filters a row, which takes longer than the packing, and holds the interpreter meanwhile. Here each
    row is the difference to the one above (filter type 2), and zlib works beside other threads.
    """
    pixels = np.asarray(picture.convert("RGB"))
    flat = pixels.reshape(pixels.shape[0], -1)
    rows = np.full((flat.shape[0], flat.shape[1] + 1), 2, np.uint8)
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    size = struct.pack(">2I5B", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(rows.tobytes(), _COMPRESSION)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def draw_overlay(volume: Volume, mask: Uint8, title: str, synthetic: bool) -> Image.Image:
    """A panel a slice, through the lesion and one beyond each end, top left the lowest.

    Without a lesion evenly spaced slices of the whole image are shown, and the title should say so.

    Args:
        volume: The image, (1, Z, Y, X).
        mask: (Z, Y, X), the lesion > 0.
        title: Line above the slices.
        synthetic: Burn `SYNTHETIC PHANTOM` in as well.
    """
    panels = _panels(volume, (mask > 0).astype(np.uint8), {1: _YELLOW})
    return _montage(panels, title, f"{BANNER} - {SYNTHETIC}" if synthetic else BANNER)


def draw_labels(
    volume: Volume, mask: LabelMask, named: Mapping[str, int], title: str, *, synthetic: bool = False
) -> Image.Image:
    """A few slices of an image with the outline of each label in its colour, and what the colours are.

    Args:
        volume: The image, (C, Z, Y, X); its first channel is shown.
        mask: (Z, Y, X) on its grid.
        named: Label → value.
        title: Line above the slices.
        synthetic: Burn `SYNTHETIC PHANTOM` in as well.
    """
    first = Volume(volume.data[:1], volume.geometry)
    panels = _panels(first, mask, {value: segment_color(value) for value in named.values()}, FEW_SLICES)
    there = {name: value for name, value in named.items() if (mask == value).any()}
    shown = title if there else f"{title}: nothing was segmented"
    return _montage(panels, shown, f"{BANNER} - {SYNTHETIC}" if synthetic else BANNER, there)


def _panels(volume: Volume, mask: LabelMask, colours: Colours, most: int = MOST_SLICES) -> list[Image.Image]:
    """A panel for each slice that is shown: a patient in radiological view, a picture as it is stored."""
    geometry, data, labels = volume.geometry, volume.data, mask
    flat = geometry.dimension == 2
    if not flat:  # x to the patient's left, y to posterior: as a radiologist looks at it
        data, geometry = reoriented(volume.data, volume.geometry, "LPS")
        labels, _ = reoriented(mask, volume.geometry, "LPS")
    slices = _slices(labels > 0, most)
    box = _view(labels > 0, geometry)
    low, high = (float(value) for value in np.percentile(data[0][slices], _WINDOW))
    window = f"W {amount(high - low)} L {amount((low + high) / 2)}"
    panels = []
    for z in slices:
        gray = np.clip((data[0][z][box] - low) / max(high - low, 1e-6), 0, 1)
        said = (
            _Said("", "", window)
            if flat
            else _Said(f"slice {z + 1}/{len(labels)}", _height(geometry, z), window)
        )
        gray8 = (gray * 255).astype(np.uint8)
        panels.append(_panel(gray8, labels[z][box], geometry.spacing, said, colours, sides=not flat))
    return panels


@dataclass(frozen=True)
class _Said:
    """What stands on a panel: which slice, where in the patient, and which window."""

    slice: str
    height: str
    window: str


def _height(geometry: Geometry, z: int) -> str:
    """Patient position of a slice's middle, mm: S towards the head, I towards the feet."""
    index = np.array([(geometry.shape[2] - 1) / 2, (geometry.shape[1] - 1) / 2, z])
    steps = index * np.array(geometry.spacing[::-1])
    height = float((np.array(geometry.origin) + geometry.direction_matrix @ steps)[2])
    return f"{'S' if height >= 0 else 'I'}{abs(height):.1f} mm"


def _slices(lesion: Mask, most: int = MOST_SLICES) -> list[int]:
    """Slices to show, ascending: through the lesion and one beyond each end, thinned out to `most`."""
    through = np.flatnonzero(lesion.any(axis=(1, 2)))
    first, last = (through[0] - 1, through[-1] + 1) if through.size else (0, len(lesion) - 1)
    first, last = max(int(first), 0), min(int(last), len(lesion) - 1)
    count = min(last - first + 1, most)
    return sorted({round(float(z)) for z in np.linspace(first, last, count)})


def _view(lesion: Mask, geometry: Geometry) -> Box:
    """The rows and columns to show: `VIEW_MM` around the lesion, more if it is larger; all without a lesion."""
    sides = []
    for axis in (1, 2):
        size, pixel = lesion.shape[axis], geometry.spacing[axis]
        hit = np.flatnonzero(lesion.any(axis=tuple(a for a in range(3) if a != axis)))
        if not hit.size:
            sides.append(slice(0, size))
            continue
        width = min(size, round(max(VIEW_MM / pixel, 1.5 * (hit[-1] - hit[0] + 1))))
        start = int(np.clip((hit[0] + hit[-1] + 1) // 2 - width // 2, 0, size - width))
        sides.append(slice(start, start + width))
    return sides[0], sides[1]


def _panel(
    gray: Uint8,
    labels: LabelMask,
    spacing: tuple[float, float, float],
    said: _Said,
    colours: Colours,
    *,
    sides: bool,
) -> Image.Image:
    """One slice at the right aspect, with its outlines, sides, number, place, window and ruler."""
    tall, wide = gray.shape[0] * spacing[1], gray.shape[1] * spacing[2]
    scale = PANEL / max(tall, wide)
    size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    shown = np.array(Image.fromarray(gray).resize(size, Image.Resampling.BILINEAR).convert("RGB"))
    for value in (value for value in colours if (labels == value).any()):
        one = Image.fromarray((labels == value).astype(np.uint8))
        drawn = np.array(one.resize(size, Image.Resampling.NEAREST)) > 0
        shown[ndimage.binary_dilation(drawn) & ~drawn] = colours[value]
    panel = Image.new("RGB", (PANEL, PANEL), _BLACK)
    left, top = (PANEL - size[0]) // 2, (PANEL - size[1]) // 2
    panel.paste(Image.fromarray(shown), (left, top))
    pen = ImageDraw.Draw(panel)
    middle, far = PANEL // 2, PANEL - 4
    letters = [
        (4, middle, "R", "lm"),
        (far, middle, "L", "rm"),
        (middle, 3, "A", "ma"),
        (middle, far + 1, "P", "md"),
    ]
    said_at = [(4, 3, said.slice, "la"), (4, 18, said.height, "la"), (4, far + 1, said.window, "ld")]
    for x, y, words, anchor in (*(letters if sides else ()), *said_at):
        _say(pen, (x, y), words, anchor)
    _ruler(pen, scale)
    return panel


def _ruler(pen: ImageDraw.ImageDraw, scale: float) -> None:
    """A length in mm at the lower right, a quarter of the panel at most; none where not even 1 mm fits.

    Args:
        scale: Pixels a mm.
    """
    length = next((mm for mm in (50, 20, 10, 5, 2, 1) if mm * scale <= PANEL / 4), None)
    if length is None:
        return
    right, y = PANEL - 6, PANEL - 6
    left = right - round(length * scale)
    for x in (left, right):
        pen.line([(x, y - 3), (x, y + 3)], fill=_WHITE)
    pen.line([(left, y), (right, y)], fill=_WHITE)
    _say(pen, ((left + right) // 2, y - 4), f"{length} mm", "md", 11)


def _say(pen: ImageDraw.ImageDraw, at: tuple[int, int], words: str, anchor: str, size: int = 12) -> None:
    """Words with a dark edge, so that they can be read on bright tissue, too."""
    pen.text(at, words, fill=_WHITE, font=_font(size), anchor=anchor, stroke_width=1, stroke_fill=_BLACK)


def _montage(
    panels: list[Image.Image], title: str, banner: str, legend: Mapping[str, int] | None = None
) -> Image.Image:
    """Panels in rows below a title, then what the colours are, then the banner."""
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    width = max(columns * (PANEL + _GAP) + _GAP, 2 * (PANEL + _GAP) + _GAP)
    lines = _legend_lines(legend or {}, width)
    picture = Image.new("RGB", (width, rows * (PANEL + _GAP) + (2 + len(lines)) * _BAR), _BLACK)
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP + 2, _BAR // 2), title, fill=_WHITE, font=_font(13), anchor="lm")
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        picture.paste(panel, (_GAP + column * (PANEL + _GAP), _BAR + row * (PANEL + _GAP)))
    bottom = picture.height - _BAR
    for number, line in enumerate(lines):
        y = bottom - (len(lines) - number) * _BAR + _BAR // 2
        for x, name, value in line:
            pen.rectangle((x, y - 5, x + 10, y + 5), fill=segment_color(value))
            pen.text((x + 16, y), name, fill=_WHITE, font=_font(12), anchor="lm")
    pen.rectangle((0, bottom, width, picture.height), fill=_RED)
    pen.text((width // 2, bottom + _BAR // 2), banner, fill=_WHITE, font=_font(14), anchor="mm")
    return picture


def _legend_lines(legend: Mapping[str, int], width: int) -> list[list[tuple[int, str, int]]]:
    """Where each name stands: lines of (x, name, value), as many as the width needs."""
    lines: list[list[tuple[int, str, int]]] = []
    x = width
    for name, value in legend.items():
        needed = round(_font(12).getlength(name)) + 32
        if x + needed > width:
            lines.append([])
            x = _GAP + 2
        lines[-1].append((x, name, value))
        x += needed
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
