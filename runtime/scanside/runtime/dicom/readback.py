"""A written Segmentation, read again and compared with the mask that was meant, in patient space.

Nothing is believed of how the file was made: every frame is placed by its own position, orientation and pixel spacing
(PS3.3 C.7.6.2.1.1), whatever the order of frames. A mask on the wrong side of a patient must not leave the machine.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from scanside.runtime.arrays import Float64, LabelMask
from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import Instance, quiet
from scanside.runtime.errors import GeometryError, OutputError
from scanside.runtime.volume import Geometry

PLACE_TOLERANCE_MM = 0.01
"""How far a voxel, a slice and the centroid may lie from where they should."""

COSINE_TOLERANCE = 1e-4
VOLUME_TOLERANCE = 1e-4
"""Relative. Headers store spacing in at most 16 characters."""


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where the voxels should be.

    Attributes:
        slices: (Z, 3), centre of the first voxel of each slice, mm.
        axes: (3, 3), columns are the directions of x, y and z index.
        pixel: Along x and y index, mm.
        step: Between slices, mm.
    """

    slices: Float64
    axes: Float64
    pixel: tuple[float, float]
    step: float


def check_seg(path: Path, mask: LabelMask, geometry: Geometry, slices: Float64 | None = None) -> None:
    """Read a Segmentation again and see that it is the mask, voxel by voxel, where the patient is.

    Args:
        path: A BINARY or LABELMAP Segmentation.
        mask: (Z, Y, X), the numbers of the segments, 0 outside.
        geometry: The mask's grid.
        slices: (Z, 3), mm, LPS: the position of each slice, where slices are not quite equidistant (the geometry gate
            allows 0.1 mm); default, the geometry's.

    Raises:
        OutputError: Naming what differs: orientation, slice, voxel count, volume, centroid or voxels.
    """
    axes = geometry.direction_matrix
    if slices is None:
        steps = np.arange(geometry.shape[0])[:, None] * geometry.spacing[0]
        slices = np.asarray(geometry.origin) + steps * axes[:, 2]
    grid = _Grid(slices, axes, (geometry.spacing[2], geometry.spacing[1]), geometry.spacing[0])
    try:
        with quiet():
            written = pydicom.dcmread(path)
            found, places, volumes = _read(written, path, mask.shape, grid)
    except OutputError:
        raise
    except Exception as error:  # pydicom raises almost anything on a damaged file
        raise _differs(path, f"it cannot be read again ({' '.join(str(error).split())[:200]})") from error
    for number in sorted(set(np.unique(mask[mask != 0]).tolist()) | set(places)):
        if number:
            _compare(path, number, mask == number, found == number, places.get(number), volumes, grid)


def _read(
    written: Dataset, path: Path, shape: tuple[int, ...], grid: _Grid
) -> tuple[LabelMask, dict[int, Float64], dict[int, float]]:
    """Segment numbers on the grid; (N, 3) voxel centres in mm, and volume in mm³, by segment number."""
    pixels = written.pixel_array.reshape(-1, int(written.Rows), int(written.Columns))
    labelmap = str(written.SegmentationType) == "LABELMAP"
    shared = tuple(written.get("SharedFunctionalGroupsSequence") or ())
    groups = written.PerFrameFunctionalGroupsSequence
    if len(groups) != len(pixels):
        raise _differs(path, f"it describes {len(groups)} frames and holds {len(pixels)}")
    found = np.zeros(shape, np.uint16)
    places: dict[int, list[Float64]] = {}
    volumes: dict[int, float] = {}
    for index, (group, picture) in enumerate(zip(groups, pixels, strict=True)):
        frame = Frame(Instance(path, written), index, (group, *shared))
        numbers = np.unique(picture[picture > 0]).tolist() if labelmap else [_segment(group, shared)]
        for number in numbers:
            inside = picture == number if labelmap else picture > 0
            at, centres, voxel = _place(frame, inside, path, shape, grid)
            places.setdefault(number, []).append(centres)
            volumes[number] = volumes.get(number, 0.0) + len(centres) * voxel
            found[at] = number
    return found, {number: np.concatenate(parts) for number, parts in places.items()}, volumes


def _segment(group: Dataset, shared: tuple[Dataset, ...]) -> int:
    for part in (group, *shared):
        for item in part.get("SegmentIdentificationSequence") or ():
            return int(item.ReferencedSegmentNumber)
    raise ValueError("a frame names no segment")


def _place(
    frame: Frame, inside: npt.NDArray[np.bool_], path: Path, shape: tuple[int, ...], grid: _Grid
) -> tuple[tuple[npt.NDArray[np.intp], ...], Float64, float]:
    """Where a frame's voxels are: indices on the grid, (N, 3) centres in mm, and the volume of one in mm³."""
    try:
        position = np.array(frame.numbers("ImagePositionPatient", 3))
        cosines = np.array(frame.numbers("ImageOrientationPatient", 6))
        down, across = frame.numbers("PixelSpacing", 2)
        (step,) = frame.numbers("SpacingBetweenSlices", 1)
    except GeometryError as error:
        raise _differs(path, f"frame {frame.index + 1} has no place in the patient") from error
    if np.abs(cosines - np.concatenate([grid.axes[:, 0], grid.axes[:, 1]])).max() > COSINE_TOLERANCE:
        raise _differs(
            path, f"the orientation of frame {frame.index + 1} is {_shown(cosines)}, not the image's"
        )
    rows, columns = np.nonzero(inside)
    centres = position + columns[:, None] * across * cosines[:3] + rows[:, None] * down * cosines[3:]
    z = int(np.argmin(np.abs((grid.slices - position) @ grid.axes[:, 2])))
    away = (centres if len(centres) else position[None]) - grid.slices[z]
    index = np.stack([away @ grid.axes[:, 1] / grid.pixel[1], away @ grid.axes[:, 0] / grid.pixel[0]], axis=1)
    nearest = np.rint(index)
    off = np.abs(
        np.column_stack([(index - nearest) * (grid.pixel[1], grid.pixel[0]), away @ grid.axes[:, 2]])
    )
    if off.max() > PLACE_TOLERANCE_MM:
        raise _differs(
            path,
            f"frame {frame.index + 1} lies beside the image's voxels by {off.max():.3g} mm (position or spacing)",
        )
    if len(centres) and ((nearest < 0) | (nearest >= shape[1:])).any():
        raise _differs(path, f"frame {frame.index + 1} reaches out of the image (position or spacing)")
    y, x = nearest[: len(centres)].astype(np.intp).T
    return (np.full(len(y), z), y, x), centres, down * across * step


def _compare(
    path: Path,
    number: int,
    meant: npt.NDArray[np.bool_],
    found: npt.NDArray[np.bool_],
    places: Float64 | None,
    volumes: dict[int, float],
    grid: _Grid,
) -> None:
    """One segment."""
    count, expected = 0 if places is None else len(places), int(np.count_nonzero(meant))
    what = f"segment {number}"
    if count != expected:
        raise _differs(path, f"{what} has {count} voxels instead of {expected}")
    if places is None or not expected:
        return
    volume = expected * grid.pixel[0] * grid.pixel[1] * grid.step
    if abs(volumes[number] - volume) > VOLUME_TOLERANCE * volume:
        raise _differs(path, f"the volume of {what} is {volumes[number]:.6g} mm3 instead of {volume:.6g} mm3")
    z, y, x = np.nonzero(meant)
    centre = (
        grid.slices[z].mean(axis=0)
        + x.mean() * grid.pixel[0] * grid.axes[:, 0]
        + y.mean() * grid.pixel[1] * grid.axes[:, 1]
    )
    distance = float(np.linalg.norm(places.mean(axis=0) - centre))
    if distance > PLACE_TOLERANCE_MM:
        raise _differs(path, f"the centroid of {what} is {distance:.3g} mm away from the mask's")
    if not np.array_equal(meant, found):
        raise _differs(
            path, f"{int((meant != found).sum())} voxels of {what} are not where the mask has them"
        )


def _differs(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path.name}, read again, is not the mask that was meant: {what}; nothing of this study is delivered."
    )


def _shown(cosines: Float64) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in cosines) + ")"
