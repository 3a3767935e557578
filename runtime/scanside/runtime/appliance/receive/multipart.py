"""The body of a STOW-RS request, read as it comes: never in memory as a whole, never beyond its limits."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Protocol

PIECE = 1 << 16
_LONGEST_HEAD = 1 << 14
"""Bytes of a part's header fields."""
_LONGEST_LINE = 1 << 10
"""Bytes of a line that says how long a chunk is, or of a trailer."""
_LONGEST_BOUNDARY = 200
"""RFC 2046 allows 70 characters; Orthanc has 73."""
_MOST_TRAILERS = 64
_SLOWEST = 4096
"""Bytes per second that a sender has to bring, beside the time that it may be silent."""


class BodyError(ValueError):
    """The body is not what its header says, or does not come in time; words without its content."""


class Source(Protocol):
    """A file of a connection."""

    def read1(self, size: int = -1, /) -> bytes:
        """What is there, and at least one byte until the connection ends."""
        ...

    def readline(self, size: int = -1, /) -> bytes:
        """Up to the end of a line."""
        ...


class Readable(Protocol):
    """A body, however its end is known."""

    def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            BodyError: If the body ends too early, or does not come in time.
        """
        ...


class Body:
    """Bytes of a request, by its Content-Length or in chunks (RFC 9112 7.1)."""

    def __init__(self, source: Source, length: int | None, seconds: float) -> None:
        """Read nothing yet.

        Args:
            length: None for a body in chunks.
            seconds: That the sender may be silent in all, beside what its bytes take at `_SLOWEST`.
        """
        self._source, self._chunked, self._seconds = source, length is None, seconds
        self._left = length or 0
        self._ended = length == 0
        self._begun, self._total = time.monotonic(), 0

    def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            BodyError: If the body ends too early, is not in chunks as it says, or drips.
            OSError: If the connection breaks or is silent.
        """
        if self._ended:
            return b""
        if self._chunked and self._left == 0:
            self._next_chunk()
            if self._ended:
                return b""
        if time.monotonic() - self._begun > self._seconds + self._total / _SLOWEST:
            raise BodyError("the body comes too slowly")
        data = self._source.read1(min(PIECE, self._left))
        if not data:
            raise BodyError("the body ends too early")
        self._left -= len(data)
        self._total += len(data)
        if self._left == 0:
            if self._chunked:
                self._line()
            else:
                self._ended = True
        return data

    def _next_chunk(self) -> None:
        digits = self._line().split(b";")[0].strip()
        if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
            raise BodyError("the body is not in chunks")
        self._left = int(digits, 16)
        if self._left:
            return
        self._ended = True
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                return
        raise BodyError("the body has too many trailers")

    def _line(self) -> bytes:
        line = self._source.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise BodyError("the body is not in chunks")
        return line.rstrip(b"\r\n")


@dataclass
class Part:
    """One part of a multipart body.

    Attributes:
        fields: Header fields, names in lower case.
        pieces: Its content, to be read to the end before the next part is asked for.
    """

    fields: Mapping[str, str]
    pieces: Iterator[bytes]


def boundary_of(content_type: str) -> str | None:
    """That of a multipart/related of DICOM files; None where a Content-Type says that it is something else."""
    message = Message()
    message["Content-Type"] = content_type
    kind = str(message.get_param("type") or "application/dicom").lower()
    boundary = message.get_boundary()
    fits = message.get_content_type() == "multipart/related" and kind == "application/dicom"
    return boundary if fits and boundary and len(boundary) <= _LONGEST_BOUNDARY else None


def parts(body: Readable, boundary: str) -> Iterator[Part]:
    """The parts of a multipart body (RFC 2046 5.1.1). What a caller leaves of one is passed over.

    Raises:
        BodyError: If it is none with that boundary.
    """
    reader = _Reader(body, b"\r\n--" + boundary.encode("latin-1"))
    for _ in reader.to_delimiter():  # a preamble
        pass
    while not reader.at_end():
        part = Part(reader.fields(), reader.to_delimiter())
        yield part
        for _ in part.pieces:
            pass


class _Reader:
    def __init__(self, body: Readable, delimiter: bytes) -> None:
        self._body, self._delimiter = body, delimiter
        self._buffer = bytearray(b"\r\n")  # a body may begin with its delimiter

    def _more(self) -> None:
        data = self._body.read()
        if not data:
            raise BodyError("the body has no end of its last part")
        self._buffer += data

    def to_delimiter(self) -> Iterator[bytes]:
        keep = len(self._delimiter) - 1
        while (at := self._buffer.find(self._delimiter)) < 0:
            safe = len(self._buffer) - keep
            if safe > 0:
                yield bytes(self._buffer[:safe])
                del self._buffer[:safe]
            self._more()
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]

    def at_end(self) -> bool:
        while len(self._buffer) < 2:
            self._more()
        return self._buffer[:2] == b"--"

    def fields(self) -> dict[str, str]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise BodyError("the head of a part is too long")
            self._more()
        head, found = bytes(self._buffer[:end]).decode("latin-1"), {}
        del self._buffer[: end + 4]
        for line in head.split("\r\n")[1:]:  # the first is the rest of the delimiter's line
            name, colon, value = line.partition(":")
            if not colon:
                raise BodyError("the head of a part is none")
            found[name.strip().lower()] = value.strip()
        return found
