"""The b-value of a frame, whichever way its vendor wrote it.

Order: enhanced MRDiffusionSequence or (0018,9087), the vendor's private tag, the sequence's name, the description.
What a b-value says depends on its neighbours: Philips writes 0 on every image and Canon writes one on ADC maps, so that
whether a series *is* diffusion-weighted is decided in `select.py`, from all of its images.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import attribute

LARGEST = 20_000.0
"""s/mm²; a larger number is not a b-value but something else."""

_GE_FLAG = 1_000_000_000
"""GE adds this to the b-value of some images (dcm2niix issue 602)."""


@dataclass(frozen=True)
class BValue:
    """A b-value and where it was found.

    Attributes:
        nominal: As prescribed, s/mm²: what images are grouped by.
        actual: As applied, s/mm²: what ADC is fitted with; differs from the nominal one for UIH alone.
        source: The attribute it was read from.
    """

    nominal: float
    actual: float
    source: str

    @property
    def group(self) -> int:
        """Images of one group were taken with one prescription: to 10 s/mm², below 10 to 1 s/mm²."""
        return round(self.nominal) if self.nominal < 10 else 10 * round(self.nominal / 10)


@dataclass(frozen=True)
class _Private:
    """A private attribute: who writes it, and how its bytes read where its VR is lost (UN)."""

    vendor: str
    group: int
    element: int
    creators: tuple[str, ...]
    binary: str | None = None  # struct format; None for text

    @property
    def name(self) -> str:
        return f"{self.vendor} ({self.group:04X},10{self.element:02X})"


_SIEMENS = _Private("Siemens", 0x0019, 0x0C, ("SIEMENS MR HEADER",))
_GE = _Private("GE", 0x0043, 0x39, ("GEMS_PARM_01",))
_PHILIPS = _Private("Philips", 0x2001, 0x03, ("PHILIPS IMAGING DD 001",), "f")
_UIH_CREATORS = ("IMAGE PRIVATE HEADER", "UIH PRIVATE HEADER")
_UIH_NOMINAL = _Private("UIH", 0x0065, 0x0A, _UIH_CREATORS, "d")
_UIH_ACTUAL = _Private("UIH", 0x0065, 0x09, _UIH_CREATORS, "d")

_MANUFACTURERS = {
    "Siemens": ("SIEMENS",),
    "GE": ("GE MEDICAL", "GE HEALTHCARE", "GEMS"),
    "Philips": ("PHILIPS",),
    "UIH": ("UIH", "UNITED IMAGING"),
}
_DIFFUSION_WORDS = re.compile(r"DWI|DIFF|TRACE|DTI|EP2D|EP_B", re.IGNORECASE)
_SEQUENCE_NAME = re.compile(r"\*?ep_b(\d{1,5})(?:t|#\d+)?", re.IGNORECASE)
_RANGE = re.compile(r"\*?ep_b\d+[_-]\d+", re.IGNORECASE)
_IN_WORDS = re.compile(r"(?<![A-Z0-9])B[ =_-]?(\d{1,5})(?![\dA-RT-Z])(\s*[-_,/]\s*B?\d)?", re.IGNORECASE)
"""`b800`, `B=800 s/mm2`; the second group says that more numbers follow (`b50_400_800`)."""


def b_value(frame: Frame) -> BValue | None:
    """The b-value of a frame, or None where nothing states one. Values that are no numbers count as absent."""
    readers: tuple[Callable[[Frame], BValue | None], ...] = (
        _standard, _siemens, _ge, _philips, _uih, _from_sequence_name, _from_description,
    )  # fmt: skip
    return next((found for reader in readers if (found := reader(frame)) is not None), None)


def is_b_range(frame: Frame) -> bool:
    """Whether Siemens' sequence name gives a range (`ep_b50_800`): the image was computed from several b-values."""
    return any(_RANGE.match(name) for name in _sequence_names(frame))


def diffusion_words(frame: Frame) -> bool:
    """Whether sequence name, description or protocol speak of diffusion."""
    return any(_DIFFUSION_WORDS.search(words) for words in (*_sequence_names(frame), *_descriptions(frame)))


def _standard(frame: Frame) -> BValue | None:
    value = _number(frame.get("DiffusionBValue"))
    if value is None:
        return None
    return BValue(value, value, "MRDiffusionSequence" if frame.groups else "DiffusionBValue (0018,9087)")


def _siemens(frame: Frame) -> BValue | None:
    return _simple(frame, _SIEMENS)


def _philips(frame: Frame) -> BValue | None:
    return _simple(frame, _PHILIPS)


def _ge(frame: Frame) -> BValue | None:
    """The first of four numbers, on every GE image, so that it only counts where the image is diffusion-weighted."""
    raw = _private(frame.instance.header, _GE)
    first = raw[0] if isinstance(raw, list) and raw else raw
    try:
        value = _number(float(first) % _GE_FLAG)
    except (TypeError, ValueError):
        return None
    echo_planar = "EP" in _strings(attribute(frame.instance.header, "ScanningSequence"))
    if value is None or not (echo_planar or diffusion_words(frame)):
        return None
    return BValue(value, value, _GE.name)


def _uih(frame: Frame) -> BValue | None:
    """UIH states what was applied (929.75) beside what was prescribed (1000)."""
    nominal = _number(_private(frame.instance.header, _UIH_NOMINAL))
    actual = _number(_private(frame.instance.header, _UIH_ACTUAL))
    if nominal is None and actual is None:
        return None
    if nominal is None:
        assert actual is not None
        return BValue(actual, actual, _UIH_ACTUAL.name)
    return BValue(nominal, nominal if actual is None else actual, _UIH_NOMINAL.name)


def _from_sequence_name(frame: Frame) -> BValue | None:
    for name in _sequence_names(frame):
        if (match := _SEQUENCE_NAME.fullmatch(name)) and (value := _number(match[1])) is not None:
            return BValue(value, value, f"SequenceName '{name}'")
    return None


def _from_description(frame: Frame) -> BValue | None:
    """One b-value in the words, and one only; in a series that speaks of diffusion."""
    for words in _descriptions(frame):
        found = list(_IN_WORDS.finditer(words))
        if len(found) != 1 or found[0][2] or not diffusion_words(frame):
            continue
        if (value := _number(found[0][1])) is not None:
            return BValue(value, value, f"description '{words}'")
    return None


def _simple(frame: Frame, tag: _Private) -> BValue | None:
    value = _number(_private(frame.instance.header, tag))
    return None if value is None else BValue(value, value, tag.name)


def _private(header: Dataset, tag: _Private) -> Any:
    """The value of a private attribute in the block that its creator reserved; None when it is not there.

    Anonymisers drop the creators but keep the data: without any creator in the group the usual block 10 is taken,
    if the manufacturer is the tag's vendor.
    """
    blocks = {block: _text(header, tag.group, block) for block in range(0x10, 0x100)}
    claimed = {block: name for block, name in blocks.items() if name}
    mine = [block for block, name in claimed.items() if name.upper() in tag.creators]
    if not claimed and _made_by(header, tag.vendor):
        mine = [0x10]
    for block in mine:
        element = tag.group << 16 | block << 8 | tag.element
        if element in header:
            return _decoded(header[element].value, tag)
    return None


def _decoded(value: Any, tag: _Private) -> Any:
    """Bytes (VR UN or OB) as text or number; values that pydicom has converted as they are."""
    if not isinstance(value, bytes):
        return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
    if tag.binary and len(value) == struct.calcsize(tag.binary):
        return struct.unpack("<" + tag.binary, value)[0]
    return value.decode("ascii", "replace").strip("\0 ").split("\\")


def _text(header: Dataset, group: int, element: int) -> str:
    tag = group << 16 | element
    if tag not in header:
        return ""
    value = header[tag].value
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")


def _made_by(header: Dataset, vendor: str) -> bool:
    manufacturer = str(attribute(header, "Manufacturer") or "").upper()
    return any(name in manufacturer for name in _MANUFACTURERS[vendor])


def _number(value: Any) -> float | None:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and 0 <= number <= LARGEST else None


def _strings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _sequence_names(frame: Frame) -> tuple[str, ...]:
    header = frame.instance.header
    names = (attribute(header, "SequenceName"), attribute(header, "PulseSequenceName"))
    return tuple(str(name) for name in names if name)


def _descriptions(frame: Frame) -> tuple[str, ...]:
    header = frame.instance.header
    words = (attribute(header, "SeriesDescription"), attribute(header, "ProtocolName"))
    return tuple(str(word) for word in words if word)
