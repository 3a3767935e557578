"""`scanside train classifier`. scikit-learn, skl2onnx and ONNX Runtime are imported only when the command runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError
from scanside.training.options import Jobs

PACKAGES = ("sklearn", "joblib", "skl2onnx", "onnxruntime")


def classifier(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT", help="Experiment folder with a signature.")
    ],
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Of folds and bootstrap samples.")] = 0,
    coverage: Annotated[
        float,
        typer.Option(
            metavar="P", help="Part of each class that the indeterminate band leaves right or undecided."
        ),
    ] = 0.9,
    clinical: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="What is known beside the images: age, sex, and covariates that cohort.json declares.",
        ),
    ] = "age,sex",
    jobs: Jobs = 1,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the estimates of both steps as one small JSON."),
    ] = None,
) -> int:
    """Compare classifiers of the signature, fit and calibrate the winner, and export it with proof of equality.

    Examples:

      scanside train classifier experiment

      scanside train classifier experiment --clinical age,sex,ca199
    """
    require_extra("train", *PACKAGES)
    if not 0.5 <= coverage < 1:
        raise UsageError(f"--coverage {coverage} is not a part from 0.5 to below 1; 0.9 is usual.")
    from scanside.training.classifier.step import Settings, train_classifier
    from scanside.training.classifier.summary import write_summary
    from scanside.training.experiment import open_experiment

    names = tuple(name.strip() for name in clinical.split(","))
    settings = Settings(coverage=coverage, clinical=names, seed=seed, jobs=jobs)
    opened = open_experiment(experiment)
    print(train_classifier(opened, settings, lambda words: print(words, file=sys.stderr)))
    if summary is not None:
        write_summary(opened, summary)
    return 0
