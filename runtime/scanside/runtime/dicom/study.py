"""A folder with a whole study, any nesting → its image series, each split into the volumes that it holds.

Only headers are read. A series with several b-values holds a volume each; Philips puts derived maps in there as well.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.multival import MultiValue

from scanside.runtime.dicom.bvalue import BValue, b_value, without_gradient
from scanside.runtime.dicom.duplicates import SAME_PLACE_MM
from scanside.runtime.dicom.frames import Frame, frames_of
from scanside.runtime.dicom.grid import regular_grid
from scanside.runtime.dicom.header import Instance, attribute, has_pixels, one_line, quiet, read_instance
from scanside.runtime.dicom.private import Private, private_value
from scanside.runtime.dicom.series import NOT_PICTURES, has_dicom_name
from scanside.runtime.errors import ImageReadError, InputError
from scanside.runtime.images.names import has_dicom_mark
from scanside.runtime.volume import Geometry


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """One volume of a series, by its headers.

    Attributes:
        path: Folder of the first file.
        series_uid: (0020,000E).
        frames: Its slices; in z order where they form a grid.
        b: The b-value; None where none is stated.
        geometry: The grid; None where the slices form none.
        problem: Why not, in a sentence.
    """

    path: Path
    series_uid: str
    frames: tuple[Frame, ...]
    b: BValue | None
    geometry: Geometry | None
    problem: str | None

    @property
    def series_name(self) -> str:
        """What a person calls the series: number and description."""
        header = self.frames[0].instance.header
        number = attribute(header, "SeriesNumber")
        words = (
            attribute(header, "SeriesDescription") or attribute(header, "ProtocolName") or "no description"
        )
        return f"{'no number' if number is None else number} '{one_line(words)}'"

    @property
    def name(self) -> str:
        """What a person calls it: series number, description, b-value."""
        return self.series_name + ("" if self.b is None else f" b={self.b.nominal:g}")


@dataclass(frozen=True, eq=False)
class DicomStudy:
    """What a folder holds.

    Attributes:
        path: The folder.
        volumes: Of all image series, in the order of series number and b-value.
        refused: Series that hold no volume at all, with the reason: colour images, mosaics.
        passed_over: Number of files that are no DICOM images.
    """

    path: Path
    volumes: tuple[SeriesVolume, ...]
    refused: tuple[tuple[str, str], ...]
    passed_over: int


def index_study(path: Path) -> DicomStudy:
    """Read the headers of every DICOM image below a folder (or of one file).

    Raises:
        ImageReadError: If a file that carries the mark of DICOM cannot be read: it may be a slice.
        InputError: If there is no image, or there are images of more than one study or patient.
    """
    files = [path] if path.is_file() else _files_below(path)
    images = [instance for file in files if (instance := _image(file)) is not None]
    if not images:
        raise InputError(f"{path} holds no DICOM images; pass a folder with the study's series.")
    with quiet():
        _refuse_mixture(path, images)
        found: dict[str, list[Instance]] = {}
        for instance in images:
            found.setdefault(str(attribute(instance.header, "SeriesInstanceUID") or ""), []).append(instance)
        volumes: list[SeriesVolume] = []
        refused: list[tuple[str, str]] = []
        for uid, instances in sorted(found.items(), key=lambda item: (_number(item[1][0]), item[0])):
            try:
                volumes += volumes_of(frames_of(instances), uid)
            except InputError as error:
                refused.append(
                    (SeriesVolume(path, uid, (Frame(instances[0]),), None, None, None).name, str(error))
                )
    return DicomStudy(path, tuple(volumes), tuple(refused), len(files) - len(images))


def volumes_of(frames: list[Frame], series_uid: str = "") -> list[SeriesVolume]:
    """Split the frames of one series into volumes, and try each against the geometry gate."""
    by_b: dict[int | None, list[Frame]] = {}
    values: dict[int | None, BValue | None] = {}
    stated = [b_value(frame) for frame in frames]
    weighted = any(b is not None and b.nominal > 0 for b in stated)
    for frame, b in zip(frames, stated, strict=True):
        if b is None and weighted:
            b = without_gradient(frame)
        key = None if b is None else b.group
        by_b.setdefault(key, []).append(frame)
        values.setdefault(key, b)
    ordered = sorted(by_b, key=lambda b: -1 if b is None else b)
    return [_volume(part, series_uid, values[key]) for key in ordered for part in _without_doubles(by_b[key])]


def _volume(frames: list[Frame], series_uid: str, b: BValue | None) -> SeriesVolume:
    folder = frames[0].instance.path.parent
    unproven = SeriesVolume(folder, series_uid, tuple(frames), b, None, None)
    try:
        frames, geometry = regular_grid(frames, f"series {unproven.name}")
    except InputError as error:
        return replace(unproven, problem=str(error))
    return SeriesVolume(folder, series_uid, tuple(frames), b, geometry, None)


def _files_below(folder: Path) -> list[Path]:
    def visible(file: Path) -> bool:
        return not any(part.startswith(".") for part in file.relative_to(folder).parts)

    try:
        return sorted(file for file in folder.rglob("*") if file.is_file() and visible(file))
    except OSError as error:
        raise InputError(f"{folder} cannot be opened ({error.strerror}); check its permissions.") from error


def _image(file: Path) -> Instance | None:
    """The header of a picture, or None for anything else. Marked as DICOM and unreadable is an error."""
    marked = has_dicom_mark(file)
    if file.name == "DICOMDIR" or not (marked or has_dicom_name(file)):
        return None
    try:
        instance = read_instance(file)
    except ImageReadError:
        if marked:
            raise
        return None
    picture = has_pixels(instance.header) and instance.header.SOPClassUID not in NOT_PICTURES
    return instance if picture else None


def _refuse_mixture(path: Path, images: list[Instance]) -> None:
    for keyword, what in (("StudyInstanceUID", "studies"), ("PatientID", "patients")):
        values = sorted({str(attribute(image.header, keyword) or "") for image in images})
        if len(values) > 1:
            raise InputError(
                f"{path} holds images of {len(values)} {what}; put one study into a folder of its own."
            )


def _number(instance: Instance) -> float:
    try:
        return float(attribute(instance.header, "SeriesNumber"))
    except (TypeError, ValueError):
        return float("inf")


def _attribute(keyword: str) -> Callable[[Frame], Hashable]:
    def value(frame: Frame) -> Hashable:
        found: Any = frame.get(keyword)
        return tuple(map(str, found)) if isinstance(found, MultiValue | list) else str(found)

    return value


def directionality(frame: Frame) -> str:
    """(0018,9075) `ISOTROPIC`, `DIRECTIONAL`, `BMATRIX`, `NONE`; empty where it is not stated."""
    for group in frame.groups:
        for item in attribute(group, "MRDiffusionSequence") or ():
            return str(attribute(item, "DiffusionDirectionality") or "")
    header = frame.header
    stated = str(attribute(header, "DiffusionDirectionality") or "")
    if not stated and private_value(header, _PHILIPS_DIRECTION) in ("I", ["I"]):
        return "ISOTROPIC"
    return stated


_PHILIPS_DIRECTION = Private("Philips", 0x2001, 0x04, ("PHILIPS IMAGING DD 001",))
"""`I` for the trace image; a letter for each direction, `O` for an oblique one."""


def gradient(frame: Frame) -> tuple[str, ...]:
    """(0018,9089), the direction of the diffusion gradient; empty where none, or (0, 0, 0), is stated."""
    value = attribute(frame.header, "DiffusionGradientOrientation")
    for group in frame.groups:
        for item in attribute(group, "MRDiffusionSequence") or ():
            for inner in attribute(item, "DiffusionGradientDirectionSequence") or ():
                value = attribute(inner, "DiffusionGradientOrientation")
    try:
        parts = () if value is None else tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return ()
    return tuple(f"{part:.4f}" for part in parts) if any(parts) else ()


_TELLING: tuple[Callable[[Frame], Hashable], ...] = (
    _attribute("FrameType"),
    _attribute("ImageType"),
    _attribute("ComplexImageComponent"),
    directionality,
    gradient,
    _attribute("EchoTime"),
    _attribute("EffectiveEchoTime"),
    _attribute("SequenceName"),
    _attribute("TemporalPositionIdentifier"),
    _attribute("TemporalPositionIndex"),
    _attribute("StackID"),
    _attribute("AcquisitionNumber"),
)
"""What tells volumes of one series and b-value apart, most telling first."""


def _without_doubles(frames: list[Frame]) -> list[list[Frame]]:
    """Split frames until no two lie at one position, by attributes that give no more volumes than there are doubles."""
    doubles = _most_at_one_place(frames)
    if doubles > 1:
        for telling in _TELLING:
            parts: dict[Hashable, list[Frame]] = {}
            for frame in frames:
                parts.setdefault(telling(frame), []).append(frame)
            if 1 < len(parts) <= doubles:
                return [volume for part in parts.values() for volume in _without_doubles(part)]
    return [frames]


def _most_at_one_place(frames: list[Frame]) -> int:
    """The largest number of frames at one position; 1 where positions cannot be read, which the gate refuses."""
    try:
        positions = np.array([frame.numbers("ImagePositionPatient", 3) for frame in frames])
    except InputError:
        return 1
    _, counts = np.unique(np.rint(positions / SAME_PLACE_MM), axis=0, return_counts=True)
    return int(counts.max())
