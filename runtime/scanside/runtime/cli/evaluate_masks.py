"""`scanside evaluate masks`: how well masks agree with a reference."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import AsJson
from scanside.runtime.errors import ExitCode
from scanside.runtime.images.files import atomic_write
from scanside.runtime.masks.folders import Named, evaluate_masks, pair, read_labels
from scanside.runtime.masks.report import LabelScores, MasksReport, MeanScores, scores_table

_SHOWN = 60
"""Rows of cases that the table on the terminal has at most; the CSV file has all."""


def masks(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="A mask, or a folder of masks.")],
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="Its reference, or the folder of references.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="dataset.json: names, regions, ignore label; default every label that occurs.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="MM", min=0.001, help="Tolerance of surface Dice, mm.")
    ] = 2.0,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write every case and label, one a line.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Compare masks with references: Dice, surface Dice, HD95 and volumes of each label, per case and on average.

    Masks are matched by case name. A label that neither mask of a case has is absent there, as in nnU-Net's
    evaluation, and not 0 or 1; where one mask has it, Dice and surface Dice are 0 and there is no HD95.

    Exit code 1 when a case was refused, or when a reference has no prediction.

    Examples:

      scanside evaluate masks masks labelsTs

      scanside evaluate masks masks labelsTs --labels dataset.json --csv scores.csv --json
    """
    named = Named() if labels is None else read_labels(labels)
    report = evaluate_masks(pair(prediction, reference), named, tolerance)
    if csv is not None:
        with atomic_write(csv) as temporary:
            temporary.write_text(scores_table(report), encoding="utf-8")
    if as_json:
        print(json.dumps(report.data(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(table(report)))
    for case in report.cases:
        if case.reason is not None:
            print(f"{case.name}: refused: {case.reason}", file=sys.stderr)
    for name in report.without_prediction:
        print(f"{name}: has a reference and no prediction", file=sys.stderr)
    for name in report.without_reference:
        print(f"{name}: has no reference, and is left out", file=sys.stderr)
    refused = any(case.status == "refused" for case in report.cases)
    return ExitCode.CASE_FAILED if refused or report.without_prediction else ExitCode.OK


def table(report: MasksReport) -> list[str]:
    """The report as lines for a person: the cases where there are few, then the means."""
    compared = [case for case in report.cases if case.labels is not None]
    sizes = (
        "mm²"
        if any(row.prediction_mm2 is not None for case in compared for row in case.labels or ())
        else "ml"
    )
    head = ["case", "label", "Dice", f"surface Dice {report.tolerance_mm:g} mm", "HD95 mm"]
    rows = [[*head, f"prediction {sizes}", f"reference {sizes}"]]
    cases = [[case.name, *_cells(row)] for case in compared for row in case.labels or ()]
    rows += cases if len(cases) <= _SHOWN else []
    rows += [[f"mean of {row.cases}", *_cells(row)] for row in report.mean]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) + 2)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if len(cases) > _SHOWN:
        lines.append(f"{len(compared)} cases; --csv FILE has each of them.")
    lines.append(f"Foreground Dice {_number(report.foreground_dice, 4)}: the mean of the labels' means.")
    return lines


def _cells(row: LabelScores | MeanScores) -> Sequence[str]:
    scores = [row.label, _number(row.dice, 4), _number(row.surface_dice, 4), _number(row.hd95_mm, 2)]
    if isinstance(row, LabelScores) and row.prediction_mm2 is not None:
        return [*scores, _number(row.prediction_mm2, 1), _number(row.reference_mm2, 1)]
    return [*scores, _number(row.prediction_ml, 3), _number(row.reference_ml, 3)]


def _number(value: float | None, digits: int) -> str:
    return "absent" if value is None else f"{value:.{digits}f}"
