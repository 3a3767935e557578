"""Private attributes: found by their creator, decoded by hand where their VR is lost."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import attribute

_MANUFACTURERS = {
    "Siemens": ("SIEMENS",),
    "GE": ("GE MEDICAL", "GE HEALTHCARE", "GEMS"),
    "Philips": ("PHILIPS",),
    "UIH": ("UIH", "UNITED IMAGING"),
    "Canon": ("CANON", "TOSHIBA"),
}


@dataclass(frozen=True)
class Private:
    """A private attribute: who writes it, and how its bytes read where its VR is lost (UN).

    Attributes:
        vendor: As a person says it; a key of the manufacturers known here.
        group, element: Its tag, without the block.
        creators: Who may have reserved the block, upper case.
        binary: struct format, little endian; None for text.
    """

    vendor: str
    group: int
    element: int
    creators: tuple[str, ...]
    binary: str | None = None

    @property
    def name(self) -> str:
        """As `Siemens (0019,100C)`, with the usual block 10."""
        return f"{self.vendor} ({self.group:04X},10{self.element:02X})"


def private_value(header: Dataset, tag: Private) -> Any:
    """The value of a private attribute in the block that its creator reserved; None when it is not there.

    Anonymisers drop the creators but keep the data: without any creator in the group the usual block 10 is taken,
    if the manufacturer is the tag's vendor.
    """
    tags = header.keys()
    reserved = sorted(known & 0xFF for known in tags if known >> 8 == tag.group << 8)
    claimed = {
        block: name
        for block in reserved
        if block >= 0x10 and (name := _text(header, tag.group << 16 | block))
    }
    mine = [block for block, name in claimed.items() if name.upper() in tag.creators]
    if not claimed and made_by(header, tag.vendor):
        mine = [0x10]
    for block in mine:
        value = raw_value(header, tag.group << 16 | block << 8 | tag.element)
        if value is not None:
            return _decoded(value, tag)
    return None


def made_by(header: Dataset, vendor: str) -> bool:
    """Whether the manufacturer is that vendor."""
    manufacturer = str(attribute(header, "Manufacturer") or "").upper()
    return any(name in manufacturer for name in _MANUFACTURERS[vendor])


def _decoded(value: Any, tag: Private) -> Any:
    """Bytes (VR UN or OB) as text or number; values that pydicom has converted as they are."""
    if not isinstance(value, bytes):
        return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
    if tag.binary and len(value) == struct.calcsize(tag.binary):
        return struct.unpack("<" + tag.binary, value)[0]
    return value.decode("ascii", "replace").strip("\0 ").split("\\")


def _text(header: Dataset, tag: int) -> str:
    value = raw_value(header, tag)
    if value is None:
        return ""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")


def raw_value(header: Dataset, tag: int) -> Any:
    """The value of any element; None where the element is absent or damaged."""
    try:
        return header[tag].value if tag in header else None
    except Exception:  # pydicom converts on access and raises what the conversion raises
        return None
