"""A case's paths → one volume with all its channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.errors import InputError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.files import ending_of
from scanside.runtime.images.read import read_image
from scanside.runtime.plan import Reader
from scanside.runtime.volume import Volume, stack

if TYPE_CHECKING:
    from scanside.runtime.dicom.series import DicomSeries


@dataclass(frozen=True)
class LoadedCase:
    """A case in memory.

    Attributes:
        name: As in `CaseInput`.
        volume: (C, Z, Y, X), all channels on one grid.
        source: The DICOM series of the first channel, or None when it came from a file.
    """

    name: str
    volume: Volume
    source: DicomSeries | None


def load_case(case: CaseInput, channels: int, reader: Reader = "itk") -> LoadedCase:
    """Read all channels of a case and put them on one grid.

    Args:
        case: From `find_cases`.
        channels: How many image channels the bundle needs.
        reader: What its images are.

    Raises:
        InputError: If channels are missing or too many.
        ImageReadError: If one cannot be read.
        GeometryError: If one is not a regular grid, or they do not lie on the same grid.
    """
    if reader != "itk":
        from scanside.runtime.images.pictures import read_pictures

        return LoadedCase(case.name, read_pictures(case.channels, reader), None)
    _check_channels(case, channels)
    read = [_read(path) for path in case.channels]
    volume = stack([volume for volume, _ in read], [path.name for path in case.channels])
    return LoadedCase(case.name, volume, read[0][1])


def _check_channels(case: CaseInput, channels: int) -> None:
    missing = [path.name for path in case.channels if not path.exists()]
    if missing:
        raise InputError(
            f"Case {case.name} lacks {', '.join(missing)} in {case.channels[0].parent}; "
            f"the bundle needs {channels} channel(s)."
        )
    if len(case.channels) > channels:
        extra = ", ".join(path.name for path in case.channels[channels:])
        raise InputError(
            f"Case {case.name} has more channels than the {channels} that the bundle needs; "
            f"move {extra} away."
        )
    if len(case.channels) < channels:
        given = ", ".join(path.name for path in case.channels)
        raise InputError(f"Case {case.name} has only {given}; the bundle needs {channels} channels.")


def _read(path: Path) -> tuple[Volume, DicomSeries | None]:
    if path.is_file() and ending_of(path):
        return read_image(path), None
    from scanside.runtime.dicom.read import read_series

    return read_series(path)
