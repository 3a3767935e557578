"""`scanside bench …`. torch and nnunetv2 are imported only when a command runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.benchmarks.arguments import (
    PACKAGES,
    BundleFolder,
    Folds,
    Model,
    Out,
    Overwrite,
    Table,
    numbers,
    phantom_sizes,
    refuse_existing,
    show,
    words,
)
from scanside.benchmarks.cli_made import make_bundle, make_image, make_model
from scanside.benchmarks.cli_parts import gpu
from scanside.benchmarks.studies import PHANTOM_SEED
from scanside.benchmarks.tui import tui
from scanside.runtime.cli.arguments import Device, NoMirroring, Precision, SkipEmptyTiles, StepSize, Threads
from scanside.runtime.cli.group import Group
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode, UsageError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="How long studies take on this machine, and how long nnunetv2 takes.",
)
app.command()(tui)
app.command()(gpu)
app.command()(make_model)
app.command()(make_bundle)
app.command()(make_image)


@app.command("run")
def run_(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    out: Out,
    studies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STUDY...", help="As for `scanside run`; default: phantoms of three sizes."),
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="LIST", help="Phantoms to measure, of small, typical, large.")
    ] = "small,typical,large",
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Of the phantoms.")] = PHANTOM_SEED,
    device: Device = "auto",
    precision: Precision = "fp32",
    no_mirroring: NoMirroring = False,
    step_size: StepSize = 0.5,
    folds: Folds = None,
    threads: Threads = None,
    skip_empty_tiles: SkipEmptyTiles = False,
    repeats: Annotated[int, typer.Option(metavar="N", min=6, help="Fewest repetitions, warm.")] = 10,
    most: Annotated[
        int,
        typer.Option(
            metavar="N", min=6, help="Most repetitions; it stops when the median is known to ± 3 %."
        ),
    ] = 40,
    cold: Annotated[
        int, typer.Option(metavar="N", min=0, help="Repetitions of the command; 0 for none.")
    ] = 6,
    offline: Annotated[int, typer.Option(metavar="N", min=0, help="Studies back to back; 0 for none.")] = 12,
    table: Table = None,
    overwrite: Overwrite = False,
) -> int:
    """Measure how long whole studies take here: warm, cold, back to back; by stage; memory, energy, temperature.

    Exit code 1 when the golden cases fail on the device.

    Example: scanside bench run pancreas.bundle -o results/latency.json

      scanside bench run pancreas.bundle study_folder -o results/latency.json --device openvino
    """
    require_extra("bench", "psutil")
    refuse_existing(overwrite, out, table)
    import tempfile

    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.latency import LatencyOptions, run_latency
    from scanside.benchmarks.latency_table import latency_table
    from scanside.benchmarks.results import write
    from scanside.benchmarks.studies import given_studies, phantom_studies
    from scanside.runtime.options import Options

    facts = environment(sys.argv[1:])  # first: the load average is that of the machine before this run
    wanted = phantom_sizes(sizes)
    choice = LatencyOptions(
        run=Options(
            device=device, precision=precision, mirroring=not no_mirroring, step_size=step_size,
            folds=words(folds), threads=threads, skip_empty_tiles=skip_empty_tiles,
        ),
        repeats=(repeats, max(repeats, most)),
        cold=cold,
        offline=offline,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        chosen = given_studies(studies) if studies else phantom_studies(Path(folder), wanted, seed)
        report = run_latency(bundle, chosen, choice, facts)
    write(report, out)
    show(latency_table(report), table)
    return ExitCode.OK if report.selftest.passed else ExitCode.CASE_FAILED


@app.command()
def appliance(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    out: Out,
    studies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STUDY...", help="Folders of DICOM studies; default: phantoms."),
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="LIST", help="Phantoms to send, of small, typical, large.")
    ] = "typical",
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Of the phantoms.")] = PHANTOM_SEED,
    device: Device = "auto",
    precision: Precision = "fp32",
    no_mirroring: NoMirroring = False,
    step_size: StepSize = 0.5,
    folds: Folds = None,
    threads: Threads = None,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="How often each study and each round is sent; no headline below 6."
        ),
    ] = 10,
    senders: Annotated[
        str, typer.Option(metavar="LIST", help="Numbers of senders for the rate; empty for none.")
    ] = "1,3",
    instances: Annotated[
        int, typer.Option(metavar="N", min=1, help="Slices of each sender in a round.")
    ] = 300,
    matrix: Annotated[
        int, typer.Option(metavar="N", min=16, max=4096, help="Rows and columns of those slices.")
    ] = 320,
    quiet_seconds: Annotated[
        float, typer.Option(metavar="S", min=0, help="As in scanside.toml; told apart in the results.")
    ] = 2.0,
    table: Table = None,
    overwrite: Overwrite = False,
) -> int:
    """Measure a real service here: instances per second, and the time from last instance to report at the PACS.

    It runs `scanside serve`, senders and a peer of its own on loopback, in a temporary folder; a round of slices is
    kept there until the rate is known, 2.5 GB with the defaults. Exit code 1 when the golden cases fail on the device.

    Example: scanside bench appliance pancreas.bundle -o results/appliance.json
    """
    require_extra("bench", "psutil")
    refuse_existing(overwrite, out, table)
    import tempfile

    from scanside.benchmarks.appliance import ApplianceOptions, run_appliance
    from scanside.benchmarks.appliance_table import appliance_table
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.results import write
    from scanside.benchmarks.studies import given_studies, phantom_studies
    from scanside.runtime.options import Options

    facts = environment(sys.argv[1:])
    wanted = phantom_sizes(sizes)
    choice = ApplianceOptions(
        run=Options(
            device=device, precision=precision, mirroring=not no_mirroring, step_size=step_size,
            folds=words(folds), threads=threads,
        ),
        repeats=repeats, senders=numbers(senders, "--senders", "1,3"), instances=instances, size=matrix,
        quiet_seconds=quiet_seconds,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        chosen = given_studies(studies) if studies else phantom_studies(Path(folder), wanted, seed)
        report = run_appliance(bundle, chosen, choice, facts)
    write(report, out)
    show(appliance_table(report), table)
    return ExitCode.OK if report.selftest.passed else ExitCode.CASE_FAILED


@app.command()
def scale(
    out: Out,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or openvino.")] = "cpu",
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Of each point.")] = 3,
    large: Annotated[
        bool, typer.Option("--large", help="Also 512 × 512 × 400 with 30 classes: minutes and gigabytes.")
    ] = False,
    ceiling_mib: Annotated[
        float, typer.Option(metavar="MIB", min=1, help="Memory that no point may need.")
    ] = 4096.0,
    table: Table = None,
    overwrite: Overwrite = False,
) -> int:
    """Measure what voxels, classes, tiles and studies cost, one varied at a time, with a made network.

    Exit code 1 when a point needs more memory than the ceiling.

    Example: scanside bench scale --large -o results/scale.json
    """
    require_extra("bench", "psutil", "onnx")
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.results import write
    from scanside.benchmarks.scale import ScaleOptions, run_scale
    from scanside.benchmarks.scale_table import scale_table

    facts = environment(sys.argv[1:])
    found = run_scale(ScaleOptions(device, threads, repeats, large, ceiling_mib), facts)
    write(found, out)
    show(scale_table(found), table)
    return ExitCode.OK if found.within_ceiling else ExitCode.CASE_FAILED


@app.command()
def compare(
    before: Annotated[
        Path, typer.Argument(metavar="A.json", help="Results of `scanside bench run` or `appliance`.")
    ],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Newer ones, of the same studies.")],
    fail_if_slower: Annotated[
        str | None,
        typer.Option(metavar="X%", help="Exit code 1 when B is slower than A by more, beyond the noise."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> int:
    """Compare two runs, study by study and stage by stage, each ratio with its 95 % interval.

    Example: scanside bench compare before.json after.json --fail-if-slower 10%
    """
    from scanside.benchmarks.compare import compare_runs, comparison_table, parse_percent, read_run

    limit = parse_percent(fail_if_slower) if fail_if_slower else None
    found = compare_runs(read_run(before), read_run(after), limit)
    print(found.model_dump_json(indent=1) if as_json else comparison_table(found))
    return ExitCode.CASE_FAILED if found.slower else ExitCode.OK


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json...", help="Of `scanside bench run`, `appliance` or `scale`."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="For report.html and the plots.")
    ],
    overwrite: Overwrite = False,
) -> None:
    """Draw results: stages as a waterfall, the distribution of latencies, cost against size; PNG, SVG and HTML.

    Example: scanside bench report results/latency.json -o results/latency
    """
    require_extra("bench", "matplotlib")
    refuse_existing(overwrite, out / "report.html")
    from scanside.benchmarks.report_html import read_any, write_report

    for path in write_report([read_any(path) for path in results], out):
        print(path)


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
    backends: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Beside nnunetv2: scanside's devices, each with its precision, and onnx-loop, a plain ONNX Runtime "
            "loop: openvino:fp32,openvino:bf16,cpu:fp32,onnx-loop.",
        ),
    ] = "auto:fp32",
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="Rounds, every peer once in each; 6 for an interval.")
    ] = 3,
    warm_ups: Annotated[int, typer.Option(metavar="N", min=0, help="Untimed warm runs before them.")] = 1,
    folds: Folds = None,
    mirroring: Annotated[bool, typer.Option("--mirroring/--no-mirroring", help="For both alike.")] = False,
    cold: Annotated[
        bool, typer.Option("--cold/--no-cold", help="Measure the commands, image by image.")
    ] = True,
    warm: Annotated[bool, typer.Option("--warm/--no-warm", help="Measure opened networks.")] = True,
    together: Annotated[
        bool, typer.Option("--together", help="Measure one command for all images, too.")
    ] = False,
    ceiling_gib: Annotated[
        float | None,
        typer.Option(
            metavar="GIB", min=0.1, help="End commands that need more memory; default: 90 % of what is free."
        ),
    ] = None,
    table: Table = None,
    overwrite: Overwrite = False,
) -> None:
    """Run nnunetv2 and its peers in alternating rounds on the same images: time, memory, labels.

    Example: scanside bench peers nnUNetTrainer__nnUNetPlans__3d_fullres scan.nii.gz -o results/peers.json

      scanside bench peers MODEL_FOLDER imagesTr --together --no-cold --no-warm --mirroring -o results/folder.json
    """
    require_extra("bench", *PACKAGES)
    if not (cold or warm or together):
        raise UsageError("With --no-cold and --no-warm nothing is left to measure; leave one out.")
    refuse_existing(overwrite, out, table)
    from scanside.benchmarks.peers import PeersOptions, run_peers
    from scanside.benchmarks.peers_table import peers_table
    from scanside.benchmarks.results import write

    options = PeersOptions(
        bundle=bundle,
        repeats=repeats,
        warm_ups=warm_ups,
        backends=tuple(word.strip() for word in backends.split(",")),
        mirroring=mirroring,
        cold=cold,
        warm=warm,
        together=together,
        folds=words(folds),
        ceiling_mib=None if ceiling_gib is None else 1024 * ceiling_gib,
    )
    report = run_peers(model, images, options, sys.argv[1:])
    write(report, out)
    show(peers_table(report), table)


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
        refuse_existing(overwrite or resume, table)
    from scanside.benchmarks.parity import ParityOptions, run_parity
    from scanside.benchmarks.tables import parity_table

    options = ParityOptions(
        labels=labels,
        bundle=bundle,
        devices=tuple(device or ()),
        limit=limit,
        folds=words(folds),
        mirroring=mirroring,
        resume=resume,
        overwrite=overwrite,
    )
    report = run_parity(model, images, out, options, sys.argv[1:])
    show(parity_table(report), table)
    explained = all(total.explained == total.differing for total in report.totals.values())
    return ExitCode.OK if explained else ExitCode.CASE_FAILED
