"""Sizes and intensities of the labels of a mask, in the image as it was read.

`scanside schema statistics` prints the JSON schema of the document.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from scanside.runtime.arrays import Float32, LabelMask
from scanside.runtime.labels import Roi
from scanside.runtime.plan import Labels
from scanside.runtime.record import Document, Part, Sha256
from scanside.runtime.volume import Volume

_PERCENTILES = (5, 25, 50, 75, 95)


class Intensity(Part):
    """Values of one channel inside a label, in the units of the image; computed in double precision."""

    channel: str
    """As the model calls it."""
    mean: float
    sd: float
    """Of the voxels themselves, not an estimate for more of them: divided by their number. 0 of a single voxel."""
    minimum: float
    percentile_5: float
    percentile_25: float
    median: float
    percentile_75: float
    percentile_95: float
    """Percentiles are interpolated linearly between voxels."""
    maximum: float


class LabelStatistics(Part):
    """One label or region of one mask."""

    label: str
    voxels: Annotated[int, Field(ge=0)]
    volume_ml: Annotated[float, Field(ge=0)] | None
    """Null for a picture, and where the file says no spacing."""
    area_mm2: Annotated[float, Field(ge=0)] | None
    """Null for a volume, and for a picture that has no scale, such as PNG."""
    intensities: tuple[Intensity, ...] | None
    """One for each channel, in order; null where the label has no voxel."""


class CaseStatistics(Part):
    """One case."""

    name: str
    status: Literal["ok", "refused", "failed"]
    labels: tuple[LabelStatistics, ...] | None
    """Null where the case is not ok."""


class StatisticsReport(Document):
    """What `--statistics FILE.json` of `scanside segment` and `scanside merge` writes."""

    schema_: Literal["scanside.statistics/1"] = Field("scanside.statistics/1", alias="schema")
    notice: str
    """Research use only."""
    bundle_sha256: Sha256
    """The bundle that made the masks."""
    cases: tuple[CaseStatistics, ...]


def measure_labels(
    volume: Volume,
    mask: LabelMask,
    labels: Labels,
    channels: Sequence[str],
    roi: Roi | None = None,
) -> tuple[LabelStatistics, ...]:
    """Sizes and intensities of every label or region.

    Args:
        volume: (C, Z, Y, X), as read: not normalised, not resampled.
        mask: (Z, Y, X) on its grid.
        labels: What the mask's values mean.
        channels: A name for each channel.
        roi: Measure these labels alone.
    """
    grid = volume.geometry
    found = []
    for name, value in labels.names.items():
        members = value if isinstance(value, tuple) else (value,)
        if members == (0,) or (roi is not None and name not in roi.names):
            continue
        inside = np.isin(mask, members)
        count = int(np.count_nonzero(inside))
        measured = (
            [_intensity(title, data[inside]) for title, data in zip(channels, volume.data, strict=True)]
            if count
            else None
        )
        found.append(
            LabelStatistics(
                label=name,
                voxels=count,
                volume_ml=round(count * grid.voxel_volume_ml, 6) if grid.measure == "ml" else None,
                area_mm2=round(count * grid.pixel_area_mm2, 6) if grid.measure == "mm2" else None,
                intensities=None if measured is None else tuple(measured),
            )
        )
    return tuple(found)


def _intensity(channel: str, values: Float32) -> Intensity:
    wide = values.astype(np.float64)
    low, quarter, median, upper, high = (float(value) for value in np.percentile(wide, _PERCENTILES))
    return Intensity(
        channel=channel,
        mean=float(wide.mean()),
        sd=float(wide.std()),
        minimum=float(wide.min()),
        percentile_5=low,
        percentile_25=quarter,
        median=median,
        percentile_75=upper,
        percentile_95=high,
        maximum=float(wide.max()),
    )


_NUMBERS = tuple(name for name in Intensity.model_fields if name != "channel")


def statistics_table(cases: Sequence[CaseStatistics]) -> str:
    """As CSV: a line for each case, label and channel; cells are empty where there is nothing to measure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case", "status", "label", "voxels", "volume_ml", "area_mm2", "channel", *_NUMBERS])
    for case in cases:
        writer.writerows(_rows(case))
    return stream.getvalue()


def _rows(case: CaseStatistics) -> list[list[object]]:
    """The lines of a case; one where it has no label."""
    rows: list[list[object]] = []
    for one in case.labels or ():
        head: list[object] = [
            case.name,
            case.status,
            one.label,
            one.voxels,
            _cell(one.volume_ml),
            _cell(one.area_mm2),
        ]
        measured: Sequence[Mapping[str, object]] = [row.model_dump() for row in one.intensities or ()]
        rows += [[*head, row["channel"], *(row[name] for name in _NUMBERS)] for row in measured]
        rows += [] if measured else [[*head, "", *("" for _ in _NUMBERS)]]
    return rows or [[case.name, case.status, *("" for _ in range(5 + len(_NUMBERS)))]]


def _cell(value: float | None) -> object:
    return "" if value is None else value
