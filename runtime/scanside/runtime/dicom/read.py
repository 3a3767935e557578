"""A DICOM series → `Volume`: strict on geometry, tolerant of everything else."""

from pathlib import Path

from scanside.runtime.dicom.frames import Frame, frames_of
from scanside.runtime.dicom.grid import regular_grid
from scanside.runtime.dicom.header import quiet
from scanside.runtime.dicom.pixels import read_pixels
from scanside.runtime.dicom.series import DicomSeries, find_series
from scanside.runtime.errors import ImageReadError, InputError
from scanside.runtime.volume import Geometry, Volume


def read_series(path: Path) -> tuple[Volume, DicomSeries]:
    """Read the one image series in a folder, or in one file (a multi-frame object, a single slice).

    Args:
        path: Folder or file.

    Returns:
        A volume of shape (1, Z, Y, X), LPS, z along row × column; and the series it came from.

    Raises:
        ImageReadError: If a file cannot be read or decoded.
        GeometryError: If the slices do not form one regular grid.
        InputError: If there is no image series, or more than one.
    """
    if not path.exists():
        raise ImageReadError(f"There is no file or folder {path}; check the path.")
    with quiet():
        frames = frames_of(find_series(path))
    return read_frames(frames, path)


def read_frames(
    frames: list[Frame], path: Path, geometry: Geometry | None = None
) -> tuple[Volume, DicomSeries]:
    """Read the volume that some frames of a series form, in any order.

    Args:
        frames: All of one volume; a series with several b-values holds several volumes.
        path: Where they come from, for messages.
        geometry: Their grid, where `regular_grid` has put these frames in order and proven it already.

    Returns:
        As `read_series`.

    Raises:
        ImageReadError: If a file cannot be read or decoded.
        GeometryError: If the slices do not form one regular grid.
    """
    if geometry is None:
        with quiet():
            frames, geometry = regular_grid(frames, path)
    data = read_pixels(frames)
    instances = tuple(dict.fromkeys(frame.instance for frame in frames))
    try:
        volume = Volume(data[None], geometry)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    return volume, DicomSeries(path, instances, tuple(frames), geometry)
