"""Label images for the scanner: one for each slice, with the slice's own header but for the fields named here."""

import uuid
from collections.abc import Mapping, Sequence

import numpy as np

from scanside.runtime.mrd.meta import Meta, read_meta, write_meta
from scanside.runtime.mrd.series import Stack
from scanside.runtime.mrd.wire import Image, make_image
from scanside.runtime.pipeline import Mask

NOTICE = "RESEARCH USE ONLY"
CHANGED = (
    "data_type", "channels", "image_type", "image_index", "image_series_index", "attribute_string_len",
)  # fmt: skip
"""Fields of the header in which a label image may differ from its slice."""
_RESERVED = 99
"""A series index that scanners keep for themselves (seen on a scanner: openrecon's musclemap.py)."""


def free_series(images: Sequence[Image]) -> int:
    """A series index that no image has, and that no scanner reserves."""
    used = {int(image.get("image_series_index")) for image in images} | {_RESERVED, 0}
    index = max(used - {_RESERVED}, default=0) + 1
    return index + 1 if index == _RESERVED else index


def label_images(
    of: Stack, mask: Mask, *, series: int, labels: Mapping[str, float], bundle: str
) -> list[Image]:
    """One label image for each slice, in z order.

    Args:
        mask: (Z, Y, X), the stack's grid.
        series: image_series_index of the labels.
        labels: Name of a label → its volume in ml.
        bundle: sha256 of the bundle, hex.
    """
    uid = _new_uid()
    volumes = ", ".join(f"{name} {volume:.2f} ml" for name, volume in labels.items())
    comment = f"{NOTICE}, bundle {bundle[:8]}, {volumes}"
    most = max(int(mask.max()), 1)
    made = []
    for number, (image, plane) in enumerate(zip(of.images, mask, strict=True), 1):
        attributes = write_meta(_meta(read_meta(image.attributes), comment, uid, most))
        data = np.ascontiguousarray(plane[None, None], np.uint16)
        made.append(
            make_image(
                image.header, attributes, data, image_type=1, image_index=number, image_series_index=series
            )
        )
    return made


def _meta(source: Meta, comment: str, series_uid: str, most: int) -> Meta:
    """The slice's attributes with those of a label image; what belongs to the source image alone is left out.

    Source: the MRD attributes that Siemens' OpenRecon reads. `Quantitative` keeps the scanner from scaling values;
    `Keep_image_geometry` keeps it from turning them.
    """
    own = {name: values for name, values in source.items() if name not in ("ImageTypeValue3", "IceMiniHead")}
    return {
        **own,
        "DataRole": ("Quantitative", "Segmentation"),
        "Keep_image_geometry": ("1",),
        "ImageProcessingHistory": (*source.get("ImageProcessingHistory", ()), "SCANSIDE"),
        "SequenceDescriptionAdditional": ("scanside",),
        "ImageType": ("DERIVED\\PRIMARY\\SEGMENTATION\\SCANSIDE",),
        "ImageComments": (comment,),
        "ImageComment": (comment,),
        "WindowCenter": (f"{most / 2:g}",),
        "WindowWidth": (f"{most + 1:g}",),
        "SeriesInstanceUID": (series_uid,),
        "SOPInstanceUID": (_new_uid(),),
    }


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"
