"""What `scanside train signature` can be told."""

from pathlib import Path
from typing import Annotated

import typer

ExperimentFolder = Annotated[
    Path, typer.Argument(metavar="EXPERIMENT", help="Experiment folder with automatic masks.")
]
Features = Annotated[int, typer.Option(metavar="N", min=1, help="Features of the signature.")]
Selector = Annotated[str, typer.Option(metavar="NAME", help="mrmr or lasso.")]
Combat = Annotated[
    bool, typer.Option("--combat", help="Take scanners' effects out (ComBat), inside the folds.")
]
Presence = Annotated[
    float,
    typer.Option(
        metavar="P",
        min=0,
        max=1,
        help="Part of the patients that must have a feature; texture is absent where a lesion is too small.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="S", min=0, help="Of folds, perturbations, canaries.")]
Folds = Annotated[int, typer.Option(metavar="N", min=2, help="Outer folds.")]
Repeats = Annotated[int, typer.Option(metavar="N", min=1, help="Divisions into outer folds.")]
Inner = Annotated[int, typer.Option(metavar="N", min=2, help="Inner folds, for tuning.")]
Perturbations = Annotated[
    int, typer.Option(metavar="N", min=0, help="Of mask and image per training patient.")
]
CanaryRuns = Annotated[int, typer.Option(metavar="N", min=3, help="Runs of each leakage canary.")]
Table = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Features measured elsewhere (.csv, .xlsx), instead of a cohort's images."
    ),
]
Second = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --table: the same of a second segmentation.")
]
Labels = Annotated[Path | None, typer.Option(metavar="FILE", help="With --table: id and 0 or 1 a row.")]
