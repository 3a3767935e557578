"""MRD images → the volumes that they form, behind the same geometry gate as DICOM series.

A volume is what shares series index, contrast, phase, repetition, set and average. Slices come in the order of the
scan; their place along the slice normal decides. Spacing between slices comes from positions: field_of_view[2] is the
thickness of a slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.grid import regular_grid
from scanside.runtime.dicom.slices import slice_frame
from scanside.runtime.errors import GeometryError, InputError
from scanside.runtime.mrd.meta import numbers, read_meta
from scanside.runtime.mrd.wire import Image
from scanside.runtime.volume import Geometry, Volume

_APART = ("image_series_index", "contrast", "phase", "repetition", "set", "average")
_MAGNITUDE = (0, 1)
"""image_type of a magnitude image; 0 is unstated."""


@dataclass(frozen=True, eq=False)
class Stack:
    """One volume of a session.

    Attributes:
        name: For messages: `series 3`, with what else tells it apart.
        images: Its slices in z order.
        volume: (1, Z, Y, X) float32 in patient space.
    """

    name: str
    images: tuple[Image, ...]
    volume: Volume


def magnitudes(images: Sequence[Image]) -> list[list[Image]]:
    """The magnitude images, by volume, in the order in which the volumes began."""
    groups: dict[tuple[int, ...], list[Image]] = {}
    for image in images:
        if image.get("image_type") in _MAGNITUDE and image.data.dtype.kind in "iuf":
            groups.setdefault(tuple(image.get(name) for name in _APART), []).append(image)
    return list(groups.values())


def stack(images: Sequence[Image]) -> Stack:
    """Sort the slices of one volume and prove that they form a regular grid.

    Raises:
        GeometryError: If they do not; in the words of the gate for DICOM.
        InputError: If an image has several channels or slices, or voxels that are no numbers.
    """
    name = _name(images[0])
    for image in images:
        channels, depth = image.data.shape[:2]
        if channels > 1 or depth > 1:
            raise InputError(
                f"In {name} an image has {channels} channel(s) and {depth} slice(s); send one slice and one channel "
                "an image."
            )
    frames = [_frame(image, number) for number, image in enumerate(images, 1)]
    ordered, geometry = regular_grid(frames, name)
    by_frame = {id(frame): image for frame, image in zip(frames, images, strict=True)}
    slices = tuple(by_frame[id(frame)] for frame in ordered)
    data = np.stack([image.data[0, 0] for image in slices]).astype(np.float32)[None]
    return Stack(name, slices, Volume(data, geometry))


def place(image: Image) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, float]]:
    """Centre of the first voxel (mm, LPS), six cosines along a row and down a column, pixel spacing (y, x) in mm.

    The header's position is the centre of the slice. Its directions are those of the acquisition; where the image was
    turned afterwards, ImageRowDir and ImageColumnDir in the attributes say how it lies.
    """
    meta = read_meta(image.attributes)
    row = numbers(meta, "ImageRowDir", 3) or image.get("read_dir")
    column = numbers(meta, "ImageColumnDir", 3) or image.get("phase_dir")
    y, x = image.data.shape[2:]
    width, height = image.get("field_of_view")[:2]
    pixel = (height / y, width / x)
    back = (x - 1) / 2 * pixel[1] * np.array(row) + (y - 1) / 2 * pixel[0] * np.array(column)
    origin = np.array(image.get("position"), np.float64) - back
    return tuple(origin.tolist()), (*row, *column), pixel


def _frame(image: Image, number: int) -> Frame:
    """What the geometry gate reads of a slice."""
    origin, cosines, pixel = place(image)
    values: npt.NDArray[np.float64] = np.array([*origin, *cosines, *pixel])
    if not np.isfinite(values).all():
        raise GeometryError(
            f"In {_name(image)} slice {number} has no usable position, direction or field of view; send it again."
        )
    shape = (int(image.data.shape[2]), int(image.data.shape[3]))
    return slice_frame(f"slice {number}", shape, origin, cosines, pixel, image.get("field_of_view")[2])


def _name(image: Image) -> str:
    more = [f"{name} {value}" for name in _APART[1:] if (value := image.get(name))]
    return " ".join([f"series {image.get('image_series_index')}", *more])


def slices_of(volume: Volume, *, series: int = 1) -> list[Image]:
    """The slices of a volume as MRD images of float32, first channel: what `scanside mrd send` sends.

    Args:
        series: image_series_index.
    """
    from scanside.runtime.mrd.header import new_header
    from scanside.runtime.mrd.wire import make_image

    return [
        make_image(
            new_header(
                field_of_view=_field(volume.geometry),
                position=_centre(volume.geometry, z),
                read_dir=_direction(volume.geometry, 0),
                phase_dir=_direction(volume.geometry, 1),
                slice_dir=_direction(volume.geometry, 2),
                slice=z,
                image_type=1,
                image_index=z + 1,
                image_series_index=series,
            ),
            b"",
            volume.data[:1, z : z + 1],
        )
        for z in range(volume.geometry.shape[0])
    ]


def _field(geometry: Geometry) -> tuple[float, float, float]:
    (_, y, x), (dz, dy, dx) = geometry.shape, geometry.spacing
    return x * dx, y * dy, dz


def _direction(geometry: Geometry, axis: int) -> tuple[float, ...]:
    return tuple(geometry.direction_matrix[:, axis].tolist())


def _centre(geometry: Geometry, z: int) -> tuple[float, ...]:
    (_, y, x), (dz, dy, dx) = geometry.shape, geometry.spacing
    steps = np.array([(x - 1) / 2 * dx, (y - 1) / 2 * dy, z * dz])
    return tuple((np.array(geometry.origin) + geometry.direction_matrix @ steps).tolist())
