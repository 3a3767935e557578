"""`scanside phantom`: a synthetic cohort."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime import machine

app = typer.Typer(add_completion=False, rich_markup_mode=None)
STUDY_TRAIN, STUDY_TEST = 165, 89
"""Patients of the study (Shi et al. 2025): the default share of training patients."""


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Cohort folder to make.")],
    patients: Annotated[int, typer.Option(metavar="N", min=1, help="Number of patients.")],
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Same seed, same images.")] = 0,
    train: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Training patients among them; default: 165 of 254."),
    ] = None,
    test_seed: Annotated[
        int | None,
        typer.Option(metavar="S", min=0, help="Seed of the test patients; default: the training patients'."),
    ] = None,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write DICOM series instead of NIfTI.")] = False,
    small: Annotated[
        bool, typer.Option("--small", help="Only a small box around the lesion: for trying things out.")
    ] = False,
    pixel_size: Annotated[
        float,
        typer.Option(
            metavar="X", min=0.25, max=4, help="Factor on the pixel size: to measure what images cost."
        ),
    ] = 1.0,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes; default: one a core.")
    ] = None,
) -> None:
    """Make a synthetic cohort of abdominal MRI with pancreatic lesions. No patient data; every image says so.

    Example: scanside phantom cohort --patients 254 --seed 1
    """
    from scanside.training.phantom.write import PhantomChoice, write_cohort

    if train is None:
        train = round(patients * STUDY_TRAIN / (STUDY_TRAIN + STUDY_TEST))
    choice = PhantomChoice(
        patients, train, seed, dicom, jobs or machine.cores(), small, pixel_size, test_seed
    )
    write_cohort(out, choice, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    print(out)
