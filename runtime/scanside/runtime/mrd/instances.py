"""The magnitude images of a session → DICOM instances of its study: what the appliance keeps and computes."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scanside.runtime.dicom.mr_image import Slice
from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import InputError
from scanside.runtime.mrd.examination import Examination, is_uid
from scanside.runtime.mrd.meta import Meta, numbers, read_meta
from scanside.runtime.mrd.series import magnitudes, place
from scanside.runtime.mrd.wire import Image

_COUNTERS = ("contrast", "phase", "repetition", "set", "average")


def instances(images: Sequence[Image], examination: Examination) -> list[tuple[Image, Slice]]:
    """Every magnitude image with the slice that it becomes, in the order in which they came.

    UIDs are those of the attributes `SeriesInstanceUID` and `SOPInstanceUID` where a scanner states them; otherwise
    they follow from the measurement and the content, so that an image that comes again is the same instance.

    Raises:
        InputError: If an image has no 16-bit whole numbers, several slices or channels, or no usable place.
    """
    found = [image for group in magnitudes(images) for image in group]
    name = examination.measurement or hashlib.sha256(b"".join(_content(image) for image in found)).hexdigest()
    return [(image, _slice(image, read_meta(image.attributes), name, examination)) for image in found]


def _content(image: Image) -> bytes:
    return hashlib.sha256(image.header[36:84] + np.ascontiguousarray(image.data).tobytes()).digest()


def _slice(image: Image, meta: Meta, measurement: str, examination: Examination) -> Slice:
    index = int(image.get("image_series_index"))
    stated = meta.get("SeriesInstanceUID", ("",))[0]
    series = stated if is_uid(stated) else derived_uid(examination.study_uid, measurement, str(index))
    own = meta.get("SOPInstanceUID", ("",))[0]
    counters = ",".join(str(image.get(name)) for name in _COUNTERS)
    origin, cosines, pixel = place(image)
    if not np.isfinite([*origin, *cosines, *pixel]).all():
        raise InputError(f"In series {index} an image has no usable position or direction; send it again.")
    return Slice(
        study_uid=examination.study_uid,
        series_uid=series,
        sop_uid=own if is_uid(own) else derived_uid(series, counters, _content(image).hex()),
        frame_uid=examination.frame_uid,
        said={**examination.said, **_said(image, meta, examination)},
        position=origin,
        orientation=cosines,
        pixel=pixel,
        thickness=float(image.get("field_of_view")[2]),
        stored=_stored(image, index),
        image_type=_image_type(meta),
        table=tuple(float(value) for value in image.get("patient_table_position")),
        b=_b_value(image, meta, examination),
        numbers={
            "SeriesNumber": _number(meta, "SeriesNumber", index),
            "InstanceNumber": int(image.get("image_index")),
            "AcquisitionNumber": int(image.get("repetition")) + 1,
            "EchoNumbers": int(image.get("contrast")) + 1,
        },
    )


def _stored(image: Image, index: int) -> npt.NDArray[np.uint16] | npt.NDArray[np.int16]:
    if image.data.shape[:2] != (1, 1):
        channels, depth = image.data.shape[:2]
        raise InputError(
            f"In series {index} an image has {channels} channel(s) and {depth} slice(s); send one slice and one "
            "channel an image."
        )
    plane = image.data[0, 0]
    for kind in (np.uint16, np.int16):
        limits = np.iinfo(kind)
        inside = bool(((plane >= limits.min) & (plane <= limits.max)).all())
        if inside and (plane.dtype.kind in "iu" or bool((plane == np.rint(plane)).all())):
            return plane.astype(kind)
    raise InputError(
        f"The images of series {index} are no whole numbers of 16 bits, as DICOM holds them; "
        "send magnitude images as the scanner stores them."
    )


def _said(image: Image, meta: Meta, examination: Examination) -> dict[str, str]:
    """What the attributes say of this image goes before what the header says of the measurement."""
    found: dict[str, str] = {}
    for name in ("SeriesDescription", "ImageComments", "ScanningSequence", "SequenceVariant", "ScanOptions"):
        if name in meta:
            found[name] = "_".join(meta[name])
    for name in ("EchoTime", "InversionTime", "RescaleSlope", "RescaleIntercept", "EchoTrainLength"):
        if (value := numbers(meta, name, 1)) is not None:
            found[name] = str(value[0])
    contrast, times = int(image.get("contrast")), examination.echo_times
    if "EchoTime" not in found and times:
        found["EchoTime"] = str(times[contrast] if contrast < len(times) else times[0])
    return found


def _image_type(meta: Meta) -> tuple[str, ...]:
    """Whole where the attribute holds all of it; otherwise its words come after the first three, as MRD has it."""
    words = [word for value in meta.get("ImageType", ()) for word in value.split("\\") if word]
    if words[:1] in (["ORIGINAL"], ["DERIVED"]):
        return tuple(words)
    third = meta.get("ImageTypeValue3", ("M",))[0] or "M"
    return ("ORIGINAL", "PRIMARY", third, *meta.get("ImageTypeValue4", ()), *words)


def _b_value(image: Image, meta: Meta, examination: Examination) -> float | None:
    """By the attribute, else by the counter that the header names."""
    if (stated := numbers(meta, "DiffusionBValue", 1)) is not None:
        return stated[0]
    name = examination.diffusion
    if name in _COUNTERS:
        number = int(image.get(name))
    elif name.startswith("user_") and name[5:].isdigit() and int(name[5:]) < 8:
        number = int(image.get("user_int")[int(name[5:])])
    else:
        return None
    return examination.b_values[number] if 0 <= number < len(examination.b_values) else None


def _number(meta: Meta, name: str, otherwise: int) -> int:
    value = numbers(meta, name, 1)
    return int(value[0]) if value is not None and 0 <= value[0] < 1 << 31 else otherwise
