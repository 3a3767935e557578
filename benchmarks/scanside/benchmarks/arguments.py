"""Arguments that the commands of `scanside bench` share."""

from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.errors import OutputError, UsageError

Out = Annotated[Path, typer.Option("-o", "--out", metavar="RESULTS.json", help="Results file to write.")]
Folds = Annotated[
    str | None, typer.Option(metavar="LIST", help="Folds for both, such as 0,1; default: all of the bundle.")
]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the table, as Markdown.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files that exist.")]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL_FOLDER", help="nnU-Net v2 results folder <Trainer>__<Plans>__<configuration>."
    ),
]
BundleFolder = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="BUNDLE", help="The model as a bundle; default: export it for this run."
    ),
]
PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript", "psutil")
"""What the commands that run nnunetv2 need."""


def words(text: str | None) -> tuple[str, ...] | None:
    """`a,b` → its parts; None stays None."""
    return tuple(word.strip() for word in text.split(",")) if text else None


def phantom_sizes(sizes: str) -> tuple[str, ...]:
    """Names of phantom sizes.

    Raises:
        UsageError: If one is unknown.
    """
    from scanside.benchmarks.studies import SIZES

    wanted = tuple(size.strip() for size in sizes.split(","))
    if set(wanted) - set(SIZES):
        raise UsageError(f"--sizes {sizes} is not of {', '.join(SIZES)}.")
    return wanted


def numbers(text: str, option: str, example: str) -> tuple[int, ...]:
    """`1,3` → whole numbers.

    Raises:
        UsageError: If one is none.
    """
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError:
        raise UsageError(f"{option} {text} is no list of numbers, such as {example}.") from None


def refuse_existing(overwrite: bool, *files: Path | None) -> None:
    """
    Raises:
        OutputError: If one is there and must stay.
    """
    for file in files:
        if file is not None and file.exists() and not overwrite:
            raise OutputError(f"{file} exists already; add --overwrite or choose another name.")


def show(table: str, file: Path | None) -> None:
    """Print a table, and write it where that is asked for."""
    print(table)
    if file is not None:
        from scanside.runtime.images.files import atomic_write

        with atomic_write(file) as temporary:
            temporary.write_text(f"{table}\n", encoding="utf-8")
