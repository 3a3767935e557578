"""The bytes of an MRD stream: messages in, messages out, with bounds on everything that a length field may ask for.

Little endian throughout. Source: ISMRMRD, doc/mrd_streaming_protocol.md and doc/mrd_image_data.md; compared with the
`ismrmrd` package in the tests.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import InputError
from scanside.runtime.mrd.header import HEADER_BYTES, field, with_fields

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT, ACQUISITION, IMAGE, WAVEFORM = 1, 2, 3, 4, 5, 1008, 1022, 1026
DTYPES: dict[int, str] = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}
"""MRD's number of a data type → numpy's."""
_CONFIG_BYTES = 1024
_CHUNK = 1 << 20

Read = Callable[[int], bytes]
"""At most so many bytes; none at the end of the stream."""


class StreamError(InputError):
    """The stream is not MRD, is cut off, or asks for more than the limits allow."""


@dataclass(frozen=True)
class Limits:
    """What a stream may ask for.

    Attributes:
        matrix: Voxels along an axis, and channels.
        attributes: Bytes of an image's attributes.
        text: Bytes of a configuration, header or text.
        session: Bytes of all images of a session.
    """

    matrix: int = 4096
    attributes: int = 16 << 20
    text: int = 16 << 20
    session: int = 4 << 30


@dataclass(frozen=True)
class Text:
    """A configuration, the XML header, or a text message.

    Attributes:
        kind: Number of the message: CONFIG_FILE, CONFIG_TEXT, HEADER or TEXT.
    """

    kind: int
    text: str


@dataclass(frozen=True, eq=False)
class Image:
    """An image message as it came.

    Attributes:
        header: 198 bytes.
        attributes: XML, UTF-8.
        data: (C, Z, Y, X) of the header's data type.
    """

    header: bytes
    attributes: bytes
    data: npt.NDArray[Any]

    def get(self, name: str) -> Any:
        """A field of the header: a number, or a tuple of them."""
        return field(self.header, name)


@dataclass(frozen=True)
class Skipped:
    """Raw data or a waveform, read and left alone."""

    kind: int


Message = Text | Image | Skipped


def receive(read: Read, limits: Limits = Limits(), used: int = 0) -> Message | None:
    """The next message; None for CLOSE.

    Args:
        used: Bytes of images that the session holds already.

    Raises:
        StreamError: If the stream ends within a message, is not MRD, or asks for more than the limits.
    """
    (kind,) = struct.unpack("<H", exactly(read, 2, "a message"))
    if kind == CLOSE:
        return None
    if kind == CONFIG_FILE:
        return Text(kind, _decode(exactly(read, _CONFIG_BYTES, "a configuration")))
    if kind in (CONFIG_TEXT, HEADER, TEXT):
        (length,) = struct.unpack("<I", exactly(read, 4, "a text"))
        _bound(length, limits.text, "bytes of text")
        return Text(kind, _decode(exactly(read, length, "a text")))
    if kind == IMAGE:
        return _image(read, limits, used)
    if kind in (ACQUISITION, WAVEFORM):
        _skip(read, kind, limits)
        return Skipped(kind)
    raise StreamError(
        f"The stream holds a message of number {kind}, which MRD does not know; send MRD version 1."
    )


def text_message(text: str, kind: int = TEXT) -> bytes:
    """A text, configuration text or XML header as bytes."""
    encoded = text.encode()
    return struct.pack("<HI", kind, len(encoded)) + encoded


def config_message(name: str) -> bytes:
    """The name of a configuration as bytes."""
    return struct.pack("<H", CONFIG_FILE) + name.encode()[: _CONFIG_BYTES - 1].ljust(_CONFIG_BYTES, b"\0")


def close_message() -> bytes:
    """The end of a session."""
    return struct.pack("<H", CLOSE)


def image_message(image: Image) -> bytes:
    """An image as bytes. The header's lengths and data type must be those of the data."""
    return b"".join(
        (
            struct.pack("<H", IMAGE),
            image.header,
            struct.pack("<Q", len(image.attributes)),
            image.attributes,
            np.ascontiguousarray(image.data).tobytes(),
        )
    )


def make_image(header: bytes, attributes: bytes, data: npt.NDArray[Any], **fields: Any) -> Image:
    """An image whose header agrees with its data and attributes.

    Args:
        header: 198 bytes that every field is taken from which is not named.
        data: (C, Z, Y, X) of a data type that MRD knows.
        fields: Fields of the header to set.
    """
    number = next(key for key, kind in DTYPES.items() if np.dtype(kind) == data.dtype.newbyteorder("<"))
    channels, z, y, x = data.shape
    own = {
        "data_type": number,
        "matrix_size": (x, y, z),
        "channels": channels,
        "attribute_string_len": len(attributes),
    }
    return Image(with_fields(header, **own, **fields), attributes, data)


def exactly(read: Read, count: int, what: str) -> bytes:
    """Exactly `count` bytes.

    Raises:
        StreamError: If the stream ends before.
    """
    parts, left = [], count
    while left:
        part = read(min(left, _CHUNK))
        if not part:
            raise StreamError(f"The stream ends within {what}; send it again.")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _image(read: Read, limits: Limits, used: int) -> Image:
    header = exactly(read, HEADER_BYTES, "an image's header")
    number, (x, y, z), channels = (field(header, key) for key in ("data_type", "matrix_size", "channels"))
    if number not in DTYPES:
        raise StreamError(
            f"An image has the data type {number}, which MRD does not know; send numbers 1 to 8."
        )
    for size in (x, y, z, channels):
        _bound(size, limits.matrix, "voxels or channels along an axis")
    if not x * y * z * channels:
        raise StreamError(
            "An image has no voxels; send images with a matrix of at least 1 in each direction."
        )
    (length,) = struct.unpack("<Q", exactly(read, 8, "an image"))
    _bound(length, limits.attributes, "bytes of attributes")
    dtype = np.dtype(DTYPES[number])
    size = math.prod((x, y, z, channels)) * dtype.itemsize
    _bound(used + size + length, limits.session, "bytes of images in one session")
    attributes = exactly(read, length, "an image's attributes")
    data = np.frombuffer(exactly(read, size, "an image"), dtype).reshape(channels, z, y, x)
    return Image(header, attributes, data)


def _skip(read: Read, kind: int, limits: Limits) -> None:
    """Read over raw data (340 bytes of header) or a waveform (40 bytes)."""
    if kind == ACQUISITION:
        header = exactly(read, 340, "raw data")
        samples, _, channels = struct.unpack_from("<3H", header, 34)
        (dimensions,) = struct.unpack_from("<H", header, 176)
        size = 4 * samples * dimensions + 8 * samples * channels
    else:
        samples, channels = struct.unpack_from("<2H", exactly(read, 40, "a waveform"), 28)
        size = 4 * samples * channels
    _bound(size, limits.session, "bytes of raw data in one message")
    while size:
        size -= len(exactly(read, min(size, _CHUNK), "raw data"))


def _bound(value: int, most: int, what: str) -> None:
    if value > most:
        raise StreamError(
            f"The stream asks for {value} {what}, above the limit of {most}; send less at once."
        )


def _decode(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")
