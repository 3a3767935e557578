"""One DICOM file → its header, also from files that are a little outside the standard."""

import io
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from scanside.runtime.errors import ImageReadError

LARGEST_INFLATED = 1 << 28
"""Bytes: a deflated object that unpacks to more is refused unread. A file of 4 MB can hold 4 GB of zeros."""
_HEAD = 1 << 17
"""Bytes of a file that are read at once: pydicom asks for a few at a time."""
_PIXELS = {
    bytes.fromhex(tag) for tag in ("e07f0800", "e07f0900", "e07f1000", "7fe00008", "7fe00009", "7fe00010")
}
"""Tags at which reading stops before the pixels, in both orders of bytes."""
_META = 4096
"""Bytes of a file in which the name of its transfer syntax stands."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM file, without its pixels.

    Attributes:
        path: The file.
        header: Everything before the pixel data.
    """

    path: Path
    header: Dataset


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks on sloppy headers off the terminal; what matters is checked and raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_instance(file: Path) -> Instance:
    """Read one file's header, with or without the preamble of part 10.

    Raises:
        ImageReadError: If it is not a DICOM object.
    """
    with quiet():
        try:
            header = read_dataset(file, stop_before_pixels=True)
            if attribute(header, "SOPClassUID") and not _lost_its_end(header):
                return Instance(file, with_transfer_syntax(header))
        except ImageReadError:
            raise
        except Exception as error:  # pydicom raises almost anything on damaged bytes
            raise _unreadable(file) from error
    raise _unreadable(file)


def read_dataset(file: Path, *, stop_before_pixels: bool = False) -> pydicom.FileDataset:
    """What pydicom makes of a file, with or without the preamble of part 10.

    Memory is bounded by the size of the file, whatever lengths it claims.

    Raises:
        ImageReadError: If a deflated file unpacks to more than `LARGEST_INFLATED`.
        Exception: Almost anything on damaged bytes.
    """
    with _Bounded(file) as opened:
        _refuse_bomb(opened, file)
        if stop_before_pixels and (header := _from_head(opened)) is not None:
            return header
        try:
            return pydicom.dcmread(opened, stop_before_pixels=stop_before_pixels)
        except InvalidDicomError:
            opened.seek(0)
            return pydicom.dcmread(opened, stop_before_pixels=stop_before_pixels, force=True)


def _from_head(opened: "_Bounded") -> pydicom.FileDataset | None:
    """The header, where it ends within the first bytes of the file; None where the whole file must be asked."""
    head = io.BytesIO(opened.read(_HEAD))
    opened.seek(0)
    try:
        header = pydicom.dcmread(head, stop_before_pixels=True)
    except Exception:  # said again, in full, when the whole file is read
        return None
    if head.read(4) not in _PIXELS:
        return None
    header.buffer = None  # keeps the bytes alive
    return header


class _Bounded(io.BufferedReader):
    """A file that never allocates more than it holds: damaged headers ask for 4 GiB."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.FileIO(file))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _refuse_bomb(opened: _Bounded, file: Path) -> None:
    """pydicom inflates at once and without a limit; here once before, keeping nothing."""
    start = opened.read(_META)
    opened.seek(0)
    if DeflatedExplicitVRLittleEndian.encode() not in start:
        return
    read_preamble(opened, force=True)
    _read_file_meta_info(opened)
    unpack, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not unpack.eof and (packed := unpack.unconsumed_tail or opened.read(1 << 16)):
        size += len(unpack.decompress(packed, 1 << 20))
        if size > LARGEST_INFLATED:
            raise ImageReadError(
                f"{file} unpacks to more than {LARGEST_INFLATED >> 20} MiB; send it without compression."
            )
    opened.seek(0)


def has_pixels(header: Dataset) -> bool:
    """Whether the object has rows and columns."""
    return bool(whole(header, "Rows") and whole(header, "Columns"))


def is_headless_dicom(file: Path) -> bool:
    """Whether a file without the `DICM` mark is a DICOM object all the same."""
    try:
        read_instance(file)
    except ImageReadError:
        return False
    return True


def with_transfer_syntax(dataset: pydicom.FileDataset) -> pydicom.FileDataset:
    """Name the transfer syntax that pydicom guessed, where the file does not say it."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = UID(ImplicitVRLittleEndian if implicit else explicit)
    return dataset


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def attribute(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value; None when it is absent, empty or malformed."""
    try:
        tag = _tag(keyword)
        if tag not in dataset:
            return None
        value = dataset[tag].value
    except Exception:  # pydicom converts on access and raises what the conversion raises
        return None
    return None if value == "" else value


def whole(dataset: Dataset, keyword: str) -> int | None:
    """An attribute that is one whole number; None for anything else."""
    value = attribute(dataset, keyword)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def one_line(words: object, longest: int = 64) -> str:
    """Text of a header as it may stand in a sentence: one line of characters that print."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(words))
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _lost_its_end(header: Dataset) -> bool:
    """Whether an image has no size: pydicom takes a file cut between two elements for a shorter one."""
    return "Image Storage" in header.SOPClassUID.name and not has_pixels(header)


def _unreadable(file: Path) -> ImageReadError:
    return ImageReadError(
        f"{file} cannot be read as DICOM; copy it again, or remove it if it is not one of the slices."
    )
