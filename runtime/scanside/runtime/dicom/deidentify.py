"""Research copies: PS3.15 annex E, Basic Application Confidentiality Profile, by the standard's own table.

Options taken: *Clean Descriptors* (`descriptors.py`), *Retain Longitudinal Temporal Information with Modified Dates*
(all dates of a patient are moved by one number of days; times of day stay), and, for UIH alone, *Retain Safe Private*.
Before private attributes go, b-values and the trace flag move to their standard attributes. UIDs, patient ID and the
number of days come from a secret key: with it the same study always becomes the same copy, without it nobody gets back.

Pixels are not cleaned. What may have text burned in (secondary captures, `BurnedInAnnotation` YES) and what is no MR
image is refused.

`deidentify.csv` is table E.1-1 (2026c): what to do with which attribute. Attributes that are not in it stay, if the
standard knows them; free text (ST, LT, UT, UC) and person names become a dummy; attributes that it does not know go.
"""

import base64
import csv
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from scanside.runtime.dicom.bvalue import b_value
from scanside.runtime.dicom.descriptors import clean_description
from scanside.runtime.dicom.frames import Frame, frames_of
from scanside.runtime.dicom.header import Instance, attribute, quiet
from scanside.runtime.dicom.private import made_by
from scanside.runtime.dicom.study import directionality
from scanside.runtime.errors import InputError

Action = Literal["D", "Z", "X", "U", "S", "C", "K"]
"""Dummy, zero length, remove, new UID; and shift a date, clean a description, keep."""

MR_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
}
METHOD = "Scanside: PS3.15 Basic Profile, cleaned descriptors, moved dates"
_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
_SAFE_PRIVATE = ("113111", "Retain Safe Private Option")

_SEVERAL: Mapping[str, Action] = {"X/Z": "Z", "X/D": "X", "X/Z/D": "X", "Z/D": "D", "X/Z/U*": "U"}
"""Where the table leaves a choice: what keeps an MR image valid. In one, an attribute is required (`_REQUIRED`)."""
_MAY_BE_EMPTY = {"AcquisitionContextSequence"}
"""X/Z sequences that Enhanced MR wants, if only empty; others have items or are absent."""
_SINGLE: Mapping[str, Action] = {"D": "D", "Z": "Z", "X": "X", "U": "U"}
_REQUIRED = {"DeviceSerialNumber"}
"""X/Z/D that Enhanced General Equipment wants with a value."""
_DESCRIPTIONS = {"SeriesDescription", "StudyDescription", "ProtocolName"}
_OF_THE_PATIENT = {"PatientBirthDate", "PatientBirthTime", "LastMenstrualDate"}
"""Moments that are no part of the study: not retained."""
_NAMES_OF_CLASSES = {
    "SOPClassUID", "ReferencedSOPClassUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID",
    "RelatedGeneralSOPClassUID", "OriginalSpecializedSOPClassUID", "PrivateDataElementUID",
}  # fmt: skip
_STANDARD_ROOT = "1.2.840.10008."
_ABOUT_PATIENTS = {0x0010, 0x0032, 0x0038, 0x4008}
"""Groups of patient, request and visit: what the table does not name there goes too."""
_FREE_TEXT = {"PN", "ST", "LT", "UT", "UC"}
_KEPT_TEXT = {"LongCodeValue"}
_DUMMY: Mapping[str, object] = {
    "PN": "REMOVED", "LO": "REMOVED", "SH": "REMOVED", "ST": "REMOVED", "LT": "REMOVED", "UT": "REMOVED",
    "UC": "REMOVED", "CS": "REMOVED", "AE": "REMOVED", "AS": "000Y", "UR": "urn:removed",
}  # fmt: skip
_MOST_DAYS = 3653


class NotCopiedError(InputError):
    """An object that cannot be de-identified.

    Attributes:
        reason: What is the matter with it, such as `is no MR image`.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}; leave it out.")
        self.reason = reason


@dataclass(frozen=True)
class Secret:
    """The key that pseudonyms, UIDs and dates come from.

    Attributes:
        key: At least 16 bytes. Who has it can tell which copy is of whom.
    """

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) < 16:
            raise InputError("The key for de-identification is shorter than 16 bytes; make one of 32.")

    def uid(self, original: str) -> str:
        """The UID (2.25.<UUID>) that stands for another."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', original)[:16], version=4).int}"

    def pseudonym(self, kind: str, original: str) -> str:
        """`ABCDE-FGHIJ`, for a patient or a study."""
        letters = base64.b32encode(self._digest(kind, original))[:10].decode()
        return f"{letters[:5]}-{letters[5:]}"

    def days(self, patient: str) -> int:
        """By how many days a patient's dates are moved: 1 to 3653 into the past."""
        return -1 - int.from_bytes(self._digest("days", patient)[:8], "big") % _MOST_DAYS

    def _digest(self, kind: str, original: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{original}".encode(), hashlib.sha256).digest()


def deidentify(dataset: FileDataset, path: Path, secret: Secret, case: str | None = None) -> FileDataset:
    """Make the research copy of an MR image, in place.

    Args:
        dataset: As read, with pixels.
        path: Where it comes from, for messages.
        case: Pseudonym of the study (Study ID); None to make one from its UID.

    Returns:
        The same object, to be saved.

    Raises:
        NotCopiedError: If its pixels may show who it is, or it is no MR image.
    """
    with quiet():
        refuse(dataset, path)
        safe_private = _move_diffusion(dataset, path)
        patient = _patient(dataset)
        study = str(attribute(dataset, "StudyInstanceUID") or "")
        _Cleaner(secret, secret.days(patient)).clean(dataset)
        dataset.PatientID = dataset.PatientName = secret.pseudonym("patient", patient)
        dataset.StudyID = case or secret.pseudonym("study", study)
        _restore(dataset, safe_private)
        _say_so(dataset, bool(safe_private))
        _new_meta(dataset)
    return dataset


def refuse(dataset: Dataset, path: Path) -> None:
    """Refuse what cannot be de-identified without looking at its pixels.

    Raises:
        NotCopiedError: With the reason.
    """
    if str(attribute(dataset, "SOPClassUID") or "") not in MR_IMAGES:
        raise NotCopiedError(path, "is no MR image")
    if str(attribute(dataset, "BurnedInAnnotation") or "").upper() == "YES":
        raise NotCopiedError(path, "has text burned into its pixels")
    kinds = attribute(dataset, "ImageType") or ()
    words = {str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)}
    if words & {"SCREEN SAVE", "SCREENSHOT", "CSA REPORT"} or attribute(dataset, "ConversionType"):
        raise NotCopiedError(path, "is a picture of a screen")


@cache
def table() -> Mapping[str, str]:
    """Table E.1-1: eight hexadecimal digits (X for any) → the standard's action."""
    text = files("scanside.runtime.dicom").joinpath("deidentify.csv").read_text(encoding="ascii")
    return {row["tag"]: row["action"] for row in csv.DictReader(text.splitlines())}


def action_for(tag: BaseTag) -> Action:
    """What to do with a standard or private attribute of an MR image."""
    if tag.is_private or tag.element == 0:
        return "X"
    if tag.group >> 8 in (0x50, 0x60):
        return "X"  # curves and overlays: the table's X for their data would leave their headers behind
    if not dictionary_has_tag(tag):
        return "X"
    keyword, vr = keyword_for_tag(tag), dictionary_VR(tag)
    found = table().get(f"{int(tag):08X}")
    if keyword in _DESCRIPTIONS:
        return "C"
    if vr in ("DA", "DT", "TM") and keyword not in _OF_THE_PATIENT:
        return "S"
    if keyword in _REQUIRED:
        return "D"
    if found is not None:
        action = _SEVERAL.get(found) or _SINGLE[found]
        dispensable = action == "D" or (found == "X/Z" and keyword not in _MAY_BE_EMPTY)
        return "X" if vr == "SQ" and dispensable else action
    if tag.group in _ABOUT_PATIENTS:
        return "X"
    if vr == "UI":
        return "K" if keyword in _NAMES_OF_CLASSES else "U"
    return "D" if vr in _FREE_TEXT and keyword not in _KEPT_TEXT else "K"


class _Cleaner:
    """Applies the table to a data set and the sequences in it."""

    def __init__(self, secret: Secret, days: int) -> None:
        self._secret, self._days = secret, days

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            action = action_for(Tag(tag))
            if action == "X" or not self._well_formed(dataset, Tag(tag)):
                del dataset[tag]
                continue
            try:
                self._apply(dataset, Tag(tag), action)
            except Exception:  # pydicom converts on access and raises what the conversion raises
                del dataset[tag]

    def _apply(self, dataset: Dataset, tag: BaseTag, action: Action) -> None:
        if dictionary_VR(tag) == "SQ":
            if action == "Z":
                dataset[tag].value = Sequence()
            for item in dataset[tag].value or ():
                self.clean(item)
            return
        if action == "K":
            return
        element = dataset[tag]
        if element.is_empty:
            return
        if action == "U":
            values = [element.value] if isinstance(element.value, str) else list(element.value)
            new = [self._uid(str(value)) for value in values]
            element.value = new if len(new) > 1 else new[0]
        elif action == "S":
            values = [element.value] if element.VM == 1 else list(element.value)
            moved = [_moved(str(value), element.VR, self._days) for value in values]
            element.value = moved if len(moved) > 1 else moved[0]
        elif action == "C":
            element.value = clean_description(str(element.value))
        elif action == "D" and element.VR in _DUMMY:
            element.value = _DUMMY[element.VR]
        elif element.VR in ("OB", "OW", "UN"):
            element.value = b""
        else:
            element.value = None

    def _uid(self, original: str) -> str:
        return original if original.startswith(_STANDARD_ROOT) else self._secret.uid(original)

    def _well_formed(self, dataset: Dataset, tag: BaseTag) -> bool:
        """Whether the file gives the attribute the VR of the standard: another one may hide anything."""
        raw = dataset.get_item(tag)
        vr = None if raw is None else raw.VR
        return vr in (None, "UN") or str(vr) in dictionary_VR(tag).split(" or ")


def _moved(value: str, vr: str, days: int) -> str:
    """A time of day stays, if it is one."""
    if vr != "TM":
        return move_date(value, days)
    return value if re.fullmatch(r"\d{2}:?(\d{2}:?(\d{2}(\.\d{1,6})?)?)?", value.strip()) else ""


def move_date(value: str, days: int) -> str:
    """Move a DA or DT value by whole days; empty where it is no date of at least a day's precision."""
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d*(?:\.\d+)?(?:[+-]\d{4})?)", value.strip())
    if match is None:
        return ""
    try:
        moved = date(int(match[1]), int(match[2]), int(match[3])) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}".rjust(8, "0") + match[4]


def _patient(dataset: Dataset) -> str:
    """Who it is, across studies; a study without a patient ID is a patient of its own."""
    number = str(attribute(dataset, "PatientID") or "").strip()
    if not number:
        return f"study {attribute(dataset, 'StudyInstanceUID') or ''}"
    return f"{str(attribute(dataset, 'IssuerOfPatientID') or '').strip()}\0{number}"


def _move_diffusion(dataset: FileDataset, path: Path) -> tuple[float, float] | None:
    """Write b-value and trace flag where the standard wants them; UIH's (nominal, actual) where those differ."""
    frame = _frame(dataset, path)
    b, direction = b_value(frame), directionality(frame)
    if b is None or frame.groups:
        return None  # enhanced objects have them in the standard's place
    dataset.DiffusionBValue = b.nominal
    if direction:
        dataset.DiffusionDirectionality = direction
    return (b.nominal, b.actual) if b.actual != b.nominal and made_by(dataset, "UIH") else None


def _frame(dataset: FileDataset, path: Path) -> Frame:
    instance = Instance(path, dataset)
    try:
        return frames_of([instance])[0]
    except (InputError, IndexError):  # a mosaic, a colour map: it may be copied, though not be computed with
        return Frame(instance)


def _restore(dataset: Dataset, safe: tuple[float, float] | None) -> None:
    """What UIH applied (929.75) beside what was prescribed (1000): ADC is fitted with it."""
    if safe is None:
        return
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x0A, "FD", safe[0])
    block.add_new(0x09, "FD", safe[1])


def _say_so(dataset: Dataset, safe_private: bool) -> None:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    codes = (*_CODES, *((_SAFE_PRIVATE,) if safe_private else ()))
    items = []
    for value, meaning in codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = Sequence(items)


def _new_meta(dataset: FileDataset) -> None:
    """Nothing of the file's own header stays: titles of senders, private information, the preamble."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
