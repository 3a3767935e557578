"""`scanside cohort …`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.group import Group
from scanside.runtime.errors import ExitCode, InputError, UsageError
from scanside.training.options import Jobs

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Look after cohorts: patients, images, masks and diagnoses in a folder.",
)


@app.callback()
def _group() -> None:
    """Keep typer from merging the group with its only command."""


@app.command()
def check(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="Folder with cohort.csv.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> int:
    """Check a cohort before anything is trained on it. Exit code 5 when it is not valid.

    Ids, table, files, grids, masks, the unit of ADC, and leakage between training and testing; every problem names
    the row of cohort.csv and the file.

    Example: scanside cohort check cohort
    """
    from scanside.training.cohort.check import check_cohort

    if not cohort.is_dir():
        raise InputError(f"There is no folder {cohort}; give a cohort's folder.")
    report = check_cohort(cohort, _tell)
    if as_json:
        print(json.dumps(report.as_dict(), indent=1))
    for problem in report.problems:
        print(f"error: {problem}", file=sys.stderr)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    state = "valid" if report.valid else f"not valid: {len(report.problems)} problem(s)"
    noted = f", {len(report.warnings)} warning(s)" if report.warnings else ""
    phantom = f" (phantom version {report.phantom_version})" if report.phantom_version else ""
    words = f"Cohort {report.cohort}{phantom}: {report.train} training and {report.test} test patients; {state}{noted}."
    print(words, file=sys.stderr if as_json or not report.valid else sys.stdout)
    return ExitCode.OK if report.valid else ExitCode.INPUT


@app.command()
def ceiling(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="JSON to write; FILE.png beside it.")
    ],
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Seed of the phantom cohort.")],
    patients: Annotated[int, typer.Option(metavar="N", min=1, help="How many patients it has.")],
    train: Annotated[int, typer.Option(metavar="N", min=0, help="How many of them are for training.")],
    cases: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="cases.csv of `scanside evaluate`: what was reached, to stand beside."
        ),
    ] = None,
    t2w_mm: Annotated[
        tuple[float, float, float], typer.Option(metavar="Z Y X", help="Spacing of the network on T2WI, mm.")
    ] = (5.0, 3.0, 3.0),
    dwi_mm: Annotated[
        tuple[float, float, float], typer.Option(metavar="Z Y X", help="Spacing of the network on DWI, mm.")
    ] = (6.0, 3.0, 3.0),
    jobs: Jobs = 1,
    small: Annotated[
        bool, typer.Option("--small", help="Only a small box around each lesion: for trying things out.")
    ] = False,
) -> int:
    """Compute what observers that know the phantom reach on the test patients of a phantom cohort.

    Each patient is made anew, without noise, with the lesion and without it. Needs no images and no cohort folder.

    Example: scanside cohort ceiling --seed 5417 --patients 254 --train 165 --cases evaluation/cases.csv -o ceiling.json
    """
    from scanside.runtime.cli.main import require_extra
    from scanside.runtime.images.files import atomic_write
    from scanside.training.evaluation.ceiling import step
    from scanside.training.evaluation.ceiling.figure import ceiling_figure
    from scanside.training.evaluation.style import png

    require_extra("train", "matplotlib", "sklearn")
    if train >= patients:
        raise UsageError(f"--train must be below --patients {patients}: only test patients are looked at.")
    choice = step.CeilingChoice(seed, patients, train, {"t2w": t2w_mm, "dwi": dwi_mm}, jobs, small)
    reached = step.read_reached(cases) if cases else {}
    found = step.compute(choice, reached, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    for path, content in (
        (out, found.text().encode()),
        (out.with_suffix(".png"), png(ceiling_figure(found))),
    ):
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    print(out)
    return ExitCode.OK


def _tell(done: int, of: int) -> None:
    if done % 25 == 0 and done < of:
        print(f"{done} of {of} patients checked …", file=sys.stderr)
