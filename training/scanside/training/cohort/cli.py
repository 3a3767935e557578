"""`scanside cohort …`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.group import Group
from scanside.runtime.errors import ExitCode, InputError

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


def _tell(done: int, of: int) -> None:
    if done % 25 == 0 and done < of:
        print(f"{done} of {of} patients checked …", file=sys.stderr)
