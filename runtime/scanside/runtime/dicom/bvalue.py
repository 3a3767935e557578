"""The b-value of a frame, whichever way its vendor wrote it.

Order: enhanced MRDiffusionSequence or (0018,9087), the vendor's private tag, the sequence's name, the description.
What a b-value says depends on its neighbours: Philips writes 0 on every image and Canon writes one on ADC maps, so that
whether a series *is* diffusion-weighted is decided in `select.py`, from all of its images.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.private import Private, made_by, private_value

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


_SIEMENS = Private("Siemens", 0x0019, 0x0C, ("SIEMENS MR HEADER",))
_GE = Private("GE", 0x0043, 0x39, ("GEMS_PARM_01",))
_PHILIPS = Private("Philips", 0x2001, 0x03, ("PHILIPS IMAGING DD 001",), "f")
_UIH_CREATORS = ("IMAGE PRIVATE HEADER", "UIH PRIVATE HEADER")
_UIH_NOMINAL = Private("UIH", 0x0065, 0x0A, _UIH_CREATORS, "d")
_UIH_ACTUAL = Private("UIH", 0x0065, 0x09, _UIH_CREATORS, "d")

_CANON_COMMENT = re.compile(r"\s*b=(\d{1,5}(?:\.\d+)?)\s*\(", re.IGNORECASE)
"""Canon repeats b-value and direction in (0020,4000): `b=1500(0.445,0.000,0.895)`."""
_DIFFUSION_WORDS = re.compile(r"DWI|DIFF|TRACE|DTI|EP2D|EP_B", re.IGNORECASE)
_SEQUENCE_NAME = re.compile(r"\*?ep_b(\d{1,5})(?:t|#\d+)?", re.IGNORECASE)
_RANGE = re.compile(r"\*?ep_b\d+[_-]\d+", re.IGNORECASE)
_IN_WORDS = re.compile(r"(?<![A-Z0-9])B[ =_-]?(\d{1,5})(?![\dA-RT-Z])(\s*[-_,/]\s*B?\d)?", re.IGNORECASE)
"""`b800`, `B=800 s/mm2`; the second group says that more numbers follow (`b50_400_800`)."""


def b_value(frame: Frame) -> BValue | None:
    """The b-value of a frame, or None where nothing states one. Values that are no numbers count as absent."""
    readers: tuple[Callable[[Frame], BValue | None], ...] = (
        _standard, _siemens, _ge, _philips, _uih, _canon, _from_sequence_name, _from_description,
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
    # UIH's nominal value moves into the standard attribute when a research copy is made; the actual one stays private.
    united = _uih(frame)
    actual = united.actual if united is not None and united.nominal == value else value
    return BValue(value, actual, "MRDiffusionSequence" if frame.groups else "DiffusionBValue (0018,9087)")


def _siemens(frame: Frame) -> BValue | None:
    return _simple(frame, _SIEMENS)


def _philips(frame: Frame) -> BValue | None:
    return _simple(frame, _PHILIPS)


def _ge(frame: Frame) -> BValue | None:
    """The first of four numbers, on every GE image, so that it only counts where the image is diffusion-weighted."""
    raw = private_value(frame.header, _GE)
    first = raw[0] if isinstance(raw, list) and raw else raw
    try:
        value = _number(float(first) % _GE_FLAG)
    except (TypeError, ValueError):
        return None
    echo_planar = "EP" in _strings(attribute(frame.header, "ScanningSequence"))
    if value is None or not (echo_planar or diffusion_words(frame)):
        return None
    return BValue(value, value, _GE.name)


def _uih(frame: Frame) -> BValue | None:
    """UIH states what was applied (929.75) beside what was prescribed (1000)."""
    nominal = _number(private_value(frame.header, _UIH_NOMINAL))
    actual = _number(private_value(frame.header, _UIH_ACTUAL))
    if nominal is None and actual is None:
        return None
    if nominal is None:
        assert actual is not None
        return BValue(actual, actual, _UIH_ACTUAL.name)
    return BValue(nominal, nominal if actual is None else actual, _UIH_NOMINAL.name)


def _canon(frame: Frame) -> BValue | None:
    header = frame.header
    match = _CANON_COMMENT.match(str(attribute(header, "ImageComments") or ""))
    value = _number(match[1]) if match and made_by(header, "Canon") else None
    return None if value is None else BValue(value, value, "Canon ImageComments (0020,4000)")


def without_gradient(frame: Frame) -> BValue | None:
    """b = 0 for an image of Canon that states no b-value, to be asked only of one whose series mates state theirs.

    Canon writes (0018,9087) where a gradient was on, and nothing where it was off.
    """
    header = frame.header
    computed = str(attribute(header, "ImageType") or "").upper().find("ADC") >= 0
    if computed or b_value(frame) is not None or not made_by(header, "Canon"):
        return None
    return BValue(0.0, 0.0, "Canon: no gradient")


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


def _simple(frame: Frame, tag: Private) -> BValue | None:
    value = _number(private_value(frame.header, tag))
    return None if value is None else BValue(value, value, tag.name)


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
    header = frame.header
    names = (attribute(header, "SequenceName"), attribute(header, "PulseSequenceName"))
    return tuple(str(name) for name in names if name)


def _descriptions(frame: Frame) -> tuple[str, ...]:
    header = frame.header
    words = (attribute(header, "SeriesDescription"), attribute(header, "ProtocolName"))
    return tuple(str(word) for word in words if word)
