"""What file and folder names say: case, channel, image or DICOM."""

import re
from collections.abc import Sequence
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.runtime.images.files import ending_of

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_PREAMBLE = 128
_DICOM_SUFFIXES = ("", ".dcm", ".ima")
_SHOWN = 5


def case_and_channel(path: Path) -> tuple[str, int] | None:
    """`liver_07` and 1 from `liver_07_0001.nii.gz` (nnU-Net's naming); None for other names."""
    match = _CHANNEL.fullmatch(stem(path))
    return (match["case"], int(match["channel"])) if match else None


def case_name(path: Path) -> str:
    """The name a case gets when `path` is its first channel."""
    if path.is_dir():
        return path.resolve().name
    if ending_of(path):
        return stem(path).removesuffix("_0000")
    return path.stem if path.suffix.lower() in _DICOM_SUFFIXES else path.name


def files_in(folder: Path) -> list[Path]:
    """Files of a folder, sorted, hidden ones left out.

    Raises:
        InputError: If the folder may not be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be opened ({error.strerror}); check its permissions.") from error


def images_in(folder: Path) -> list[Path]:
    """Files of a folder with a volume ending, sorted."""
    return [path for path in files_in(folder) if ending_of(path)]


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its mark, or by reading the header where the name allows it."""
    if has_dicom_mark(path):
        return True
    if path.suffix.lower() not in _DICOM_SUFFIXES:
        return False
    from scanside.runtime.dicom.header import is_headless_dicom

    return is_headless_dicom(path)


def has_dicom_mark(path: Path) -> bool:
    """Whether `DICM` stands where part 10 wants it."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def few(paths: Sequence[Path]) -> str:
    """The first names, for a message."""
    names = [path.name for path in paths[:_SHOWN]]
    return ", ".join(names) + (", …" if len(paths) > _SHOWN else "")


def stem(path: Path) -> str:
    """The name of a file without its ending."""
    return path.name[: -len(ending_of(path) or path.suffix) or None]
