"""Coded meaning of a segment, found by words in its label; a generic code when no word is known.

Codes are SNOMED CT, as listed in PS3.16 CID 7150 (categories) and CID 7151 and following (types).
"""

from dataclasses import dataclass

Code = tuple[str, str, str]
"""Value, coding scheme designator, meaning."""


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
_ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
_NEOPLASM = SegmentCodes(_ABNORMAL, ("108369006", "SCT", "Neoplasm"))

_BY_WORD = {
    "lesion": SegmentCodes(_ABNORMAL, ("52988006", "SCT", "Lesion")),
    "tumor": _NEOPLASM,
    "tumour": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "cancer": _NEOPLASM,
    "cyst": SegmentCodes(_ABNORMAL, ("367643001", "SCT", "Cyst")),
    "duct": SegmentCodes(_ANATOMY, ("69930009", "SCT", "Pancreatic duct")),
    "pancreas": SegmentCodes(_ANATOMY, ("15776009", "SCT", "Pancreas")),
    "liver": SegmentCodes(_ANATOMY, ("10200004", "SCT", "Liver")),
    "spleen": SegmentCodes(_ANATOMY, ("78961009", "SCT", "Spleen")),
    "duodenum": SegmentCodes(_ANATOMY, ("38848004", "SCT", "Duodenum")),
}
_UNKNOWN = SegmentCodes(_TISSUE, _TISSUE)


def segment_codes(label: str) -> SegmentCodes:
    """Codes for a label such as `pancreas` or `Liver_tumor`; abnormality goes before anatomy.

    Anything else is generic tissue: the label itself always stands in the object too.
    """
    words = label.lower()
    return next((codes for word, codes in _BY_WORD.items() if word in words), _UNKNOWN)
