"""Is this study fit for the model? Geometry, patient, units: what fails is refused before anything runs.

Hard limits are about images that the model cannot have been trained for, or that do not belong together. Soft ones
warn.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import InputError
from scanside.runtime.remark import Remark
from scanside.runtime.study.diffusion import grid_points, in_unit, indices_in, inside, onto_grid
from scanside.runtime.study.quality import body_of, check_picture
from scanside.runtime.study.records import SequenceImage, StudyInput
from scanside.runtime.volume import Geometry

FEWEST_SLICES = 5
SHORTEST_MM = 40.0
"""A stack of slices shorter than this shows no abdomen."""
USUAL_MM = 120.0
"""Through-plane coverage of an abdominal protocol."""
NARROWEST_MM, USUAL_WIDTH_MM = 100.0, 200.0
"""A field of view narrower than the first shows no abdomen; one narrower than the second is warned of."""
LARGEST_MM = 1000.0
"""No scanner's field of view is larger: the header is wrong, and memory would not do."""
AXIAL, NEARLY_AXIAL = 0.9, 0.94
"""|cosine| between slice normal and body axis: refused below the first (26°), warned of below the second (20°)."""
LEAST_OVERLAP = 0.5
"""Part of the smaller field of view that T2WI and DWI must share."""
ANISOTROPY = 12.0
_ON_DWI = ("b0", "adc")


def check_study(study: StudyInput) -> StudyInput:
    """Check a study and bring b0 and ADC to the grid and unit that the model expects.

    Returns:
        The study with ADC in 1e-6 mm²/s on the grid of the DWI, and with further warnings.

    Raises:
        InputError: What makes it unsuitable, and what to do.
    """
    images = dict(study.images)
    warnings: list[str] = list(study.warnings)
    bodies: dict[str, npt.NDArray[np.bool_]] = {}
    _refuse_mixture(images.values())
    for image in images.values():
        _refuse_picture(image)
        if image.name not in _ON_DWI:
            warnings += _check_stack(image)
        if image.name != "adc":
            bodies[image.name] = body_of(image.volume)
            warnings += check_picture(image, bodies[image.name])
    if "t2w" in images and "dwi" in images:
        _refuse_apart(images["t2w"], images["dwi"])
    for name in (name for name in _ON_DWI if name in images and "dwi" in images):
        _refuse_another_frame(images[name], images["dwi"])
    for name in (name for name in _ON_DWI if name in images):
        if "dwi" in images and (difference := _difference(images[name], images["dwi"])):
            volume = onto_grid(images[name].volume, images["dwi"].volume.geometry, name)
            images[name] = replace(images[name], volume=volume)
            moved = f"{name} had another grid than dwi ({difference}); it was interpolated linearly."
            warnings.append(Remark(moved, "interpolated"))
    if "adc" in images:
        body = bodies["dwi"] if "dwi" in images else body_of(images["adc"].volume)
        converted, warning = in_unit(images["adc"].volume, body)
        images["adc"] = replace(images["adc"], volume=converted)
        warnings += [Remark(warning, "adc-unit")] if warning else []
    return replace(study, images=images, warnings=tuple(warnings))


def overlap(a: Geometry, b: Geometry) -> float:
    """The larger of the parts of each field of view that lie in the other one."""

    def part(one: Geometry, other: Geometry) -> float:
        return float(inside(other, indices_in(other, grid_points(_coarse(one)))).mean())

    return max(part(a, b), part(b, a))


def _coarse(grid: Geometry, points: int = 16) -> Geometry:
    """The same field of view with at most `points` voxels an axis."""
    shape = tuple(min(size, points) for size in grid.shape)
    spacing = tuple(mm * size / n for mm, size, n in zip(grid.spacing, grid.shape, shape, strict=True))
    shift = [(new - old) / 2 for new, old in zip(spacing, grid.spacing, strict=True)][::-1]
    origin = np.array(grid.origin) + grid.direction_matrix @ np.array(shift)
    return replace(
        grid,
        shape=(shape[0], shape[1], shape[2]),
        spacing=(spacing[0], spacing[1], spacing[2]),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _refuse_mixture(images: Iterable[SequenceImage]) -> None:
    """Images of two patients or studies must never meet in one result."""
    sources = [
        (image, header) for image in images if image.source is not None for header in image.source.headers
    ]
    for keyword, what in (("PatientID", "patients"), ("StudyInstanceUID", "studies")):
        values = {str(header.get(keyword) or "") for _, header in sources}
        if len(values) > 1:
            names = " and ".join(dict.fromkeys(image.series for image, _ in sources))
            raise InputError(f"The sequences are of different {what} ({names}); give images of one study.")


def _refuse_picture(image: SequenceImage) -> None:
    data = image.volume.data
    if not float(data.max()) > float(data.min()):
        raise InputError(
            f"{image.name} ({image.series}) is empty: every voxel is {data.flat[0]:g}; send it again."
        )
    if image.source is not None and any(
        str(header.get("BurnedInAnnotation") or "").upper() == "YES" for header in image.source.headers
    ):
        raise InputError(f"{image.name} ({image.series}) has text burned into it; give the original images.")


def _check_stack(image: SequenceImage) -> list[str]:
    """Refuse what is no stack of axial slices of an abdomen; warn of what is unusual."""
    grid, what = image.volume.geometry, f"{image.name} ({image.series})"
    sizes = [count * mm for count, mm in zip(grid.shape, grid.spacing, strict=True)]
    slices, length, width = grid.shape[0], sizes[0], min(sizes[1:])
    axial = abs(float(grid.direction_matrix[2, 2]))
    if grid.dimension != 3 or slices < FEWEST_SLICES:
        raise InputError(f"{what} has {slices} slice(s), fewer than {FEWEST_SLICES}; give the whole stack.")
    if length < SHORTEST_MM:
        raise InputError(
            f"{what} covers {length:.0f} mm from head to foot, less than {SHORTEST_MM:g}; give the whole stack."
        )
    if width < NARROWEST_MM:
        raise InputError(
            f"{what} has a field of view of {sizes[1]:.0f} × {sizes[2]:.0f} mm, less than {NARROWEST_MM:g}; give a "
            "series of the whole abdomen."
        )
    if max(sizes) > LARGEST_MM:
        raise InputError(
            f"{what} measures {max(sizes):.4g} mm by its header, more than any scanner's field of view; export it "
            "again."
        )
    if axial <= AXIAL:
        raise InputError(f"{what} is not axial; give an axial series.")
    warnings: list[str] = []
    if axial < NEARLY_AXIAL:
        tilted = f"{what} is tilted by {np.degrees(np.arccos(axial)):.0f}° from axial."
        warnings.append(Remark(tilted, "tilted"))
    if length < USUAL_MM:
        short = f"{what} covers only {length:.0f} mm from head to foot; parts of the organ may be missing."
        warnings.append(Remark(short, "coverage"))
    if width < USUAL_WIDTH_MM:
        narrow = f"{what} covers only {sizes[1]:.0f} × {sizes[2]:.0f} mm within its slices; the body may be cut off."
        warnings.append(Remark(narrow, "coverage"))
    if max(grid.spacing) > ANISOTROPY * min(grid.spacing):
        thick = (
            f"{what} has slices {grid.spacing[0]:.3g} mm apart at pixels of {min(grid.spacing[1:]):.2g} mm."
        )
        warnings.append(Remark(thick, "anisotropic"))
    if image.source is not None and any(
        str(header.get("LossyImageCompression") or "") == "01" for header in image.source.headers
    ):
        warnings.append(Remark(f"{what} has been compressed with losses.", "lossy"))
    return warnings


def _refuse_apart(t2w: SequenceImage, dwi: SequenceImage) -> None:
    frames = [_frame_of_reference(image) for image in (t2w, dwi)]
    if all(frames) and frames[0] != frames[1]:
        raise InputError(
            "T2WI and DWI have different frames of reference: the patient was repositioned in between; "
            "give series of one positioning."
        )
    shared = overlap(t2w.volume.geometry, dwi.volume.geometry)
    if shared < LEAST_OVERLAP:
        raise InputError(
            f"T2WI and DWI share only {shared:.0%} of their field of view; give series of the same region."
        )


def _refuse_another_frame(image: SequenceImage, dwi: SequenceImage) -> None:
    """Coordinates of two frames of reference say nothing of each other, however alike their numbers are."""
    frames = [_frame_of_reference(one) for one in (image, dwi)]
    if all(frames) and frames[0] != frames[1]:
        raise InputError(
            f"{image.name} ({image.series}) and dwi ({dwi.series}) have different frames of reference: they are not of "
            "one positioning; give the map that was computed from this dwi."
        )


def _frame_of_reference(image: SequenceImage) -> str:
    return "" if image.source is None else str(image.source.frames[0].get("FrameOfReferenceUID") or "")


def _difference(image: SequenceImage, dwi: SequenceImage) -> str | None:
    return image.volume.geometry.difference(dwi.volume.geometry)
