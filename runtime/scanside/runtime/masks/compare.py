"""Two masks on one grid → overlap, surface distances and sizes of each label.

Dice is that of nnU-Net v2 `evaluate_predictions.py:compute_metrics`: absent where neither mask has the label, and
voxels that the reference ignores count nowhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import LabelMask, Mask
from scanside.runtime.errors import GeometryError, InputError
from scanside.runtime.masks.distances import distances
from scanside.runtime.masks.overlap import overlap
from scanside.runtime.masks.report import LabelScores
from scanside.runtime.volume import Geometry, Volume


@dataclass(frozen=True, eq=False)
class Labelled:
    """A mask of labels on its grid.

    Attributes:
        mask: (Z, Y, X) uint16.
        geometry: Its grid.
    """

    mask: LabelMask
    geometry: Geometry

    @property
    def values(self) -> set[int]:
        """The labels that occur, without background."""
        return {int(value) for value in np.unique(self.mask)} - {0}


def as_labels(volume: Volume, name: str) -> Labelled:
    """An image that was read as a mask of labels.

    Args:
        volume: (1, Z, Y, X).
        name: The file's, for the sentence of the refusal.

    Raises:
        InputError: If it has several channels, or values that are no labels.
    """
    if volume.channels != 1:
        raise InputError(f"{name} has {volume.channels} channels; a mask has one.")
    data = volume.data[0]
    wrong = data[(data != np.rint(data)) | (data < 0) | (data > np.iinfo(np.uint16).max)]
    if wrong.size:
        raise InputError(f"{name} is no mask of labels: it holds the value {wrong.flat[0]:g}; give a mask.")
    return Labelled(data.astype(np.uint16), volume.geometry)


def compare(
    prediction: Labelled,
    reference: Labelled,
    labels: Mapping[str, tuple[int, ...]],
    tolerance_mm: float,
    ignore: int | None = None,
) -> tuple[LabelScores, ...]:
    """Scores of every label or region, in the order of `labels`.

    Args:
        labels: Name → the integers that are it.
        tolerance_mm: Of surface Dice.
        ignore: Voxels that have this label in the reference count nowhere.

    Raises:
        GeometryError: If the masks do not lie on one grid.
    """
    difference = prediction.geometry.difference(reference.geometry)
    if difference or prediction.geometry.dimension != reference.geometry.dimension:
        raise GeometryError(
            f"the prediction does not lie on the grid of the reference ({difference or '2-D against 3-D'}); "
            "resample it to that grid first"
        )
    counted = None if ignore is None else reference.mask != ignore
    return tuple(
        _scores(
            name,
            _region(prediction.mask, values, counted),
            _region(reference.mask, values, counted),
            reference.geometry,
            tolerance_mm,
        )
        for name, values in labels.items()
    )


def _region(mask: LabelMask, values: Iterable[int], counted: Mask | None) -> Mask:
    inside: Mask = np.isin(mask, list(values))
    return inside if counted is None else inside & counted


def _scores(
    name: str, prediction: Mask, reference: Mask, geometry: Geometry, tolerance: float
) -> LabelScores:
    flat = geometry.dimension == 2
    both = overlap(reference, prediction, geometry.spacing)
    voxels = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    dice = surface = hd95 = None
    if any(voxels):
        dice = both.dice
    if any(voxels) and geometry.scaled:
        measured = distances(reference, prediction, geometry.spacing, (tolerance,), flat=flat)
        surface = min(measured.nsd[tolerance], 1.0)
        hd95 = measured.hd95_mm if all(voxels) else None
    measure = geometry.measure
    areas = [count * geometry.pixel_area_mm2 for count in voxels]
    return LabelScores(
        label=name,
        dice=dice,
        surface_dice=surface,
        hd95_mm=hd95,
        prediction_voxels=voxels[0],
        reference_voxels=voxels[1],
        prediction_ml=both.automatic_ml if measure == "ml" else None,
        reference_ml=both.reference_ml if measure == "ml" else None,
        prediction_mm2=areas[0] if measure == "mm2" else None,
        reference_mm2=areas[1] if measure == "mm2" else None,
    )
