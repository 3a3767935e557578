"""Coded meaning of what the objects say: SNOMED CT, DCM and IBSI where they have a word, else Scanside's own scheme.

Codes of segments are SNOMED CT, as listed in PS3.16 CID 7150 (categories) and CID 7151 and following (types). The
private scheme `99SCANSIDE` holds only what no public scheme says: docs/dicom-objects.md lists it.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

Code = tuple[str, str, str]
"""Value, coding scheme designator, meaning."""

SCHEME = "99SCANSIDE"
"""Designator of Scanside's private coding scheme (PS3.16 8.2: private ones begin with 99)."""


@dataclass(frozen=True)
class SegmentCodes:
    """What a segment shows.

    Attributes:
        category: Segmented Property Category.
        type: Segmented Property Type.
    """

    category: Code
    type: Code


_TISSUE: Code = ("85756007", "SCT", "Tissue")
_ANATOMY: Code = ("123037004", "SCT", "Anatomical Structure")
ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
"""Category of lesions, tumours and cysts: what has an anatomic region that it lies in."""
_NEOPLASM = SegmentCodes(ABNORMAL, ("108369006", "SCT", "Neoplasm"))

_BY_WORD = {
    "lesion": SegmentCodes(ABNORMAL, ("52988006", "SCT", "Lesion")),
    "tumor": _NEOPLASM,
    "tumour": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "cancer": _NEOPLASM,
    "cyst": SegmentCodes(ABNORMAL, ("367643001", "SCT", "Cyst")),
    "duct": SegmentCodes(_ANATOMY, ("69930009", "SCT", "Pancreatic duct")),
    "pancreas": SegmentCodes(_ANATOMY, ("15776009", "SCT", "Pancreas")),
    "liver": SegmentCodes(_ANATOMY, ("10200004", "SCT", "Liver")),
    "spleen": SegmentCodes(_ANATOMY, ("78961009", "SCT", "Spleen")),
    "duodenum": SegmentCodes(_ANATOMY, ("38848004", "SCT", "Duodenum")),
}
_UNKNOWN = SegmentCodes(_TISSUE, _TISSUE)

_ORGANS = {
    r"pancrea|pdac": "pancreas",
    r"liver|hepat": "liver",
    r"spleen|splen": "spleen",
    r"duoden": "duodenum",
}
"""Beginnings of words → the organ they speak of."""


def segment_codes(label: str) -> SegmentCodes:
    """Codes for a label such as `pancreas` or `Liver_tumor`; abnormality goes before anatomy.

    Anything else is generic tissue: the label itself always stands in the object too.
    """
    words = label.lower()
    return next((codes for word, codes in _BY_WORD.items() if word in words), _UNKNOWN)


def anatomic_region(texts: Iterable[str]) -> Code | None:
    """The organ that the first telling text speaks of; None when no text names exactly one organ.

    Args:
        texts: Most telling first: a label, the names of a bundle and its classes, its intended use.
    """
    for text in texts:
        named = {organ for stem, organ in _ORGANS.items() if re.search(rf"(?<![a-z])({stem})", text.lower())}
        if len(named) == 1:
            return _BY_WORD[named.pop()].type
    return None


def own_code(value: str, meaning: str) -> Code:
    """A code of `99SCANSIDE`; a value too long for SH (16 characters) ends in a hash of the whole."""
    if len(value) > 16:
        value = f"{value[:9]}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
    return (value, SCHEME, meaning[:64])
