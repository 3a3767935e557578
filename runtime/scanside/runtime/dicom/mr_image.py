"""A slice that did not come as DICOM → a classic MR Image of its study (PS3.3 A.4).

The same slice makes the same bytes, so that it may come twice.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import quiet, read_dataset

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
_CREATOR = "SCANSIDE MRD"
_GROUP = 0x0071
_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "Laterality"),
    *("StudyID", "AccessionNumber", "StudyDate", "StudyTime", "ReferringPhysicianName", "Manufacturer"),
)
"""What has to stand in every object, and may be empty."""
_LONGEST = {
    "SH": 16,
    "LO": 64,
    "CS": 16,
    "PN": 64,
    "DA": 8,
    "TM": 14,
    "DS": 16,
    "IS": 12,
    "UI": 64,
    "ST": 1024,
}


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice.

    Attributes:
        study_uid, series_uid, sop_uid, frame_uid: As in DICOM.
        said: Keyword → value; a value that its VR cannot hold is left out.
        position: Centre of the first voxel, mm, LPS.
        orientation: Cosines along a row and down a column.
        pixel: Spacing, y and x, mm.
        thickness: mm.
        stored: (Y, X), uint16 or int16.
        image_type: Its words.
        table: Position of the patient table, mm: what `position` is relative to.
        b: s/mm²; None where nothing is said.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    frame_uid: str
    said: Mapping[str, str]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel: tuple[float, float]
    thickness: float
    stored: npt.NDArray[Any]
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M")
    table: tuple[float, ...] = (0.0, 0.0, 0.0)
    b: float | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Keyword → number."""


def mr_image(of: Slice) -> bytes:
    """The data set in Explicit VR Little Endian, without its File Meta Information."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _UNKNOWN:
        setattr(made, keyword, "")
    made.Modality = "MR"
    for keyword, value in of.said.items():
        _set(made, keyword, value)
    made.SOPClassUID, made.SOPInstanceUID = MR_IMAGE, of.sop_uid
    made.StudyInstanceUID, made.SeriesInstanceUID = of.study_uid, of.series_uid
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = of.frame_uid, ""
    made.ImageType = [_text(word, 16) for word in of.image_type]
    for keyword, number in of.numbers.items():
        setattr(made, keyword, number)
    made.ImagePositionPatient = [_decimal(value) for value in of.position]
    made.ImageOrientationPatient = [_decimal(value) for value in of.orientation]
    made.PixelSpacing = [_decimal(value) for value in of.pixel]
    made.SliceThickness = _decimal(of.thickness)
    if of.b is not None:
        made.DiffusionBValue = float(of.b)
    block = made.private_block(_GROUP, _CREATOR, create=True)
    block.add_new(1, "DS", [_decimal(value) for value in of.table])
    _pixels(made, of.stored)
    with io.BytesIO() as buffer, quiet():
        made.save_as(buffer, implicit_vr=False, little_endian=True)
        return buffer.getvalue()


def table_of(path: Path) -> tuple[str, tuple[float, ...]] | None:
    """Frame of reference and place of the table, of an image that `mr_image` made; None for one that came as DICOM."""
    header = read_dataset(path, stop_before_pixels=True)
    try:
        value = header.private_block(_GROUP, _CREATOR)[1].value
    except KeyError:
        return None
    return str(header.FrameOfReferenceUID), tuple(float(one) for one in value)


def _pixels(made: Dataset, stored: npt.NDArray[Any]) -> None:
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = int(stored.dtype.kind == "i")
    made.PixelData = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).tobytes()
    made["PixelData"].VR = "OW"


def _set(made: Dataset, keyword: str, value: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    vr = dictionary_VR(tag)
    if vr in ("DS", "IS"):
        try:
            number = float(value)
        except ValueError:
            return
        if not np.isfinite(number):
            return
        value = _decimal(number) if vr == "DS" else str(int(number))
    if vr in ("DA", "TM") and value.strip("0123456789."):
        return
    text = _text(value, _LONGEST.get(vr, 64))
    if vr == "CS" and not re.fullmatch(r"[A-Z0-9 _]*", text := text.upper()):
        return
    setattr(made, keyword, text)


def _text(value: str, longest: int) -> str:
    """What came over the network as a text of DICOM: no backslash, which would part it; nothing unprintable."""
    return "".join(" " if one == "\\" or not one.isprintable() else one for one in value).strip()[:longest]


def _decimal(value: float) -> str:
    """A Decimal String (PS3.5 6.2): at most 16 characters."""
    for digits in range(15, 5, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{float(value):.6g}"
