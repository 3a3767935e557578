"""Do two files with one SOP Instance UID hold the same? Encodings are not told apart, headers and pictures are.

An archive sends implicit what a scanner sent explicit, or deflated: the data set is the same. A department corrects a
patient's name: the picture is the same, the header is not.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.values import convert_SQ

from scanside.runtime.dicom.header import quiet, read_dataset

_SIZES = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes that change places between little and big endian (PS3.5 7.3)."""
_PADDED = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
"""Of public elements, whose representation every encoding tells: their padding is no content."""
_PICTURE = (0x0028, 0x7FE0)
"""Groups that make the picture: Image Pixel attributes, and the pixels."""
_PADDING = BaseTag(0xFFFCFFFC)
_ITEM = b"\xfe\xff\x00\xe0"
"""How a sequence begins that is not empty, little endian."""


class Likeness(Enum):
    """Of two data sets."""

    SAME = "same"
    """In whatever encoding."""
    HEADER = "header"
    """The same picture with another header."""
    OTHER = "other"
    """Another picture, or one of them cannot be read."""


def likeness(one: Path, other: Path) -> Likeness:
    """Compare two files. Pixels that are compressed otherwise are another picture: nothing is decoded."""
    try:
        with quiet():
            first, second = _digests(one), _digests(other)
    except Exception:  # pydicom raises almost anything on damaged bytes
        return Likeness.OTHER
    if first[1] != second[1]:
        return Likeness.OTHER
    return Likeness.SAME if first == second else Likeness.HEADER


def _digests(file: Path) -> tuple[str, str]:
    """Of the header, and of the picture."""
    header, picture = hashlib.sha256(), hashlib.sha256()
    dataset = read_dataset(file)
    for tag, content in _elements(dataset):
        (picture if tag.group in _PICTURE else header).update(content)
    return header.hexdigest(), picture.hexdigest()


def _elements(dataset: Dataset) -> Iterator[tuple[BaseTag, bytes]]:
    """Tag, and tag, length and value as bytes, of all elements of a data set but lengths of groups and padding."""
    for tag in sorted(dataset.keys()):
        if tag.group == 2 or tag.element == 0 or tag == _PADDING:
            continue
        value = _value(dataset, tag)
        yield tag, int(tag).to_bytes(4, "little") + len(value).to_bytes(8, "little") + value


def _value(dataset: Dataset, tag: BaseTag) -> bytes:
    element: Any = dataset.get_item(tag)
    vr = _representation(element)
    if vr == "SQ":
        return _items(dataset[tag].value or ())
    if not isinstance(element, RawDataElement):
        return _converted(element.value, vr)
    value = bytes(element.value or b"")
    if (
        tag.is_private and vr == "UN" and value.startswith(_ITEM)
    ):  # an implicit data set does not say: a sequence
        with suppress(Exception):
            return _items(convert_SQ(value, element.is_implicit_VR, element.is_little_endian))
    if not element.is_little_endian and (size := _SIZES.get(vr, 1)) > 1:
        value = b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))
    if tag.is_private:
        return value.rstrip(b" ")
    return value.rstrip(b" \0") if vr in _PADDED else value


def _items(sequence: Iterable[Dataset]) -> bytes:
    items = [b"".join(content for _, content in _elements(item)) for item in sequence]
    return b"".join(len(item).to_bytes(8, "little") + item for item in items)


def _converted(value: Any, vr: str) -> bytes:
    """What pydicom has converted on reading: numbers whose representation depends on another element."""
    numbers = value if isinstance(value, list) else [value]
    if vr in _SIZES and all(isinstance(number, int) for number in numbers):
        return b"".join(number.to_bytes(_SIZES[vr], "little", signed=number < 0) for number in numbers)
    return str(value or "").encode()


def _representation(element: Any) -> str:
    """The value representation; where the encoding does not say it, the dictionary's."""
    if element.VR and element.VR != "UN":
        return str(element.VR)
    try:
        return dictionary_VR(element.tag)
    except KeyError:
        return "UN"
