"""`scanside bench …`. torch and nnunetv2 are imported only when a command runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode, OutputError, UsageError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Compare nnunetv2 and scanside on this machine.",
)
PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript", "psutil")

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL_FOLDER", help="nnU-Net v2 results folder <Trainer>__<Plans>__<configuration>."
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="RESULTS.json", help="Results file to write.")]
Folds = Annotated[
    str | None, typer.Option(metavar="LIST", help="Folds for both, such as 0,1; default: all of the bundle.")
]
BundleFolder = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="BUNDLE", help="The model as a bundle; default: export it for this run."
    ),
]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the table, as Markdown.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files that exist.")]


@app.command()
def peers(
    model: Model,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...", help="As for `scanside segment`: files, a folder, a DICOM series."
        ),
    ],
    out: Out,
    bundle: BundleFolder = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Alternating pairs to measure.")] = 3,
    warm_ups: Annotated[int, typer.Option(metavar="N", min=0, help="Untimed warm runs before them.")] = 1,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of scanside: openvino, cpu or auto.")] = "auto",
    folds: Folds = None,
    mirroring: Annotated[bool, typer.Option("--mirroring/--no-mirroring", help="For both alike.")] = False,
    cold: Annotated[bool, typer.Option("--cold/--no-cold", help="Measure the commands.")] = True,
    warm: Annotated[bool, typer.Option("--warm/--no-warm", help="Measure opened networks.")] = True,
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Run nnunetv2 and scanside in alternating pairs on the same images: time, memory, labels.

    Example: scanside bench peers nnUNetTrainer__nnUNetPlans__3d_fullres scan.nii.gz -o results/peers.json
    """
    require_extra("bench", *PACKAGES)
    if not (cold or warm):
        raise UsageError("With --no-cold and --no-warm nothing is left to measure; leave one out.")
    _refuse_existing(overwrite, out, table)
    from scanside.benchmarks.peers import PeersOptions, run_peers
    from scanside.benchmarks.results import write
    from scanside.benchmarks.tables import peers_table

    options = PeersOptions(
        bundle=bundle,
        repeats=repeats,
        warm_ups=warm_ups,
        device=device,
        mirroring=mirroring,
        cold=cold,
        warm=warm,
        folds=_list(folds),
    )
    report = run_peers(model, images, options, sys.argv[1:])
    write(report, out)
    _show(peers_table(report), table)


@app.command()
def parity(
    model: Model,
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES_FOLDER", help="Folder of <case>_0000<ending> images.")
    ],
    out: Out,
    labels: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Manual labels <case><ending>, for Dice.")
    ] = None,
    bundle: BundleFolder = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Repeatable; default: all that are here.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N images.")] = None,
    folds: Folds = None,
    mirroring: Annotated[bool, typer.Option("--mirroring/--no-mirroring", help="For both alike.")] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a results file whose run was stopped.")
    ] = False,
    table: Table = None,
    overwrite: Overwrite = False,
) -> int:
    """Compare the runtime's labels with nnUNetPredictor's, image by image. Exit code 1 if a difference is no tie.

    Example: scanside bench parity MODEL_FOLDER imagesTr --labels labelsTr -o results/parity.json
    """
    require_extra("bench", *PACKAGES)
    if table is not None:
        _refuse_existing(overwrite or resume, table)
    from scanside.benchmarks.parity import ParityOptions, run_parity
    from scanside.benchmarks.tables import parity_table

    options = ParityOptions(
        labels=labels,
        bundle=bundle,
        devices=tuple(device or ()),
        limit=limit,
        folds=_list(folds),
        mirroring=mirroring,
        resume=resume,
        overwrite=overwrite,
    )
    report = run_parity(model, images, out, options, sys.argv[1:])
    _show(parity_table(report), table)
    explained = all(total.explained == total.differing for total in report.totals.values())
    return ExitCode.OK if explained else ExitCode.CASE_FAILED


@app.command()
def make_model(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Results folder to make.")],
    kind: Annotated[str, typer.Option(metavar="NAME", help="abdomen-31m or tiny.")] = "abdomen-31m",
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


def _list(folds: str | None) -> tuple[str, ...] | None:
    return tuple(fold.strip() for fold in folds.split(",")) if folds else None


def _refuse_existing(overwrite: bool, *files: Path | None) -> None:
    for file in files:
        if file is not None and file.exists() and not overwrite:
            raise OutputError(f"{file} exists already; add --overwrite or choose another name.")


def _show(table: str, file: Path | None) -> None:
    print(table)
    if file is not None:
        from scanside.runtime.images.files import atomic_write

        with atomic_write(file) as temporary:
            temporary.write_text(f"{table}\n", encoding="utf-8")


@app.command()
def install(
    out: Out,
    source: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Scanside's source folder.", exists=True)
    ] = Path(),
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Weigh `pip install scanside[cpu]` against `pip install nnunetv2` in fresh environments. Downloads gigabytes.

    Example: scanside bench install -o benchmarks/results/install.json
    """
    _refuse_existing(overwrite, out, table)
    from scanside.benchmarks.install import table as install_table
    from scanside.benchmarks.install import weigh

    document = weigh(source.resolve(), out, sys.argv[1:], lambda words: print(f"{words} …", file=sys.stderr))
    _show(install_table(document), table)
