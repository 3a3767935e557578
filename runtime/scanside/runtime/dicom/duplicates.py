"""Several frames at one position: say what tells them apart, so that the user can split the series."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.multival import MultiValue

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import one_line
from scanside.runtime.dicom.private import raw_value
from scanside.runtime.errors import GeometryError

SAME_PLACE_MM = 0.01
"""Frames closer than this along the normal are at one position."""

_DISTINCTIONS = (
    "DiffusionBValue",
    "b-value (Siemens 0019,100C)",
    "b-value (GE 0043,1039)",
    "b-value (Philips 2001,1003)",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoTime",
    "EffectiveEchoTime",
    "ComplexImageComponent",
    "FrameType",
    "ImageType",
    "StackID",
    "AcquisitionNumber",
    "SequenceName",
)
"""Attributes that tell volumes of one series apart, most telling first."""


def refuse_duplicates(ordered: list[Frame], steps: npt.NDArray[np.float64], path: Path | str) -> None:
    """Refuse frames at the same position.

    Args:
        ordered: Frames in z order.
        steps: Distances between neighbours, mm.
        path: What to call it in messages: what the user passed, or the series.

    Raises:
        GeometryError: Naming the attribute that differs between frames at one position, if one is found.
    """
    if steps.min() >= SAME_PLACE_MM:
        return
    first = int(np.argmax(steps < SAME_PLACE_MM))
    last = first + 1
    while last < len(steps) and steps[last] < SAME_PLACE_MM:
        last += 1
    doubles = ordered[first : last + 1]
    uids = {(str(f.instance.header.get("SOPInstanceUID", f.name)), f.index) for f in doubles}
    if len(uids) == 1:
        raise GeometryError(
            f"In {path} the same image is stored twice ({doubles[0].name}, {doubles[1].name}); "
            "remove the copies."
        )
    raise GeometryError(
        f"{capital(path)} holds {len(doubles)} images at the same position ({doubles[0].name}, {doubles[1].name}), "
        f"{_distinction(doubles)}; put one volume into a folder of its own."
    )


def capital(path: Path | str) -> str:
    """The name of a series at the start of a sentence; a path as it is."""
    return path[:1].upper() + path[1:] if isinstance(path, str) else str(path)


def _distinction(doubles: list[Frame]) -> str:
    for label in _DISTINCTIONS:
        values = {_value(frame, label) for frame in doubles}
        if len(values) > 1:
            return f"which differ in {label} ({_list(values)})"
    return "and no attribute known here tells them apart"


def _value(frame: Frame, label: str) -> str:
    """As text; of GE's four numbers the first, which is the b-value."""
    if not label.startswith("b-value"):
        value = frame.get(label)
        return (
            "none"
            if value is None
            else "\\".join(map(str, value))
            if isinstance(value, MultiValue)
            else str(value)
        )
    header, tag = frame.header, int(label[-10:-1].replace(",", ""), 16)
    value = raw_value(header, tag)
    value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return str(value[0] if isinstance(value, MultiValue) else value).split("\\")[0].strip("\0 ")


def _list(values: set[str], shown: int = 6) -> str:
    ordered = sorted(
        map(one_line, values), key=lambda v: (float(v), v) if v.replace(".", "", 1).isdigit() else (0.0, v)
    )
    return ", ".join(ordered[:shown]) + (", …" if len(ordered) > shown else "")
