"""One DICOM file → its header, also from files that are a little outside the standard."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from scanside.runtime.errors import ImageReadError


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
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            except InvalidDicomError:
                header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            if attribute(header, "SOPClassUID") and not _lost_its_end(header):
                return Instance(file, with_transfer_syntax(header))
        except Exception as error:  # pydicom raises almost anything on damaged bytes
            raise _unreadable(file) from error
    raise _unreadable(file)


def has_pixels(header: Dataset) -> bool:
    """Whether the object has rows and columns."""
    return bool(attribute(header, "Rows") and attribute(header, "Columns"))


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


def attribute(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value; None when it is absent, empty or malformed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts on access and raises what the conversion raises
        return None
    return None if value == "" else value


def _lost_its_end(header: Dataset) -> bool:
    """Whether an image has no size: pydicom takes a file cut between two elements for a shorter one."""
    return "Image Storage" in header.SOPClassUID.name and not has_pixels(header)


def _unreadable(file: Path) -> ImageReadError:
    return ImageReadError(
        f"{file} cannot be read as DICOM; copy it again, or remove it if it is not one of the slices."
    )
