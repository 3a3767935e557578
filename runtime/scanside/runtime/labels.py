"""Names and values of a mask's labels: which a person wants, and what viewers call them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scanside.runtime.errors import UsageError
from scanside.runtime.plan import Labels
from scanside.runtime.volume import Geometry

if TYPE_CHECKING:
    from scanside.runtime.segmenter import Segmentation

_COLORS = (
    (230, 25, 75), (255, 225, 25), (0, 130, 200), (60, 180, 75), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 190),
)  # fmt: skip
"""Told apart on grey, the most different first (S. Trubetskoy's list of 20 distinct colours)."""


def segment_color(number: int) -> tuple[int, int, int]:
    """The colour of a segment, RGB: `Lesion 1` is red, and no two of ten are alike."""
    return _COLORS[(number - 1) % len(_COLORS)]


@dataclass(frozen=True)
class Roi:
    """The labels that a mask keeps.

    Attributes:
        names: Labels or regions, as the model calls them.
        values: Their integers in a mask, ascending.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]


def flat_labels(labels: Labels, roi: Roi | None = None) -> dict[str, int]:
    """A name for every value of a mask but background; a value that occurs in regions only gets their names."""
    flat = {name: value for name, value in labels.names.items() if isinstance(value, int) and value != 0}
    for value in labels.foreground:
        if value not in flat.values():
            regions = (n for n, v in labels.names.items() if isinstance(v, tuple) and value in v)
            flat[" ∩ ".join(regions)] = value
    return flat if roi is None else {name: value for name, value in flat.items() if value in roi.values}


def choose_roi(labels: Labels, wanted: Sequence[str]) -> Roi:
    """The labels that a person names.

    Args:
        wanted: Names, or for a model without regions integers as text; in any order.

    Raises:
        UsageError: If there is no such label, if it is the background, or if it is not clear which one is meant.
    """
    foreground = {name: value for name, value in labels.names.items() if value not in (0, (0,))}
    names = [_named(labels, foreground, one.strip()) for one in wanted]
    ordered = tuple(name for name in foreground if name in names)
    values = {v for name in ordered for v in _integers(foreground[name])}
    return Roi(ordered, tuple(sorted(values)))


def keep_roi(result: "Segmentation", roi: Roi) -> "Segmentation":
    """A result with the labels of `roi` alone: all else is background, and the sizes are those of its labels.

    Nothing is computed anew: a voxel of the mask has the value it had, or 0. Probabilities and logits stay whole.
    """
    table = np.zeros(int(result.mask.max(initial=0)) + 1, result.mask.dtype)
    kept = [value for value in roi.values if value < table.size]
    table[kept] = kept

    def of(sizes: Mapping[str, float] | None) -> dict[str, float] | None:
        return None if sizes is None else {name: size for name, size in sizes.items() if name in roi.names}

    words = f"Only {', '.join(roi.names)} stand in the mask (--roi); the model's other labels are background there."
    return replace(
        result,
        mask=table[result.mask],
        volumes_ml=of(result.volumes_ml),
        areas_mm2=of(result.areas_mm2),
        remarks=(*result.remarks, words),
    )


def _named(labels: Labels, foreground: Mapping[str, int | tuple[int, ...]], word: str) -> str:
    known = ", ".join(foreground)
    by_value = [name for name, value in foreground.items() if word.isdecimal() and value == int(word)]
    if word in foreground:
        if by_value not in ([], [word]):
            raise UsageError(
                f"--roi {word} may be the label called '{word}' or {by_value[0]}, whose value it is; name "
                f"{by_value[0]}, or leave --roi out."
            )
        return word
    if word in labels.names or word == "0":
        raise UsageError(
            f"--roi {word} is the background, which is what all else becomes; choose from {known}."
        )
    if word.isdecimal() and labels.has_regions:
        raise UsageError(
            f"--roi {word} is not clear: in a model of regions one value is in several of them; choose from {known}."
        )
    if not by_value:
        raise UsageError(f"The model has no label '{word}'; choose from {known}.")
    return by_value[0]


def _integers(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def slicer_fields(named: Mapping[str, int], geometry: Geometry) -> dict[str, str]:
    """Fields of an NRRD header by which 3D Slicer shows segments with their names.

    Args:
        named: Name → value, from `flat_labels`.
        geometry: Grid of the mask.

    Source: Slicer's developer guide, "Segmentation labelmap file format (.seg.nrrd)", and its
    `vtkMRMLSegmentationStorageNode`, which still writes and reads `MasterRepresentation`.
    """
    z, y, x = geometry.shape
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, (name, value) in enumerate(named.items()):
        color = " ".join(f"{part / 255:.6f}" for part in segment_color(value))
        facts = {
            "ID": f"Segment_{value}",
            "Name": _one_line(name),
            "NameAutoGenerated": "0",
            "Color": color,
            "ColorAutoGenerated": "0",
            "Extent": f"0 {x - 1} 0 {y - 1} 0 {z - 1}",
            "LabelValue": str(value),
            "Layer": "0",
            "Tags": "|",
        }
        fields |= {f"Segment{number}_{key}": text for key, text in facts.items()}
    return fields


def itksnap_table(named: Mapping[str, int]) -> str:
    """ITK-SNAP's label description file (Segmentation → Import Label Descriptions).

    Source: ITK-SNAP, `ColorLabelTable::LoadFromFile`: seven numbers, then a name between quotation marks.
    """
    rows = ["# ITK-SnAP Label Description File", "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL"]
    rows.append('    0     0    0    0        0  0  0    "Clear Label"')
    for name, value in named.items():
        r, g, b = segment_color(value)
        rows.append(
            f'{value:5} {r:5} {g:4} {b:4}        1  1  1    "{_one_line(name).replace(chr(34), chr(39))}"'
        )
    return "\n".join(rows) + "\n"


def slicer_table(named: Mapping[str, int]) -> str:
    """A colour table (.ctbl), which 3D Slicer takes beside a segmentation that has no header for names, as NIfTI.

    Names lose their spaces, as in the tables that Slicer writes: the columns are separated by spaces.
    """
    rows = ["# Color table of a segmentation: value, name, R, G, B, A", "0 background 0 0 0 0"]
    for name, value in named.items():
        rows.append(" ".join(map(str, (value, "_".join(name.split()), *segment_color(value), 255))))
    return "\n".join(rows) + "\n"


def _one_line(name: str) -> str:
    return " ".join(name.split())
