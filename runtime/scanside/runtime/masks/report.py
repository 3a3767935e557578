"""What a comparison of masks says, as one document: `scanside schema masks` prints its JSON schema."""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scanside.runtime.record import Document, Part, Words

Part01 = Annotated[float, Field(ge=0, le=1)]
Distance = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class LabelScores(Part):
    """One label or region of one case."""

    label: str
    dice: Part01 | None
    """Null where neither mask has the label, as nnunetv2's evaluation gives NaN; 0 where one of them has it."""
    surface_dice: Part01 | None
    """At the report's tolerance; null and 0 as Dice, and null where the files say no spacing, such as PNG."""
    hd95_mm: Distance | None
    """Null where either mask lacks the label: there is no surface to measure from."""
    prediction_voxels: Count
    reference_voxels: Count
    prediction_ml: Distance | None
    """Null for a picture, and where the files say no spacing, as `reference_ml`."""
    reference_ml: Distance | None
    prediction_mm2: Distance | None
    """Area; null for a volume, as `reference_mm2`."""
    reference_mm2: Distance | None


class CaseScores(Part):
    """One pair of masks."""

    name: str
    prediction: Words
    reference: Words
    status: Literal["ok", "refused"]
    reason: str | None
    """Why it was refused."""
    labels: tuple[LabelScores, ...] | None
    """Null where it was refused."""


class MeanScores(Part):
    """One label over all cases that were compared."""

    label: str
    cases: Count
    """With a Dice: where at least one of both masks has the label."""
    dice: Part01 | None
    surface_dice: Part01 | None
    hd95_cases: Count
    """With a distance: where both masks have the label."""
    hd95_mm: Distance | None
    prediction_ml: Distance | None
    """Mean volume over all cases, also those where it is 0; null where there are pictures."""
    reference_ml: Distance | None


class MasksReport(Document):
    """What `scanside evaluate masks --json` prints."""

    schema_: Literal["scanside.masks/1"] = Field("scanside.masks/1", alias="schema")
    notice: str
    """Research use only."""
    tolerance_mm: Annotated[float, Field(gt=0)]
    """Of surface Dice."""
    cases: tuple[CaseScores, ...]
    mean: tuple[MeanScores, ...]
    foreground_dice: Part01 | None
    """Mean of the labels' mean Dice; null where one of them has none, as nnunetv2's foreground mean is NaN."""
    without_prediction: tuple[str, ...]
    """Cases of the reference that were not predicted."""
    without_reference: tuple[str, ...]
    """Predictions that there is no reference for."""


def mean_scores(cases: Sequence[CaseScores], names: Sequence[str]) -> tuple[MeanScores, ...]:
    """Each label's means over the cases that were compared; a value that is absent is left out of its mean."""
    found = []
    for place, name in enumerate(names):
        rows = [case.labels[place] for case in cases if case.labels is not None]
        found.append(
            MeanScores(
                label=name,
                cases=sum(row.dice is not None for row in rows),
                dice=_mean([row.dice for row in rows]),
                surface_dice=_mean([row.surface_dice for row in rows]),
                hd95_cases=sum(row.hd95_mm is not None for row in rows),
                hd95_mm=_mean([row.hd95_mm for row in rows]),
                prediction_ml=_mean([row.prediction_ml for row in rows], whole=True),
                reference_ml=_mean([row.reference_ml for row in rows], whole=True),
            )
        )
    return tuple(found)


def foreground_dice(means: Sequence[MeanScores]) -> float | None:
    """Mean of the labels' mean Dice, or None where one of them has none."""
    return _mean([row.dice for row in means], whole=True)


def scores_table(report: MasksReport) -> str:
    """As CSV: a line for each case and label; cells are empty where a value is absent."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    numbers = tuple(LabelScores.model_fields)
    writer.writerow(["case", "status", *numbers])
    for case in report.cases:
        for row in case.labels or ():
            writer.writerow(
                [case.name, case.status, *("" if v is None else v for v in row.model_dump().values())]
            )
        if case.labels is None:
            writer.writerow([case.name, case.status, *("" for _ in numbers)])
    return stream.getvalue()


def _mean(values: Sequence[float | None], *, whole: bool = False) -> float | None:
    """The mean of what is there; None where nothing is, or, of a `whole`, where something lacks."""
    there = [value for value in values if value is not None]
    if not there or (whole and len(there) < len(values)):
        return None
    return sum(there) / len(there)
