"""`scanside bench radiomics`, `peak`, `receivers`, `gpu`, `mrd`, `install`: a part, a device, an installation."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.benchmarks.arguments import (
    PHANTOM_SEED,
    Folds,
    Out,
    Overwrite,
    Table,
    phantom_sizes,
    refuse_existing,
    show,
    words,
)
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode


def radiomics(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    out: Out,
    studies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STUDY...", help="As for `scanside run`; default: a phantom."),
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="LIST", help="Phantoms to measure, of small, typical, large.")
    ] = "typical",
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Of the phantoms.")] = PHANTOM_SEED,
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="Alternating pairs; 6 for an interval.")
    ] = 10,
    table: Table = None,
    overwrite: Overwrite = False,
) -> int:
    """Measure the radiomics stage against a plain pyradiomics run of the same parameter file, values compared.

    Exit code 1 when a value differs by more than 1e-6 of itself.

    Example: scanside bench radiomics pancreas.bundle -o results/radiomics.json
    """
    require_extra("bench", "psutil")
    refuse_existing(overwrite, out, table)
    import tempfile

    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.radiomics import radiomics_table, run_radiomics
    from scanside.benchmarks.results import write
    from scanside.benchmarks.studies import given_studies, phantom_studies

    facts = environment(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        wanted = phantom_sizes(sizes)
        chosen = given_studies(studies) if studies else phantom_studies(Path(folder), wanted, seed)
        report = run_radiomics(bundle, chosen, repeats, facts)
    write(report, out)
    show(radiomics_table(report), table)
    return ExitCode.OK if report.equal else ExitCode.CASE_FAILED


def peak(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    out: Out,
    backends: Annotated[
        str, typer.Option(metavar="LIST", help="Devices, each with its precision.")
    ] = "openvino:fp32,openvino:bf16,cpu:fp32",
    role: Annotated[
        str | None, typer.Option(metavar="NAME", help="Segmenter, where the bundle holds several.")
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Tiles a backend.")] = 10,
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure this machine's matrix products, and which part of that peak the network reaches on each backend.

    Example: scanside bench peak abdomen.bundle -o results/peak.json
    """
    require_extra("bench", "psutil", "onnx", "torch", "threadpoolctl")
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.kinds import parse_kinds
    from scanside.benchmarks.peak import peak_table, run_peak
    from scanside.benchmarks.results import write
    from scanside.runtime.bundle import open_bundle

    facts = environment(sys.argv[1:])
    kinds = parse_kinds([word.strip() for word in backends.split(",")])
    opened = open_bundle(bundle)
    report = run_peak(opened, opened.role(role), kinds, repeats, facts)
    write(report, out)
    show(peak_table(report), table)


def receivers(
    out: Out,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds of each receiver.")] = 6,
    instances: Annotated[int, typer.Option(metavar="N", min=1, help="Slices of a round.")] = 600,
    matrix: Annotated[
        int, typer.Option(metavar="N", min=16, max=4096, help="Rows and columns of those slices.")
    ] = 320,
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how fast instances are received, beside dcmtk's storescp and Orthanc where they are here.

    Example: scanside bench receivers -o results/receivers.json
    """
    require_extra("bench", "psutil")
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.receivers import receivers_table, run_receivers
    from scanside.benchmarks.results import write

    report = run_receivers(instances, matrix, repeats, environment(sys.argv[1:]))
    write(report, out)
    show(receivers_table(report), table)


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


def install(
    out: Out,
    source: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Scanside's source folder.", exists=True)
    ] = Path(),
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Weigh `pip install scanside[cpu]` against `pip install nnunetv2` in fresh environments. Downloads gigabytes.

    Example: scanside bench install -o results/benchmarks/install.json
    """
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.install import table as install_table
    from scanside.benchmarks.install import weigh

    document = weigh(source.resolve(), out, sys.argv[1:], lambda words: print(f"{words} …", file=sys.stderr))
    show(install_table(document), table)


def mrd(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file, or a DICOM series.")],
    out: Out,
    role: Annotated[
        str | None, typer.Option(metavar="NAME", help="Segmenter, where the bundle holds several.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Device of the server.")] = "openvino",
    sessions: Annotated[int, typer.Option(metavar="N", min=1, help="20 for a p95.")] = 40,
    starts: Annotated[int, typer.Option(metavar="N", min=1, help="Starts of the server.")] = 6,
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how long a scanner waits: until the MRD server listens, and from CLOSE to the last label.

    Example: scanside bench mrd hippocampus.bundle scan.nii.gz -o results/mrd.json
    """
    require_extra("bench", "psutil")
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.mrd import mrd_table, run_mrd
    from scanside.benchmarks.results import write
    from scanside.runtime.bundle import open_bundle
    from scanside.runtime.images.cases import CaseInput
    from scanside.runtime.images.load import load_case

    facts = environment(sys.argv[1:])
    opened, volume = open_bundle(bundle), load_case(CaseInput(image.name, (image,)), 1).volume
    report = run_mrd(opened, opened.role(role), device, volume, (starts, sessions), facts)
    write(report, out)
    show(mrd_table(report), table)
