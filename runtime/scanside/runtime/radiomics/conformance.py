"""Conformance with IBSI-1: the digital phantom's consensus values against what `extract` gives.

The phantom is 5 × 4 × 4 voxels of 2 mm with grey levels 1 to 9, 74 of 80 voxels in the mask. It was designed by Alex
Zwanenburg and is published by the IBSI (github.com/theibsi/data_sets) under CC BY 4.0, as are the reference values in
`ibsi_digital_phantom.csv`.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from scanside.runtime.radiomics.config import (
    ImageTypeSetting,
    Minimum,
    RadiomicsConfig,
    SequenceConfig,
    Setting,
)
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.radiomics.names import FEATURES, ORIGINAL, TEXTURE, Class, FeatureName, names
from scanside.runtime.volume import Geometry, Volume

Status = Literal["pass", "known deviation", "fail"]

# One character a voxel; slices from z = 0, rows from y = 0.
_GREY = (
    "14411 14611 41641 44641",
    "14411 11611 11311 44611",
    "14411 11111 11911 11611",
    "14411 11111 11111 11611",
)
_INSIDE = (
    "11111 11111 11111 11111",
    "11111 11111 01111 11111",
    "11100 11111 11011 11111",
    "11100 11111 11111 11111",
)
_DIGITS = 3
"""The manual prints values with three significant digits."""


@dataclass(frozen=True)
class Reference:
    """One consensus value.

    Attributes:
        code: IBSI's identifier of the feature.
        aggregation: How matrices of slices and directions are put together; "" where there is nothing to.
        value, tolerance: Of the manual.
    """

    kind: Class
    feature: str
    code: str
    aggregation: str
    value: float
    tolerance: float


@dataclass(frozen=True)
class Deviation:
    """A feature that pyradiomics defines otherwise than IBSI.

    Attributes:
        reason: In words.
        corrected: The value IBSI would have, from pyradiomics' value and the number of voxels. Only when this is
            within tolerance is the deviation the known one.
    """

    reason: str
    corrected: Callable[[float, int], float]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        value: What `extract` gave; None where it gave none.
        reason: Of a deviation or failure; "" for a pass.
    """

    reference: Reference
    value: float | None
    status: Status
    reason: str


def _population(value: float, voxels: int) -> float:
    return value * math.sqrt(voxels / (voxels - 1))


_AXIS = "pyradiomics divides the covariance of voxel positions by N, IBSI by N − 1"
KNOWN: dict[tuple[Class, str], Deviation] = {
    ("firstorder", "Kurtosis"): Deviation(
        "pyradiomics' kurtosis is not the excess kurtosis: it is 3 larger", lambda value, _: value - 3
    ),
    ("shape", "MinorAxisLength"): Deviation(_AXIS, _population),
    ("shape", "LeastAxisLength"): Deviation(_AXIS, _population),
}
"""Features whose values differ by definition. (The major axis differs too, but within IBSI's tolerance.)"""

NOT_SHOWN = (
    "fixed bin width: pyradiomics counts bins from 0, IBSI from the lowest grey value of the region",
    "resampling: pyradiomics aligns grids at the first voxel's corner, IBSI at the image's centre",
    "resampling: masks by nearest neighbour, where IBSI cuts an interpolated mask at 0.5",
)
"""Deviations of method that this phantom, discretised and not resampled, cannot show."""


def phantom() -> tuple[Volume, npt.NDArray[np.uint8]]:
    """The digital phantom and its mask, (4, 4, 5) as [z, y, x]."""

    def array(rows: tuple[str, ...]) -> npt.NDArray[np.uint8]:
        return np.array([[[int(v) for v in row] for row in part.split()] for part in rows], dtype=np.uint8)

    grey = array(_GREY)
    return Volume(grey[None].astype(np.float32), Geometry((4, 4, 5), (2.0, 2.0, 2.0))), array(_INSIDE)


def references() -> tuple[Reference, ...]:
    """The consensus values of every feature that pyradiomics and IBSI have in common."""
    text = (
        resources.files("scanside.runtime.radiomics").joinpath("ibsi_digital_phantom.csv").read_text("utf-8")
    )
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        Reference(
            kind=cast(Class, row["class"]),
            feature=row["feature"],
            code=row["ibsi"],
            aggregation=row["aggregation"],
            value=float(row["reference"]),
            tolerance=float(row["tolerance"]),
        )
        for row in csv.DictReader(lines)
    )


def conformance(image: Volume | None = None, mask: npt.NDArray[np.uint8] | None = None) -> tuple[Row, ...]:
    """Measure the phantom in each of IBSI's aggregations and compare.

    Args:
        image, mask: The phantom from elsewhere; default the built-in one.
    """
    if image is None or mask is None:
        image, mask = phantom()
    wanted = references()
    values: dict[str, dict[FeatureName, float | None]] = {}
    rows = []
    for reference in wanted:
        way = reference.aggregation
        if way not in values:
            values[way] = _measure(image, mask, way)
        value = values[way][FeatureName("phantom", ORIGINAL, reference.kind, reference.feature)]
        rows.append(_judge(reference, value, int(np.count_nonzero(mask))))
    return tuple(rows)


def within(value: float, reference: Reference) -> bool:
    """Whether a value is within the tolerance, beside what rounding to three digits has taken from the reference."""
    exponent = math.floor(math.log10(abs(reference.value))) if reference.value else 0
    rounding = 0.5 * 10.0 ** (exponent - _DIGITS + 1)
    return abs(value - reference.value) <= reference.tolerance + rounding * (1 + 1e-9)


def _judge(reference: Reference, value: float | None, voxels: int) -> Row:
    if value is None:
        return Row(reference, None, "fail", "no value")
    if within(value, reference):
        return Row(reference, value, "pass", "")
    known = KNOWN.get((reference.kind, reference.feature))
    if known and within(known.corrected(value, voxels), reference):
        return Row(reference, value, "known deviation", known.reason)
    return Row(reference, value, "fail", "beyond the tolerance")


def _measure(image: Volume, mask: npt.NDArray[np.uint8], way: str) -> dict[FeatureName, float | None]:
    """Every feature under one aggregation: the phantom's grey levels as they are (bins of 1)."""
    measured = SequenceConfig(
        role="phantom",
        minimum=Minimum(voxels=1, slices=1),
        setting=Setting(
            binWidth=1.0,
            force2D=way.startswith("2.5D"),
            weightingNorm="no_weighting" if way.endswith("merged") else None,
        ),
        image_types={"Original": ImageTypeSetting()},
        feature_classes={kind: () for kind in FEATURES if (kind in TEXTURE) == bool(way)},
    )
    config = RadiomicsConfig(sequences={"phantom": measured})
    found = extract({"phantom": image}, {"phantom": mask}, config)
    return {name: found[str(name)].value for name in names(config)}
