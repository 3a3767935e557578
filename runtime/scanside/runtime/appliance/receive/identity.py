"""Who an instance is, read from the bytes that came over the network without trusting any of them."""

import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from scanside.runtime.appliance.receive.classes import BIG_ENDIAN, DEFLATED, IMPLICIT
from scanside.runtime.appliance.store.records import Patient

HEAD_BYTES = 8 << 20
"""What identifies an instance stands before (0020,000E); more than so much is not read for it."""
_LONGEST_NAME = 400

_CHARACTER_SET = 0x00080005
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_NEEDED = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_NAMES = {
    _SOP_CLASS: "SOPClassUID", _SOP_INSTANCE: "SOPInstanceUID",
    _STUDY: "StudyInstanceUID", _SERIES: "SeriesInstanceUID",
}  # fmt: skip


class UnreadableError(ValueError):
    """The data set cannot be understood; the message says why, without any of its values."""


@dataclass(frozen=True)
class Identity:
    """What an instance says of itself."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    patient: Patient


def identify(path: Path, offset: int, transfer_syntax: str, most: int) -> Identity:
    """Read the identifying elements of a data set.

    Args:
        offset: Where the data set begins in the file.
        most: Bytes that a deflated data set may have when it is inflated.

    Raises:
        UnreadableError: If it cannot be parsed so far, or lacks one of its UIDs, or one is no UID.
    """
    with path.open("rb") as file:
        file.seek(offset)
        head = _inflated(file, most) if transfer_syntax == DEFLATED else file.read(HEAD_BYTES)
    return _identity(head, transfer_syntax)


def _inflated(file: BinaryIO, most: int) -> bytes:
    """The head of a deflated data set; all of it is inflated once, piece by piece, since it may be a bomb."""
    inflater, head, total = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), 0
    try:
        while not inflater.eof:
            part = inflater.unconsumed_tail or file.read(1 << 16)
            if not part:
                raise UnreadableError("the deflated data set is cut off")
            plain = inflater.decompress(part, 1 << 20)
            total += len(plain)
            if total > most:
                raise UnreadableError("inflated, the data set is larger than an instance may be")
            if len(head) < HEAD_BYTES:
                head += plain[: HEAD_BYTES - len(head)]
    except zlib.error as error:
        raise UnreadableError("the data set is not deflated, as its transfer syntax says") from error
    return bytes(head)


def _identity(head: bytes, transfer_syntax: str) -> Identity:
    from pydicom.filereader import read_dataset

    try:
        dataset = read_dataset(
            BytesIO(head),
            transfer_syntax == IMPLICIT,
            transfer_syntax != BIG_ENDIAN,
            stop_when=lambda tag, vr, length: tag > _SERIES,
            specific_tags=[_CHARACTER_SET, _PATIENT_NAME, _PATIENT_ID, *_NEEDED],
        )
        raw = {tag: dataset.get_item(tag) for tag in _NEEDED if tag in dataset}
        uids = {tag: _uid(getattr(element, "value", None), tag) for tag, element in raw.items()}
    except UnreadableError:
        raise
    except Exception as error:  # whatever pydicom makes of bytes that are not DICOM
        raise UnreadableError(f"the data set cannot be parsed ({type(error).__name__})") from error
    absent = [name for tag, name in _NAMES.items() if tag not in uids]
    if absent:
        raise UnreadableError(f"the data set has no {absent[0]}")
    patient = Patient(_text(dataset, _PATIENT_ID), _text(dataset, _PATIENT_NAME))
    return Identity(uids[_SOP_CLASS], uids[_SOP_INSTANCE], uids[_STUDY], uids[_SERIES], patient)


def _uid(value: object, tag: int) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    found = text.strip(" \0") if isinstance(text, str) else ""
    # Components with leading zeros are not allowed and do occur; a UID is not a path, whatever it looks like.
    if not found or len(found) > 64 or found.strip("0123456789.") or not found.strip("."):
        raise UnreadableError(f"{_NAMES[tag]} is not a UID")
    return found


def _text(dataset: object, tag: int) -> str:
    """For the screen only; what cannot be decoded stays empty."""
    try:
        element = dataset[tag]  # type: ignore[index]
        return str(element.value or "")[:_LONGEST_NAME]
    except Exception:
        return ""
