"""`scanside radiomics conformance|extract`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.runtime.cli.group import Group
from scanside.runtime.errors import ExitCode, InputError, UsageError
from scanside.runtime.report import RESEARCH

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Measure radiomics features, and show conformance with IBSI.",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def conformance(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with phantom.nii.gz and mask.nii.gz; default: the built-in phantom.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Compare features of the IBSI-1 digital phantom with the consensus values; exit code 1 when one fails.

    Example: scanside radiomics conformance
    """
    from scanside.runtime.radiomics.conformance import KNOWN, NOT_SHOWN
    from scanside.runtime.radiomics.conformance import conformance as compare

    rows = compare(*_phantom(data)) if data else compare()
    counts = {
        status: sum(row.status == status for row in rows) for status in ("pass", "known deviation", "fail")
    }
    if as_json:
        print(json.dumps(_document(rows, counts), indent=1, ensure_ascii=False))
        return _exit(counts)
    for row in rows:
        reference = row.reference
        value = "none" if row.value is None else f"{row.value:.6g}"
        print(
            f"{reference.code}  {reference.kind:10} {reference.feature:36} {reference.aggregation:13} "
            f"{value:>11} {reference.value:>8g} ± {reference.tolerance:<7g} {row.status}".rstrip()
        )
    print(
        f"\nIBSI-1 digital phantom: {', '.join(f'{n} {status}' for status, n in counts.items())}.",
        file=sys.stderr,
    )
    for (kind, feature), deviation in KNOWN.items():
        print(f"known deviation: {kind} {feature}: {deviation.reason}", file=sys.stderr)
    for words in NOT_SHOWN:
        print(f"not shown by this phantom: {words}", file=sys.stderr)
    return _exit(counts)


@app.command()
def extract(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file, one channel.")],
    mask: Annotated[Path, typer.Argument(metavar="MASK", help="Mask on the grid of the image, lesion > 0.")],
    sequence: Annotated[
        str, typer.Option(metavar="NAME", help="Which sequence of the configuration the image is.")
    ] = "t2w",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="radiomics.yaml; default: the built-in recipe.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the largest lesion of a mask: every feature of one sequence, a name and a value a line.

    Example: scanside radiomics extract t2w.nii.gz t2w_mask.nii.gz --sequence t2w
    """
    import numpy as np

    from scanside.runtime.images.read import read_image
    from scanside.runtime.radiomics.config import default_config, load_config
    from scanside.runtime.radiomics.extract import extract as measure
    from scanside.runtime.radiomics.names import feature_names
    from scanside.runtime.stages.lesions import main_lesion

    recipe = load_config(_bytes(config)) if config else default_config()
    if sequence not in recipe.sequences:
        raise UsageError(
            f"The configuration has no sequence '{sequence}'; choose one of {', '.join(recipe.sequences)}."
        )
    scan, lesion = read_image(image), read_image(mask)
    if difference := scan.geometry.difference(lesion.geometry):
        raise InputError(f"{mask} does not lie on the grid of {image} ({difference}); resample it first.")
    wanted = [name for name in feature_names(recipe) if name.startswith(f"{sequence}_")]
    roi = main_lesion(np.rint(lesion.data[0]).astype(np.int64))
    values = measure({sequence: scan}, {recipe.sequences[sequence].role: roi}, recipe, wanted)
    if as_json:
        features = {name: {"value": v.value, "reason": v.reason} for name, v in values.items()}
        print(json.dumps({"schema": "scanside.radiomics.values/1", "features": features}, indent=1))
        return
    for name, got in values.items():
        print(f"{name}\t{got.reason if got.value is None else repr(got.value)}")
    print(RESEARCH, file=sys.stderr)


def _phantom(folder: Path) -> tuple[Any, Any]:
    from scanside.runtime.images.read import read_image

    image, mask = read_image(folder / "phantom.nii.gz"), read_image(folder / "mask.nii.gz")
    if difference := image.geometry.difference(mask.geometry):
        raise InputError(
            f"mask.nii.gz does not lie on the grid of phantom.nii.gz ({difference}); get both again."
        )
    return image, (mask.data[0] > 0).astype("uint8")


def _document(rows: Any, counts: dict[str, int]) -> dict[str, Any]:
    from scanside.runtime.radiomics.conformance import NOT_SHOWN

    return {
        "schema": "scanside.conformance/1",
        "status": "failed" if counts["fail"] else "ok",
        "standard": "IBSI-1, digital phantom",
        "counts": counts,
        "features": [
            {
                "ibsi": row.reference.code,
                "class": row.reference.kind,
                "feature": row.reference.feature,
                "aggregation": row.reference.aggregation,
                "value": row.value,
                "reference": row.reference.value,
                "tolerance": row.reference.tolerance,
                "status": row.status,
                "reason": row.reason or None,
            }
            for row in rows
        ],
        "not_shown": list(NOT_SHOWN),
    }


def _exit(counts: dict[str, int]) -> int:
    return ExitCode.CASE_FAILED if counts["fail"] else ExitCode.OK


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
