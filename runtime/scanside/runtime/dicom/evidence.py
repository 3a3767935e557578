"""Headers of the images of a study that was refused: its report says whose study it is and refers to them."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import attribute, has_pixels, quiet, read_instance
from scanside.runtime.dicom.series import NOT_PICTURES, has_dicom_name
from scanside.runtime.errors import ImageReadError
from scanside.runtime.images.names import has_dicom_mark


def read_evidence(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    """The header of every DICOM image in files and folders, any nesting, each file once.

    What cannot be read is left out: it may be why the study was refused.
    """
    files = dict.fromkeys(file.resolve() for path in paths for file in _files(path))
    return tuple(header for file in files for header in _image(file))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    with suppress(OSError):
        for file in sorted(path.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
                yield file


def _image(file: Path) -> Iterator[Dataset]:
    with suppress(ImageReadError, OSError), quiet():
        if has_dicom_mark(file) or has_dicom_name(file):
            header = read_instance(file).header
            if has_pixels(header) and str(attribute(header, "SOPClassUID")) not in NOT_PICTURES:
                yield header
