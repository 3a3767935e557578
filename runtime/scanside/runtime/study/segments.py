"""A segmenter's mask → the segments of its Segmentation: each lesion has a value of its own."""

from collections.abc import Mapping

import numpy as np

from scanside.runtime.arrays import LabelMask
from scanside.runtime.images.orient import reoriented, restore_orientation
from scanside.runtime.stages.lesions import main_lesion
from scanside.runtime.study.records import RoleResult, SequenceImage

MOST_LESIONS = 10
"""Lesions of a segmenter that have a segment and a group each; smaller ones share a segment."""


def lesion_segments(
    mask: LabelMask, lesion: int, names: Mapping[int, str]
) -> tuple[LabelMask, dict[str, int]]:
    """A segmenter's mask with a value a lesion: `Lesion 1` is the largest.

    Args:
        mask: (Z, Y, X), the segmenter's labels.
        lesion: The lesion's label.
        names: Value → name of every foreground label.

    Returns:
        The mask, and name → value. Lesions come first, from 1; `MOST_LESIONS` of them have a value of their own.
        Without a lesion there is still a segment for it, without a voxel: it was looked for.
    """
    left = mask == lesion
    made = np.zeros(mask.shape, np.uint16)
    labels: dict[str, int] = {}
    word = names[lesion].capitalize()
    while left.any():
        number = len(labels) + 1
        if number > MOST_LESIONS:
            labels[f"Further {word.lower()}s"] = number
            made[left] = number
            break
        one = main_lesion(left.astype(np.uint8)) > 0
        labels[f"{word} {number}"] = number
        made[one] = number
        left &= ~one
    labels = labels or {word: 1}
    for value in sorted(set(names) | set(np.unique(mask[mask != 0]).tolist())):
        if value not in (0, lesion):
            labels[names.get(value, f"Label {value}").capitalize()] = len(labels) + 1
            made[mask == value] = len(labels)
    return made, labels


def numbered(
    found: RoleResult, image: SequenceImage, lesion: int, names: Mapping[int, str]
) -> tuple[LabelMask, dict[str, int]]:
    """`lesion_segments` in the orientation of the computation: of two lesions of one size the same one is the first."""
    if image.computed_as is None:
        return lesion_segments(found.mask, lesion, names)
    grid = image.volume.geometry
    turned, oriented = reoriented(found.mask, grid, image.computed_as)
    mask, labels = lesion_segments(turned, lesion, names)
    return restore_orientation(mask, oriented, grid), labels
