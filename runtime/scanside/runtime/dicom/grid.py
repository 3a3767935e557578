"""The geometry gate: frames → the regular grid they form, or the reason why they do not.

Position along the slice normal decides everything. InstanceNumber, SliceThickness and SpacingBetweenSlices
are not trusted (vendors fill them differently), but for a single slice, which has no neighbour to measure.
"""

from pathlib import Path

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.runtime.dicom.duplicates import capital, refuse_duplicates
from scanside.runtime.dicom.frames import Frame
from scanside.runtime.errors import GeometryError
from scanside.runtime.volume import Geometry

COSINE_TOLERANCE = 1e-4
"""How far direction cosines may differ between slices: 0.04 mm over a 400 mm field."""

STEP_TOLERANCE_MM = 0.1
STEP_TOLERANCE_RATIO = 0.01
"""A step between slices may differ from the median by the larger of these two."""

SHEAR_TOLERANCE_PIXELS = 0.1
"""How far a slice may lie beside the normal through the first one."""

ECHO_TOLERANCE_MS = 1.0
ECHO_TOLERANCE_RATIO = 0.05
"""Echo times of one volume may differ by the larger of these two."""


def regular_grid(frames: list[Frame], path: Path | str) -> tuple[list[Frame], Geometry]:
    """Sort frames along the slice normal and prove that they lie on a regular grid.

    Args:
        frames: All frames of a series, any order.
        path: What to call them in messages: what the user passed, or the series.

    Returns:
        The frames in z order, and the geometry: z grows along row × column, spacing z from the positions.

    Raises:
        GeometryError: If sizes, pixel spacing, orientation or frame of reference change, slices are missing,
            doubled, unevenly spaced or sheared, of several time points or echoes, or an attribute is absent.
    """
    size = (frames[0].whole("Rows", path), frames[0].whole("Columns", path))
    _same([(f.get("Rows"), f.get("Columns")) for f in frames], frames, path, "the image size")
    _same([str(f.get("FrameOfReferenceUID") or "") for f in frames], frames, path, "the frame of reference")
    pixel = _alike(frames, path, "PixelSpacing", 2, 1e-3)
    axes = _axes(_alike(frames, path, "ImageOrientationPatient", 6, COSINE_TOLERANCE), path)
    positions = np.array([frame.numbers("ImagePositionPatient", 3) for frame in frames])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    ordered = [frames[i] for i in order]
    positions = positions[order]
    step = _step(ordered, positions, axes[:, 2], path)
    _refuse_shear(positions, axes[:, 2], float(pixel.min()), path)
    _refuse_moments(ordered, path)
    x, y, z = positions[0].tolist()
    geometry = Geometry(
        shape=(len(ordered), *size),
        spacing=(step, float(pixel[0]), float(pixel[1])),
        origin=(x, y, z),
        direction=tuple(axes.ravel().tolist()),
    )
    return ordered, geometry


def _same(values: list[object], frames: list[Frame], path: Path | str, what: str) -> None:
    for value, frame in zip(values, frames, strict=True):
        if value != values[0]:
            raise GeometryError(
                f"In {path} {what} differs between {frames[0].name} and {frame.name}; "
                "pass slices of one acquisition."
            )


def _alike(frames: list[Frame], path: Path | str, keyword: str, count: int, tolerance: float) -> Float64:
    values = np.array([frame.numbers(keyword, count) for frame in frames])
    off = np.flatnonzero(np.abs(values - values[0]).max(axis=1) > tolerance)
    if off.size:
        raise GeometryError(
            f"In {path} {keyword} differs between {frames[0].name} and {frames[off[0]].name}; "
            "pass slices of one orientation and resolution."
        )
    first: Float64 = values[0]
    if keyword == "PixelSpacing" and first.min() <= 0:
        raise GeometryError(f"In {path} PixelSpacing is not positive; export the original images again.")
    return first


def _axes(cosines: Float64, path: Path | str) -> Float64:
    """(3, 3): columns are the x (along a row), y (down a column) and z (row × column) direction."""
    row, column = cosines[:3], cosines[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > 1e-3:
        raise GeometryError(
            f"In {path} ImageOrientationPatient is not two perpendicular unit vectors; "
            "export the images again."
        )
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return np.stack([row, column, normal / np.linalg.norm(normal)], axis=1)


def _step(ordered: list[Frame], positions: Float64, normal: Float64, path: Path | str) -> float:
    """Distance between slices, mm; refuses gaps, doubles and uneven steps."""
    if len(ordered) == 1:
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            step = abs(ordered[0].number(keyword, 0.0))
            if step > 0:
                return step
        raise GeometryError(
            f"{capital(path)} is a single slice without SpacingBetweenSlices or SliceThickness; pass the whole series."
        )
    heights = positions @ normal
    steps = np.diff(heights)
    refuse_duplicates(ordered, steps, path)
    typical = float(np.median(steps))
    tolerance = min(max(STEP_TOLERANCE_MM, STEP_TOLERANCE_RATIO * typical), typical / 4)
    if np.abs(steps - typical).max() > tolerance:
        raise _uneven(ordered, steps, path)
    return float((heights[-1] - heights[0]) / len(steps))


def _uneven(ordered: list[Frame], steps: Float64, path: Path | str) -> GeometryError:
    smallest = float(steps.min())
    multiples = np.rint(steps / smallest)
    if np.abs(steps - multiples * smallest).max() <= max(STEP_TOLERANCE_MM, 0.05 * smallest):
        missing, at = int((multiples - 1).sum()), int(np.argmax(multiples))
        return GeometryError(
            f"In {path} {missing} slice(s) are missing, the first gap of {steps[at]:.4g} mm instead of "
            f"{smallest:.4g} mm lies between {ordered[at].name} and {ordered[at + 1].name}; "
            "send the series again."
        )
    at = int(np.argmax(np.abs(steps - np.median(steps))))
    return GeometryError(
        f"In {path} the slices are unevenly spaced, from {smallest:.4g} to {steps.max():.4g} mm (at "
        f"{ordered[at].name}); pass one stack of equidistant slices."
    )


def _refuse_shear(positions: Float64, normal: Float64, pixel: float, path: Path | str) -> None:
    along = positions - positions[0]
    beside = along - np.outer(along @ normal, normal)
    drift = float(np.linalg.norm(beside, axis=1).max())
    if drift > SHEAR_TOLERANCE_PIXELS * pixel:
        raise GeometryError(
            f"In {path} the slices drift {drift:.3g} mm sideways, as with a tilted gantry; "
            "resample them to a rectangular grid first."
        )


def _refuse_moments(ordered: list[Frame], path: Path | str) -> None:
    """A stack whose slices come from several dynamics or echoes is no image of one moment, however regular it looks."""
    for keyword, what in (
        ("TemporalPositionIdentifier", "time points"),
        ("TemporalPositionIndex", "time points"),
    ):
        values = {str(value) for frame in ordered if (value := frame.get(keyword)) is not None}
        if len(values) > 1:
            raise GeometryError(
                f"In {path} the slices are of {len(values)} {what} ({keyword}); pass one of them, complete."
            )
    for keyword in ("EchoTime", "EffectiveEchoTime"):
        times = [time for frame in ordered if (time := _time(frame, keyword)) is not None]
        if times and max(times) - min(times) > max(ECHO_TOLERANCE_MS, ECHO_TOLERANCE_RATIO * min(times)):
            raise GeometryError(
                f"In {path} the slices are of several echo times, {min(times):g} to {max(times):g} ms; "
                "pass those of one echo."
            )


def _time(frame: Frame, keyword: str) -> float | None:
    try:
        return frame.numbers(keyword, 1)[0]
    except GeometryError:
        return None
