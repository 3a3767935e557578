"""`scanside bench …`. What each command can be told stands in `choices.py`; heavy libraries load when one runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.benchmarks.choices import (
    PACKAGES,
    ApplianceOptions,
    Bundle,
    GpuOptions,
    Images,
    LatencyOptions,
    Model,
    Out,
    Overwrite,
    ParityOptions,
    PeersOptions,
    ScaleOptions,
    Studies,
    TuiOptions,
    numbers,
    option,
)
from scanside.benchmarks.commands import Facts, command, refuse_existing
from scanside.benchmarks.results import Measurements
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


@command(app, "psutil")
def run(bundle: Bundle, options: LatencyOptions, facts: Facts, studies: Studies = None) -> Measurements:
    """Measure how long whole studies take here: warm, cold, back to back; by stage; memory, energy, temperature.

    Exit code 1 when the golden cases fail on the device.

    Example: scanside bench run pancreas.bundle -o results/latency.json

      scanside bench run pancreas.bundle study_folder -o results/latency.json --device openvino
    """
    from scanside.benchmarks.latency import run_latency
    from scanside.benchmarks.studies import chosen_studies

    with chosen_studies(studies, options.wanted, options.seed) as chosen:
        return run_latency(bundle, chosen, options, facts)


@command(app, "psutil")
def appliance(
    bundle: Bundle, options: ApplianceOptions, facts: Facts, studies: Studies = None
) -> Measurements:
    """Measure a real service here: instances per second, and the time from last instance to report at the PACS.

    It runs `scanside serve`, senders and a peer of its own on loopback, in a temporary folder; a round of slices is
    kept there until the rate is known, 2.5 GB with the defaults. Exit code 1 when the golden cases fail on the device.

    Example: scanside bench appliance pancreas.bundle -o results/appliance.json
    """
    from scanside.benchmarks.appliance import run_appliance
    from scanside.benchmarks.studies import chosen_studies

    with chosen_studies(studies, options.wanted, options.seed) as chosen:
        return run_appliance(bundle, chosen, options, facts)


@command(app, "psutil", "onnx")
def scale(options: ScaleOptions, facts: Facts) -> Measurements:
    """Measure what voxels, classes, tiles and studies cost, one varied at a time, with a made network.

    Exit code 1 when a point needs more memory than the ceiling.

    Example: scanside bench scale --large -o results/scale.json
    """
    from scanside.benchmarks.scale import run_scale

    return run_scale(options, facts)


@command(app, *PACKAGES)
def peers(model: Model, images: Images, options: PeersOptions, facts: Facts) -> Measurements:
    """Run nnunetv2 and its peers in alternating rounds on the same images: time, memory, labels.

    Example: scanside bench peers nnUNetTrainer__nnUNetPlans__3d_fullres scan.nii.gz -o results/peers.json

      scanside bench peers MODEL_FOLDER imagesTr --together --no-cold --no-warm --mirroring -o results/folder.json
    """
    from scanside.benchmarks.peers import run_peers

    return run_peers(model, images, options, facts)


@command(app, *PACKAGES)
def parity(
    model: Model,
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES_FOLDER", help="Folder of <case>_0000<ending> images.")
    ],
    out: Out,
    options: ParityOptions,
    facts: Facts,
) -> Measurements:
    """Compare the runtime's labels with nnUNetPredictor's, image by image. Exit code 1 if a difference is no tie.

    Example: scanside bench parity MODEL_FOLDER imagesTr --labels labelsTr -o results/parity.json
    """
    from scanside.benchmarks.parity import run_parity

    return run_parity(model, images, out, options, facts)


@command(app, *PACKAGES)
def gpu(model: Model, images: Images, options: GpuOptions, facts: Facts) -> Measurements:
    """Measure a GPU beside nnunetv2 with AMP on it: golden cases, and a whole case.

    Exit code 1 when a golden case fails, or something could not be measured.

    Example: scanside bench gpu MODEL_FOLDER scan_0000.nii.gz -o results/gpu.json
    """
    from scanside.benchmarks.gpu_bench import run_gpu

    return run_gpu(model, images, options, facts)


@command(app, "psutil")
def tui(options: TuiOptions, facts: Facts) -> Measurements:
    """Measure the terminal: opening, key to paint, idle load, and 50 events a second, with thousands of studies.

    Example: scanside bench tui -o results/benchmarks/tui.json
    """
    from scanside.benchmarks.tui import run_tui

    return run_tui(options, facts)


@command(app)
def compare(
    before: Annotated[
        Path,
        typer.Argument(metavar="A.json", help="Results of `scanside bench`."),
    ],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Newer ones, of the same studies.")],
    fail_if_slower: Annotated[
        str | None, option("Exit code 1 when B is slower than A by more, beyond the noise.", "X%")
    ] = None,
    as_json: Annotated[bool, option("Print one JSON document on stdout.", None, "--json")] = False,
) -> int:
    """Compare two runs, study by study and stage by stage, each ratio with its 95 % interval.

    Example: scanside bench compare before.json after.json --fail-if-slower 10%
    """
    from scanside.benchmarks.compare import compare_runs, comparison_table, parse_percent
    from scanside.benchmarks.results import read_results

    limit = parse_percent(fail_if_slower) if fail_if_slower else None
    found = compare_runs(read_results(before), read_results(after), limit)
    print(found.model_dump_json(indent=1) if as_json else comparison_table(found))
    return ExitCode.CASE_FAILED if found.slower else ExitCode.OK


@command(app, "matplotlib")
def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json...", help="Of `scanside bench`."),
    ],
    out: Annotated[Path, option("For report.html and the plots.", "FOLDER", "-o", "--out")],
    overwrite: Overwrite = False,
) -> None:
    """Draw results: stages as a waterfall, the distribution of latencies, cost against size; PNG, SVG and HTML.

    Example: scanside bench report results/latency.json -o results/latency
    """
    refuse_existing(overwrite, out / "report.html")
    from scanside.benchmarks.report_html import write_report
    from scanside.benchmarks.results import read_results

    for path in write_report([read_results(path) for path in results], out):
        print(path)


@command(app, *PACKAGES)
def make_model(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Results folder to make.")],
    kind: Annotated[str, option("abdomen-31m, classes-30 or tiny.", "NAME")] = "abdomen-31m",
    seed: Annotated[int, option("Of the random weights.", "N")] = 0,
) -> None:
    """Write an nnU-Net results folder with UNTRAINED weights: for timing, never for accuracy.

    Example: scanside bench make-model abdomen-31m --kind abdomen-31m
    """
    from scanside.benchmarks import models

    parameters = models.make_model(out, kind, seed)
    print(f"{parameters / 1e6:.3g} million parameters. {models.NOTICE}", file=sys.stderr)
    print(out)


@command(app, *PACKAGES)
def make_bundle(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Results folder of `bench make-model`.")],
    out: Annotated[Path, option("Bundle folder to make.", "BUNDLE", "-o", "--out")],
    calibrate: Annotated[
        list[Path] | None, option("Image that int8 takes its scales from; repeatable.", "IMAGE")
    ] = None,
    mixed: Annotated[bool, option("Also mixed precision, for a GPU.", None, "--mixed")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Bundle an UNTRAINED model without proof, for timing: its approximations would not pass the gate.

    Example: scanside bench make-bundle abdomen-31m -o abdomen.bundle --calibrate another_t2_series
    """
    if calibrate:
        require_extra("int8", "nncf")
    from scanside.benchmarks import models

    models.make_bundle(
        model, out, tuple(calibrate or ()), overwrite, lambda words: print(f"{words} …", file=sys.stderr), mixed=mixed
    )  # fmt: skip
    print(out)


@command(app)
def make_image(
    out: Annotated[Path, typer.Argument(metavar="OUT.nii.gz", help="File to write.")],
    shape: Annotated[str, option("Voxels.", "Z,Y,X")] = "400,512,512",
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
