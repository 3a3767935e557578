"""`scanside bench make-model`, `make-bundle` and `make-image`: made inputs, for measuring what size costs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.benchmarks.arguments import PACKAGES, Overwrite, numbers, refuse_existing
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError


def make_model(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Results folder to make.")],
    kind: Annotated[
        str, typer.Option(metavar="NAME", help="abdomen-31m, classes-30 or tiny.")
    ] = "abdomen-31m",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the random weights.")] = 0,
) -> None:
    """Write an nnU-Net results folder with UNTRAINED weights: for timing, never for accuracy.

    Example: scanside bench make-model abdomen-31m --kind abdomen-31m
    """
    require_extra("bench", *PACKAGES)
    from scanside.benchmarks.models import NOTICE
    from scanside.benchmarks.models import make_model as make

    parameters = make(out, kind, seed)
    print(f"{parameters / 1e6:.3g} million parameters. {NOTICE}", file=sys.stderr)
    print(out)


def make_bundle(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Results folder of `bench make-model`.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Bundle folder to make.")],
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGE", help="Image that int8 takes its scales from; repeatable."),
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Also mixed precision, for a GPU.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Bundle an UNTRAINED model without proof, for timing: its approximations would not pass the gate.

    Example: scanside bench make-bundle abdomen-31m -o abdomen.bundle --calibrate another_t2_series
    """
    require_extra("bench", *PACKAGES)
    if calibrate:
        require_extra("int8", "nncf")
    from scanside.benchmarks.models import make_bundle as make

    make(
        model,
        out,
        tuple(calibrate or ()),
        overwrite,
        lambda sentence: print(f"{sentence} …", file=sys.stderr),
        mixed=mixed,
    )
    print(out)


def make_image(
    out: Annotated[Path, typer.Argument(metavar="OUT.nii.gz", help="File to write.")],
    shape: Annotated[str, typer.Option(metavar="Z,Y,X", help="Voxels.")] = "400,512,512",
    overwrite: Overwrite = False,
) -> None:
    """Write a made image, a body of smooth structures in air, for measuring what size costs. No patient's.

    Example: scanside bench make-image made_0000.nii.gz --shape 400,512,512
    """
    refuse_existing(overwrite, out)
    from scanside.benchmarks.made import write_image

    sizes = numbers(shape, "--shape", "400,512,512")
    if len(sizes) != 3 or min(sizes) < 8:
        raise UsageError(f"--shape {shape} is not three numbers from 8, such as 400,512,512.")
    print(write_image(out, (sizes[0], sizes[1], sizes[2])))
