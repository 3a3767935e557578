"""One STOW-RS request (PS3.18 10.5): each part is kept as an instance of C-STORE is, by the same checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from scanside.runtime.appliance.receive.classes import STORED, transfer_syntaxes
from scanside.runtime.appliance.receive.incoming import (
    NOT_UNDERSTOOD,
    OUT_OF_RESOURCES,
    Announced,
    Conditions,
    Incoming,
    Refusal,
)
from scanside.runtime.appliance.receive.multipart import Part, Readable, parts
from scanside.runtime.appliance.receive.scp import Receiver, Sender

CLASS_UNSUPPORTED, SYNTAX_UNSUPPORTED = 0x0122, 0xC122
FAILURES: tuple[tuple[int, str], ...] = (
    (CLASS_UNSUPPORTED, "the SOP class is not taken"),
    (SYNTAX_UNSUPPORTED, "the transfer syntax is not taken"),
)
"""Beside the statuses of C-STORE, which mean the same here."""
_HEAD = 1 << 16
"""Bytes in which the File Meta Information has to end."""
_NO_FILE = Refusal(NOT_UNDERSTOOD, "the part is no DICOM file")


@dataclass(frozen=True)
class Told:
    """What became of a part; UIDs are empty where it names none."""

    sop_class: str
    sop_uid: str
    refusal: Refusal | None


def store_all(
    body: Readable,
    boundary: str,
    conditions: Conditions,
    receiver: Receiver,
    sender: Sender,
    study: str | None,
) -> Iterator[Told]:
    """Keep the parts of a request one after the other. Each that is told of as kept is on disk and in the store.

    Args:
        study: Study Instance UID that all of them have to have; None for any.

    Raises:
        BodyError: If the body is no multipart with that boundary, or does not come in time.
        OSError: If the connection breaks.
    """
    for part in parts(body, boundary):
        yield _store(part, conditions, receiver, sender, study)


def _store(part: Part, conditions: Conditions, receiver: Receiver, sender: Sender, study: str | None) -> Told:
    head = bytearray()
    for piece in part.pieces:
        head += piece
        if len(head) >= _HEAD:
            break
    found = _announced(bytes(head))
    if found is None:
        return Told("", "", receiver.refuse(_NO_FILE, sender))
    announced, offset = found
    about = (announced.sop_class, announced.sop_uid)
    if announced.sop_class not in STORED:
        return Told(*about, receiver.refuse(Refusal(CLASS_UNSUPPORTED, FAILURES[0][1]), sender))
    if announced.transfer_syntax not in transfer_syntaxes():
        return Told(*about, receiver.refuse(Refusal(SYNTAX_UNSUPPORTED, FAILURES[1][1]), sender))
    incoming = Incoming(conditions, lambda: announced)
    try:
        incoming.write(bytes(head[offset:]))
        for piece in part.pieces:
            incoming.write(piece)
    except BaseException:
        incoming.discard()
        raise
    return Told(*about, receiver.take(incoming, sender, study))


def _announced(head: bytes) -> tuple[Announced, int] | None:
    """What the File Meta Information says, and where the data set begins; None where there is none."""
    from pydicom.filereader import read_dataset

    if head[128:132] != b"DICM":
        return None
    file = BytesIO(head)
    file.seek(132)
    try:
        meta: Any = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        said = Announced(
            str(meta.MediaStorageSOPClassUID),
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID),
        )
    except Exception:  # whatever pydicom makes of bytes that are no file
        return None
    if not said.sop_uid or said.sop_uid.strip("0123456789."):
        return None
    return said, file.tell()


def answer_of(told: list[Told]) -> tuple[int, dict[str, Any]]:
    """HTTP status and Store Instances Response (PS3.18 10.5.3) as DICOM JSON.

    200: all are kept; 202: some; 409: none; 503: none, for lack of room.
    """
    kept = [_item(one) for one in told if one.refusal is None]
    refused = [
        {**_item(one), "00081197": {"vr": "US", "Value": [one.refusal.status]}}
        for one in told
        if one.refusal is not None
    ]
    document: dict[str, Any] = {}
    if kept:
        document["00081199"] = {"vr": "SQ", "Value": kept}
    if refused:
        document["00081198"] = {"vr": "SQ", "Value": refused}
    full = all(one.refusal is not None and one.refusal.status == OUT_OF_RESOURCES for one in told)
    status = 200 if not refused else 202 if kept else 503 if full else 409
    return status, document


def _item(told: Told) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [told.sop_class]},
        "00081155": {"vr": "UI", "Value": [told.sop_uid]},
    }
