"""What `scanside evaluate` can be told."""

from pathlib import Path
from typing import Annotated

import typer

ExperimentFolder = Annotated[
    Path | None, typer.Argument(metavar="[EXPERIMENT]", help="Experiment folder; none with --bundle.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FOLDER", help="Folder of the report; default EXPERIMENT/evaluation."
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(metavar="BUNDLE", help="A frozen bundle, judged on patients it has not seen."),
]
Cohort = Annotated[
    Path | None, typer.Option(metavar="COHORT", help="With --bundle: their images, masks and table.")
]
Results = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="With --bundle: results made before, a folder a case."),
]
Store = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="With --results: the appliance's store, for readers' decisions."),
]
Pathology = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="With --bundle: diagnoses that came later: case, diagnosis, …"),
]
Site = Annotated[str, typer.Option(metavar="COLUMN", help="With --bundle: column of the centre.")]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic", help="With --results: no image shows a person, and the report says so."),
]
Bootstrap = Annotated[
    int, typer.Option(metavar="N", min=100, max=100_000, help="Resamples of each interval.")
]
Seed = Annotated[int, typer.Option(metavar="S", min=0, help="Seed of the resamples.")]
AsReport = Annotated[bool, typer.Option("--json", help="Print report.json on stdout.")]
