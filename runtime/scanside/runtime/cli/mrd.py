"""`scanside mrd`: segment images while the patient still lies in the scanner, as FIRE and OpenRecon call it."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.cli.arguments import (
    AsJson,
    BundleFolder,
    Device,
    Folds,
    NoMirroring,
    Precision,
    Role,
    StepSize,
    Threads,
    host_and_port,
    names,
)
from scanside.runtime.errors import BackendError, ExitCode, InputError, OutputError, UsageError
from scanside.runtime.options import Options

if TYPE_CHECKING:
    from scanside.runtime.mrd.segmenting import Choice
    from scanside.runtime.segmenter import Segmenter

log = logging.getLogger("scanside.mrd")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="MRD: segment images inside the scanner's reconstruction. Research use only.",
)
PORT = 9002
"""The port of FIRE and OpenRecon."""


@app.command()
def serve(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder; of one input channel.")],
    host: Annotated[str, typer.Option(metavar="NAME", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any free one.")] = PORT,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Listen off this machine: MRD has no encryption.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    no_mirroring: NoMirroring = False,
    step_size: StepSize = 0.5,
    folds: Folds = None,
    role: Role = None,
    threads: Threads = None,
) -> int:
    """Answer MRD sessions: magnitude images come, they go back with a label image for each slice.

    Listens at once and opens the networks meanwhile. The golden cases run before the first answer.

    Example: scanside mrd serve hippocampus.bundle --port 9002
    """
    from functools import partial

    from scanside.runtime.mrd.networks import Networks
    from scanside.runtime.mrd.segmenting import answer_with
    from scanside.runtime.mrd.server import MrdServer

    if host not in ("127.0.0.1", "localhost", "::1") and not plaintext:
        raise UsageError(
            f"MRD has no encryption, and {host} is not this machine alone; add --plaintext in a network that you trust."
        )
    opened = open_bundle(bundle)
    options = Options(
        device=device,
        precision=precision,
        mirroring=not no_mirroring,
        step_size=step_size,
        folds=names(folds),
        role=role,
        threads=threads,
    )
    _refuse_channels(opened, options)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    networks = Networks(lambda choice: _open(opened, options, choice))
    try:
        server = MrdServer((host, port), partial(answer_with, networks.segment))
    except OSError as error:
        raise BackendError(f"Cannot listen on {host}:{port} ({error}); choose another port.") from error
    with server:
        words = f"Listening on {host}:{server.server_address[1]}. Research use only."
        print(words, file=sys.stderr, flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
        finally:
            networks.close()
    return ExitCode.OK


def _refuse_channels(bundle: Bundle, options: Options) -> None:
    plan = bundle.manifest.segmenters[bundle.role(options.role)].plan
    if len(plan.channels) != 1:
        raise UsageError(
            f"Segmenter '{bundle.role(options.role)}' takes {len(plan.channels)} channels, and an MRD series is one; "
            "use a bundle of one channel."
        )


def _open(bundle: Bundle, options: Options, choice: "Choice") -> "Segmenter":
    """The segmenter that the console or the command line chose, proven on its golden cases on this machine."""
    from scanside.runtime.choose import open_segmenter

    roles = tuple(bundle.manifest.segmenters)
    if choice.segmenter is not None and choice.segmenter not in roles:
        raise UsageError(
            f"There is no segmenter '{choice.segmenter}' here; choose one of {', '.join(roles)}."
        )
    chosen = replace(options, role=choice.segmenter or options.role, device=choice.device or options.device)
    # A device asked for by name has to pass its golden cases as well; `auto` asks that of every one.
    policy = chosen.on_rejection if chosen.device == "auto" else "fail"
    return open_segmenter(bundle, replace(chosen, on_rejection=policy), log.info)


@app.command()
def send(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file, or a DICOM series folder.")],
    server: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The MRD server.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MASK", help="File for the labels.")],
    parameters: Annotated[
        str, typer.Option(metavar="JSON", help='For the server, such as \'{"sendoriginal": "False"}\'.')
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the mask if it exists.")] = False,
    as_json: AsJson = False,
) -> int:
    """Send an image as a scanner would, and write the labels that come back.

    Example: scanside mrd send scan.nii.gz 127.0.0.1:9002 -o mask.nii.gz
    """
    from scanside.runtime.images.cases import CaseInput
    from scanside.runtime.images.load import load_case
    from scanside.runtime.images.write import write_mask
    from scanside.runtime.mrd.client import send as send_session
    from scanside.runtime.mrd.series import slices_of

    address = host_and_port(server, PORT)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; add --overwrite, or choose another file.")
    case = load_case(CaseInput(image.name, (image,)), 1)
    volume, header, sent = case.volume, "", slices_of(case.volume)
    if case.source is not None:
        from scanside.runtime.mrd.from_dicom import header_of, images_of

        header, sent = header_of(case.source), images_of(volume, case.source)
    answer = send_session(address, sent, parameters=parameters, header=header)
    for text in answer.texts:
        print(text, file=sys.stderr)
    labels = answer.labels(sent)
    if labels is None or labels.shape != volume.geometry.shape:
        raise InputError(f"{server} sent no label image for every slice of {image}; see its messages above.")
    write_mask(labels, volume.geometry, out)
    if as_json:
        print(
            json.dumps(
                {"schema": "scanside.mrd-send/1", "mask": str(out), "messages": list(answer.texts)}, indent=1
            )
        )
    return ExitCode.OK


@app.command()
def package(
    bundle: BundleFolder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Letters and digits.")] = "Scanside",
    vendor: Annotated[str, typer.Option(metavar="NAME", help="Who answers for the container.")] = "research",
    version: Annotated[str, typer.Option(metavar="X.Y.Z", help="Default: that of Scanside.")] = "",
    memory: Annotated[int, typer.Option(metavar="MB", min=1, help="That the scanner has to have.")] = 8192,
    wheel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Wheel of Scanside, to be copied in.", exists=True)
    ] = None,
) -> int:
    """Write what a container for OpenRecon or FIRE is built from. Never built and never run on a scanner.

    Example: scanside mrd package hippocampus.bundle -o openrecon
    """
    from scanside.runtime.mrd.openrecon.fire import NEVER, Package
    from scanside.runtime.mrd.openrecon.package import write_package

    chosen = Package(name, vendor, version, memory_mb=memory)
    write_package(open_bundle(bundle), chosen, out, wheel)
    print(f"{out} is written. {NEVER}", file=sys.stderr)
    return ExitCode.OK


@app.command("lint")
def lint_package(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="A package, or its OpenReconLabel.json.")],
) -> int:
    """Look for faults in a package for OpenRecon. Exit code 1 where there are some.

    Example: scanside mrd lint openrecon
    """
    from scanside.runtime.mrd.openrecon.lint import lint

    faults = lint(path)
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{path} has no fault that is known here.", file=sys.stderr)
    return ExitCode.CASE_FAILED if faults else ExitCode.OK
