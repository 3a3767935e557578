"""`scanside radiomics conformance|extract`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scanside.runtime.cli.arguments import AsJson, RadiomicsFile
from scanside.runtime.cli.batch import JsonLines, Many, PartOption, Resume
from scanside.runtime.cli.group import Group
from scanside.runtime.cli.main import require_extra
from scanside.runtime.cli.radiomics_many import extract_many
from scanside.runtime.errors import ExitCode, InputError, UsageError
from scanside.runtime.report import RESEARCH

if TYPE_CHECKING:
    from scanside.runtime.radiomics.config import RadiomicsConfig

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Measure radiomics features, and show conformance with IBSI.",
)


Images = Annotated[
    Path | None, typer.Argument(metavar="[IMAGE]", help="Image file, one channel, or a folder of images.")
]
Masks = Annotated[
    Path | None,
    typer.Argument(metavar="[MASK]", help="Mask on the grid of the image, lesion > 0, or a folder of masks."),
]
Table = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="CSV with columns case, image, mask, and sequence if they differ."),
]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="OUT", help="Folder for the features of many images, JSON files."),
]
Sequence = Annotated[
    str, typer.Option(metavar="NAME", help="Which sequence of the configuration the image is.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace features that exist.")]


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
    image: Images = None,
    mask: Masks = None,
    table: Table = None,
    out: Out = None,
    sequence: Sequence = "t2w",
    config: RadiomicsFile = None,
    part: PartOption = None,
    resume: Resume = False,
    json_lines: JsonLines = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Measure the largest lesion of each mask: every feature of one sequence.

    For one image a name and a value a line; for many a file each in OUT, which `scanside merge OUT --csv FILE` joins.

    Examples:

      scanside radiomics extract t2w.nii.gz t2w_mask.nii.gz --sequence t2w

      scanside radiomics extract imagesTs masks -o features --resume

      scanside radiomics extract --table cases.csv -o features --part 3/8
    """
    require_extra("study", "radiomics", "ruamel")
    many = Many(part, resume, json_lines, overwrite)
    recipe = _recipe(config)
    if table is not None or (image is not None and image.is_dir()):
        if as_json:
            raise UsageError("--json is of one image; for many use --json-lines, or `scanside merge --json`.")
        if table is not None and image is not None:
            raise UsageError("--table names the images; leave IMAGE and MASK out.")
        return extract_many(table or image, mask, sequence, recipe, out, many)
    if image is None or mask is None:
        raise UsageError("Name an image and its mask, two folders of them, or a --table.")
    if wrong := ("--out" if out else many.given) or ("--overwrite" if overwrite else None):
        raise UsageError(f"{wrong} is for many images; name two folders, or a --table.")
    if sequence not in recipe.sequences:
        raise UsageError(
            f"The configuration has no sequence '{sequence}'; choose one of {', '.join(recipe.sequences)}."
        )
    _print_features(image, mask, sequence, recipe, as_json)
    return ExitCode.OK


def _recipe(config: Path | None) -> "RadiomicsConfig":
    from scanside.runtime.radiomics.config import default_config, load_config

    return load_config(_bytes(config)) if config else default_config()


def _print_features(image: Path, mask: Path, sequence: str, recipe: "RadiomicsConfig", as_json: bool) -> None:
    from scanside.runtime.radiomics.batch import document, measure, read_pair

    values = measure(*read_pair(image, mask), sequence, recipe)
    if as_json:
        print(document(values))
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
