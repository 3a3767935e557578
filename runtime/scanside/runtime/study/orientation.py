"""Prone, feet first, turned in the plane: images are brought to the orientation in which the network was trained.

Flips and swaps of axes alone: no value changes, so that a turned study gives, voxel by voxel, what it gives unturned.
What they leave, a tilt, is measured by the limits of `checks.py`. Results go back to the grid on which images came.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from scanside.runtime.errors import InputError
from scanside.runtime.images.letters import USUAL
from scanside.runtime.images.orient import orientation, reorient, restore_orientation
from scanside.runtime.remark import Remark
from scanside.runtime.study.checks import AXIAL, NEARLY_AXIAL
from scanside.runtime.study.records import RoleResult, SequenceImage, StudyInput

Trained = Mapping[str, tuple[str, ...]]
"""Sequence → orientations of the training cohort's images, the most frequent first; of `Manifest.orientation`."""


def as_trained(study: StudyInput, trained: Trained) -> StudyInput:
    """Bring every image to the orientation of the training cohort.

    A bundle that does not say how its cohort lay: DICOM images are brought to `USUAL`; files, whose owner has chosen
    their orientation, stay as they are.

    Returns:
        The study, with a warning for each image that was turned.

    Raises:
        InputError: If an axial image is turned within its slices so far that flips and swaps do not undo it.
    """
    images, warnings = dict(study.images), list(study.warnings)
    for name, image in study.images.items():
        if not _axial(image):
            continue  # refused by `check_study`, in its own words
        warnings += _turned_within(image)
        stored, wanted = orientation(image.volume.geometry), _wanted(image, trained)
        if stored not in wanted:
            volume, _ = reorient(image.volume, wanted[0])
            images[name] = replace(image, volume=volume, computed_as=wanted[0])
            words = f"{name} ({image.series}) is stored as {stored} and was computed as {wanted[0]}, as in training."
            warnings.append(Remark(words, "orientation"))
    return replace(study, images=images, warnings=tuple(warnings))


def as_received(checked: StudyInput, received: StudyInput) -> StudyInput:
    """The checked study with turned images on their own grids again, for what is shown and referred to."""
    images = {
        name: replace(image, volume=received.images[name].volume) if image.computed_as else image
        for name, image in checked.images.items()
    }
    return replace(checked, images=images)


def on_received_grid(result: RoleResult, computed: SequenceImage, received: SequenceImage) -> RoleResult:
    """A segmenter's masks on the grid on which its image came. Lesions are in mm of the patient and stay."""
    if computed.computed_as is None:
        return result
    grids = computed.volume.geometry, received.volume.geometry
    return replace(
        result, mask=restore_orientation(result.mask, *grids), main=restore_orientation(result.main, *grids)
    )


def _wanted(image: SequenceImage, trained: Trained) -> tuple[str, ...]:
    if image.name in trained:
        return trained[image.name]
    return (USUAL,) if image.source is not None else (orientation(image.volume.geometry),)


def _axial(image: SequenceImage) -> bool:
    grid = image.volume.geometry
    return grid.dimension == 3 and abs(float(grid.direction_matrix[2, 2])) > AXIAL


def _turned_within(image: SequenceImage) -> list[str]:
    """Refuse or warn of rows that run neither from side to side nor from front to back."""
    cosine = float(np.abs(image.volume.geometry.direction_matrix[:2, 0]).max())
    what, degrees = f"{image.name} ({image.series})", np.degrees(np.arccos(min(cosine, 1.0)))
    if cosine <= AXIAL:
        raise InputError(
            f"{what} is turned by {degrees:.0f}° within its slices, which no flip or swap of axes undoes; give a "
            "series whose rows run from side to side."
        )
    if cosine >= NEARLY_AXIAL:
        return []
    return [Remark(f"{what} is turned by {degrees:.0f}° within its slices.", "tilted")]
