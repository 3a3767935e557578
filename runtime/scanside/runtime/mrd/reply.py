"""What goes back for a volume: label and colour images, outlines; the slices' own headers but for named fields."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.labels import segment_color
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.meta import Meta, read_meta, write_meta
from scanside.runtime.mrd.series import Stack
from scanside.runtime.mrd.wire import Image, make_image
from scanside.runtime.plan import Labels
from scanside.runtime.stages.outline import Polygon, outlines

NOTICE = "RESEARCH USE ONLY"
CHANGED = (
    "data_type",
    "channels",
    "image_type",
    "image_index",
    "image_series_index",
    "attribute_string_len",
)
"""Fields of the header in which a label or colour image may differ from its slice."""
_RESERVED = 99
"""A series index that scanners keep for themselves (seen on a scanner: openrecon's musclemap.py)."""
_RGB = 6
_OPACITY = 0.4
_WINDOW = (1.0, 99.5)
"""Percentiles of the volume that become black and white in colour images."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels of a volume.

    Attributes:
        mask: (Z, Y, X), the volume's grid.
        volumes_ml: Label or region → its volume.
        parts: Label or region → the values of the mask that it consists of.
        bundle: sha256 of the bundle, hex.
    """

    mask: LabelMask
    volumes_ml: Mapping[str, float]
    parts: Mapping[str, tuple[int, ...]]
    bundle: str

    @property
    def words(self) -> str:
        """Volumes, for a person."""
        return ", ".join(f"{name} {volume:.2f} ml" for name, volume in self.volumes_ml.items())


def parts_of(labels: Labels) -> dict[str, tuple[int, ...]]:
    """Name → values of a mask, without background."""
    every = {name: value if isinstance(value, tuple) else (value,) for name, value in labels.names.items()}
    return {name: values for name, values in every.items() if 0 not in values}


def free_series(images: Sequence[Image]) -> int:
    """A series index that no image has, and that no scanner reserves."""
    used = {int(image.get("image_series_index")) for image in images} | {_RESERVED, 0}
    index = max(used - {_RESERVED}, default=0) + 1
    return index + 1 if index == _RESERVED else index


def label_images(of: Stack, found: Labelled, *, series: int) -> list[Image]:
    """One label image for each slice, in z order.

    Args:
        series: image_series_index of the labels.
    """
    most = max(int(found.mask.max()), 1)
    own: Meta = {
        "DataRole": ("Quantitative", "Segmentation"),
        "SequenceDescriptionAdditional": ("scanside",),
        "WindowCenter": (f"{most / 2:g}",),
        "WindowWidth": (f"{most + 1:g}",),
    }
    planes = [plane[None, None].astype(np.uint16) for plane in found.mask]
    return _images(of, found, planes, own, series, image_type=1)


def colour_images(of: Stack, found: Labelled, *, series: int) -> list[Image]:
    """One colour image for each slice, in z order: the labels over the scan, 0 to 255 in three channels.

    Args:
        series: image_series_index of the colour images.
    """
    low, high = np.percentile(of.volume.data, _WINDOW)
    grey = np.clip((of.volume.data[0] - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = np.repeat(grey[:, None], 3, axis=1)  # (Z, 3, Y, X)
    for number, values in enumerate(found.parts.values(), 1):
        where = np.isin(found.mask, values)[:, None]
        colour = np.reshape(segment_color(number), (1, 3, 1, 1))
        picture = np.where(where, (1 - _OPACITY) * picture + _OPACITY * colour, picture)
    own: Meta = {
        "DataRole": ("Image", "Segmentation"),
        "SequenceDescriptionAdditional": ("scanside", "RGB"),
        "InternalSend": ("1",),
    }
    planes = [plane[:, None].round().astype(np.uint16) for plane in picture]
    return _images(of, found, planes, own, series, image_type=_RGB)


def outlined(of: Stack, found: Labelled) -> Iterator[tuple[Image, Image]]:
    """Each slice, and the same with the outlines of its labels as `ROI_…`; the header changes in one field.

    Every value of a polygon is x, then y, from 0 to the number of columns and rows (MRD, doc/mrd_image_data.md, and
    `create_roi` of the reference server).
    """
    for image, plane in zip(of.images, found.mask, strict=True):
        meta = read_meta(image.attributes)
        for number, (name, values) in enumerate(found.parts.items(), 1):
            for polygon in outlines(np.isin(plane, values)):
                meta[_roi_name(name, meta)] = _roi(polygon, segment_color(number))
        attributes = write_meta(meta) if meta else image.attributes
        header = with_fields(image.header, attribute_string_len=len(attributes))
        yield image, replace(image, header=header, attributes=attributes)


def _roi_name(label: str, meta: Meta) -> str:
    base = f"ROI_{re.sub(r'[^A-Za-z0-9]+', '_', label)}"
    name, number = base, 1
    while name in meta:
        number += 1
        name = f"{base}_{number}"
    return name


def _roi(polygon: Polygon, colour: tuple[int, int, int]) -> tuple[str, ...]:
    """Red, green, blue, thickness, style (0 is solid), visible; then the corners."""
    shown = (*(f"{part / 255:.4f}" for part in colour), "1", "0", "1")
    return (*shown, *(f"{value:g}" for value in polygon.ravel()))


def _images(
    of: Stack,
    found: Labelled,
    planes: Sequence[npt.NDArray[np.uint16]],
    own: Meta,
    series: int,
    image_type: int,
) -> list[Image]:
    comment = f"{NOTICE}, bundle {found.bundle[:8]}, {found.words}"
    uid = _new_uid()
    made = []
    for number, (image, plane) in enumerate(zip(of.images, planes, strict=True), 1):
        attributes = write_meta(_meta(read_meta(image.attributes), own, comment, uid))
        fields = {"image_type": image_type, "image_index": number, "image_series_index": series}
        made.append(make_image(image.header, attributes, np.ascontiguousarray(plane), **fields))
    return made


_LEFT_OUT = ("ImageTypeValue3", "IceMiniHead", "WindowCenter", "WindowWidth")
"""What belongs to the source image alone."""


def _meta(source: Meta, own: Meta, comment: str, series_uid: str) -> Meta:
    """The slice's attributes with those of a made image.

    Source: the MRD attributes that Siemens' OpenRecon reads. `Quantitative` keeps the scanner from scaling values;
    `Keep_image_geometry` keeps it from turning them.
    """
    return {
        **{name: values for name, values in source.items() if name not in _LEFT_OUT},
        "Keep_image_geometry": ("1",),
        "ImageProcessingHistory": (*source.get("ImageProcessingHistory", ()), "SCANSIDE"),
        "ImageType": ("DERIVED\\PRIMARY\\SEGMENTATION\\SCANSIDE",),
        "ImageComments": (comment,),
        "ImageComment": (comment,),
        "SeriesInstanceUID": (series_uid,),
        "SOPInstanceUID": (_new_uid(),),
        **own,
    }


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"
