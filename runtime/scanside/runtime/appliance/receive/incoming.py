"""One instance while it comes in: written to disk as it arrives, counted, hashed, never kept in memory."""

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.receive.limits import DiskReserve
from scanside.runtime.appliance.receive.spool import Spool

LONGEST_ATTRIBUTES = 4 << 20
"""Bytes of a data set that is no instance: a procedure step that names 20,000 images has 3 MB."""
PREAMBLE = b"\0" * 128 + b"DICM"
IMPLEMENTATION_CLASS = "2.25.194862869367074535514143799188024963580"
"""Of files that we write. No version stands beside it, so that the same data set makes the same file for ever."""

OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
NOT_UNDERSTOOD = 0xC000
DUPLICATE = 0x0111
FAILED = 0x0110
NOT_ASKED_FOR = 0x0124


@dataclass(frozen=True)
class Refusal:
    """Why an instance is not stored: a status of C-STORE (PS3.4 B.2.3) and words without patient data."""

    status: int
    reason: str


DISK_IS_FULL = Refusal(OUT_OF_RESOURCES, "the disk has too little room")


@dataclass(frozen=True)
class Conditions:
    """What all instances have in common that come in.

    Attributes:
        most: Bytes of a file.
    """

    spool: Spool
    room: DiskReserve
    most: int


@dataclass(frozen=True)
class Announced:
    """What the sender said in its command, before the data set."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str


class Incoming(BytesIO):
    """Stands in for the buffer of a data set in pynetdicom, whose `write` gets each fragment.

    What is no instance, but attributes of a procedure step, is kept in memory up to a limit.

    Nothing that goes wrong here is raised: the rest of a refused instance is swallowed, so that the sender gets its
    answer and may go on with the next.

    Attributes:
        announced: None until the first fragment.
        part: The file; None when there is none.
        offset: Where the data set begins in the file.
        swallowed: Bytes of the data set that came, written or not.
        refusal: Why it is not stored, if that is known already.
    """

    def __init__(self, conditions: Conditions, announce: Callable[[], Announced | None]) -> None:
        """Wait for it.

        Args:
            announce: Tells what was announced, when the first fragment comes; None if that is no instance.
        """
        super().__init__()
        self._conditions, self._announce = conditions, announce
        self.announced: Announced | None = None
        self.part: Path | None = None
        self.offset = self.swallowed = 0
        self.refusal: Refusal | None = None
        self.begun = False
        self._handle: int | None = None
        self._digest = hashlib.sha256()
        self._size = 0

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self._digest.hexdigest()

    @property
    def size(self) -> int:
        """Of the file, bytes."""
        return self._size

    def write(self, data: Any) -> int:
        """Take a fragment."""
        if not self.begun:
            self.begun = True
            self._begin()
        self.swallowed += len(data)
        if self.announced is None and self.swallowed <= LONGEST_ATTRIBUTES:
            super().write(data)
        if self.refusal is None and self._size + len(data) > self._conditions.most:
            self._give_up(
                Refusal(OUT_OF_RESOURCES, f"larger than {self._conditions.most / 1e6:g} MB (max_instance_mb)")
            )
        if self.refusal is None:
            self._append(bytes(data))
        return len(data)

    def finish(self) -> None:
        """Bring the file to disk."""
        if self._handle is None:
            return
        try:
            os.fsync(self._handle)
        except OSError as error:
            self._give_up(refusal_of(error))
        self._close()

    def discard(self) -> None:
        """Remove the file, if it is still where it came in."""
        self._close()
        if self.part is not None:
            self.part.unlink(missing_ok=True)
            self.part = None

    def _begin(self) -> None:
        self.announced = self._announce()
        if self.announced is None:
            self.refusal = Refusal(NOT_UNDERSTOOD, "no instance was announced")
            return
        try:
            if not self._conditions.room.enough():
                self.refusal = DISK_IS_FULL
                return
            path = self._conditions.spool.new_part()
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self.part = path
        except OSError as error:
            self.refusal = refusal_of(error)
            return
        self._append(PREAMBLE + file_meta(self.announced))
        self.offset = self._size

    def _append(self, data: bytes) -> None:
        assert self._handle is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            self._give_up(refusal_of(error))
            return
        self._digest.update(data)
        self._size += len(data)

    def _give_up(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.discard()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def refusal_of(error: OSError) -> Refusal:
    """For a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DISK_IS_FULL
    return Refusal(OUT_OF_RESOURCES, f"the spool cannot be written ({error.strerror})")


def file_meta(announced: Announced) -> bytes:
    """The File Meta Information (PS3.10 7.1) of a received data set, as few elements as are allowed."""
    elements = (
        _element(0x01, b"OB", b"\0\1"),
        _element(0x02, b"UI", announced.sop_class.encode("ascii")),
        _element(0x03, b"UI", announced.sop_uid.encode("ascii")),
        _element(0x10, b"UI", announced.transfer_syntax.encode("ascii")),
        _element(0x12, b"UI", IMPLEMENTATION_CLASS.encode("ascii")),
    )
    body = b"".join(elements)
    return _element(0x00, b"UL", len(body).to_bytes(4, "little")) + body


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    length = len(value).to_bytes(4, "little") if vr == b"OB" else len(value).to_bytes(2, "little")
    return b"\2\0" + bytes((number, 0)) + vr + (b"\0\0" if vr == b"OB" else b"") + length + value
