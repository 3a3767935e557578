"""`scanside bench gpu`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.benchmarks.arguments import Folds, Overwrite, refuse_existing, show, words
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode


def gpu(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="nnU-Net v2 results folder.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="One case: its files, or a DICOM series.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for gpu-<card>-<bundle>.json and .md.")
    ],
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="The model as a bundle; default: export it.")
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Such as cuda:mixed; default: every GPU device here, mixed and fp32."
        ),
    ] = None,
    folds: Folds = None,
    mirroring: Annotated[bool, typer.Option("--mirroring/--no-mirroring", help="For both alike.")] = True,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Whole cases a peer.")] = 5,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="On a CPU, to see that it runs; writes no results.")
    ] = False,
    overwrite: Overwrite = False,
) -> int:
    """Measure a GPU beside nnunetv2 with AMP on it: ceilings, the network alone, golden cases, a whole case.

    Exit code 1 when a golden case fails, or something could not be measured.

    Example: scanside bench gpu MODEL_FOLDER scan_0000.nii.gz -o results/benchmarks
    """
    require_extra("bench", "psutil", "onnx", "torch", "nnunetv2")
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.gpu_bench import GpuOptions, file_name, run_gpu
    from scanside.benchmarks.gpu_table import gpu_table
    from scanside.benchmarks.results import write

    facts = environment(sys.argv[1:])
    options = GpuOptions(
        model,
        tuple(images),
        bundle=bundle,
        backends=words(backends) or (),
        folds=words(folds),
        mirroring=mirroring,
        repeats=repeats,
        dry=dry,
    )

    def refuse(name: str) -> None:
        if not dry:
            refuse_existing(overwrite, out / f"{name}.json", out / f"{name}.md")

    report = run_gpu(options, facts, refuse)
    file = out / f"{file_name(report.card.name, report.bundle.name, mirroring)}.json"
    if not dry:
        write(report, file)
    show(gpu_table(report), None if dry else file.with_suffix(".md"))
    failed = report.failed or any(one.problem for one in report.golden)
    return ExitCode.CASE_FAILED if failed else ExitCode.OK
