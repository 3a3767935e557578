"""`scanside export …`. torch and nnunetv2 are imported only when a command runs."""

import json
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.export.precisions import parse_precisions
from scanside.runtime.cli.arguments import Device, Precision, Threads
from scanside.runtime.cli.group import Group
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode, UsageError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Make bundles from trained models.",
)
PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript")
STUDY_PACKAGES = ("sklearn", "skl2onnx")


@app.callback()
def _group() -> None:
    """Keep typer from merging the group with its only command."""


@app.command()
def nnunet(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL_FOLDER...",
            help="nnU-Net v2 results folder <Trainer>__<Plans>__<configuration>, or a .zip of "
            "nnUNetv2_export_model_to_zip; several make an ensemble, as does inference_information.json.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Bundle folder to make.")],
    configuration: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which one, where a .zip holds several, such as 3d_fullres."),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Folds, such as 0,1,2 or all; default: every one that is there."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="NAME", help="Checkpoint file in the fold folders.")
    ] = "checkpoint_final.pth",
    precision: Annotated[
        str, typer.Option(metavar="LIST", help="fp32, and any of mixed, bf16, int8.")
    ] = "fp32,mixed",
    golden: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGE",
            help="Image or folder to prove the export on, besides two synthetic ones; its voxels are stored in the "
            "bundle, its name is not; repeatable.",
        ),
    ] = None,
    golden_keep: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Of the --golden images the bundle keeps: images, for every machine to replay, or figures alone.",
        ),
    ] = "images",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGE",
            help="Image or folder that int8 takes its scales from, and is judged on; not stored; repeatable.",
        ),
    ] = None,
    previous_stage: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Results folder of a cascade's first stage; default: beside the model."
        ),
    ] = None,
    postprocessing: Annotated[
        str,
        typer.Option(metavar="FILE", help="postprocessing.json, auto (that of exactly these folds) or none."),
    ] = "auto",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the bundle.")] = None,
    intended_use: Annotated[
        str, typer.Option(metavar="TEXT", help="What the model may be used for.")
    ] = "Research use only.",
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the model.")] = "not stated",
    trust_pickles: Annotated[
        bool,
        typer.Option(
            "--trust-pickles", help="Let the checkpoint run code. Only for files whose author you trust."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parity report on stdout.")] = False,
) -> None:
    """Export a trained nnU-Net v2 model to a bundle, proving that it computes what the model computes.

    Several models make an ensemble: the mean of their probabilities, as nnUNetv2_ensemble merges them, and the
    postprocessing that find_best_configuration determined for it.

    Examples:

      scanside export nnunet nnUNetTrainer__nnUNetPlans__3d_fullres -o hippocampus.bundle

      scanside export nnunet nnUNetTrainer__nnUNetPlans__2d nnUNetTrainer__nnUNetPlans__3d_fullres -o both.bundle
    """
    require_extra("export", *PACKAGES)
    precisions = parse_precisions(precision)
    if golden_keep not in ("images", "figures"):
        raise UsageError(f"There is no --golden-keep '{golden_keep}'; choose images or figures.")
    if "int8" in precisions:
        require_extra("int8", "nncf")
    from scanside.export.archive import unpacked
    from scanside.export.ensemble_members import INFORMATION
    from scanside.export.nnunet import ExportOptions, export_nnunet

    options = ExportOptions(
        folds=tuple(fold.strip() for fold in folds.split(",")) if folds else None,
        checkpoint=checkpoint,
        precisions=precisions,
        golden=tuple(golden or ()),
        keep_images=golden_keep == "images",
        calibrate=tuple(calibrate or ()),
        previous=previous_stage,
        postprocessing=postprocessing,
        trust_pickles=trust_pickles,
        name=name,
        intended_use=intended_use,
        licence=licence,
        overwrite=overwrite,
    )
    if configuration is not None and len(models) > 1:
        raise UsageError("--configuration chooses from one .zip; give the members of an ensemble one by one.")
    with ExitStack() as stack:
        folders = [
            path if path.name == INFORMATION else stack.enter_context(unpacked(path, configuration))
            for path in models
        ]
        report = export_nnunet(folders, out, options, lambda words: print(f"{words} …", file=sys.stderr))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        for row in report["hops"]:
            print(_line(row), file=sys.stderr)
        print(out)


@app.command()
def bundle(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT", help="Experiment folder of `scanside train`.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Bundle folder to make.")],
    golden: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="STUDY",
            help="Study folder to prove the bundle on; its images are stored in it, so never a patient's; repeatable.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the bundle.")] = "pancreas-mri",
    version: Annotated[str, typer.Option(metavar="TEXT", help="Version of the bundle.")] = "1",
    intended_use: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the bundle may be used for.")
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the models.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parity report on stdout.")] = False,
) -> None:
    """Put segmenters, signature and classifier of an experiment into one bundle, proven at every hop.

    Example: scanside export bundle experiment -o pancreas.bundle
    """
    require_extra("export", *STUDY_PACKAGES)
    from scanside.export.study_bundle import INTENDED_USE, StudyBundleOptions, export_study_bundle

    options = StudyBundleOptions(
        name=name,
        version=version,
        intended_use=intended_use or INTENDED_USE,
        licence=licence,
        studies=tuple(golden or ()),
        overwrite=overwrite,
    )
    report = export_study_bundle(
        experiment, out, options, lambda sentence: print(f"{sentence} …", file=sys.stderr)
    )
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for study in report["studies"]:
        print(
            f"{study['case']}: {study['features']} features differ by at most {study['feature_error']:.1e}",
            file=sys.stderr,
        )
    probability = report["probability"]
    print(
        f"Probabilities of {probability['patients']} patients differ by at most "
        f"{probability['largest_difference']:.1e} from scikit-learn's.",
        file=sys.stderr,
    )
    print(out)


@app.command()
def precisions(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder with fp32 networks.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Bundle folder to make.")],
    precision: Annotated[str, typer.Option(metavar="LIST", help="mixed, bf16 or both.")] = "mixed",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parity report on stdout.")] = False,
) -> None:
    """Add precisions for GPUs to a bundle, from its own fp32 networks, judged by its own golden cases.

    Example: scanside export precisions pancreas.bundle -o pancreas-gpu.bundle --precision mixed
    """
    require_extra("export", *PACKAGES)
    from scanside.export.more_precisions import add_precisions

    asked = tuple(name for name in parse_precisions(f"fp32,{precision}") if name != "fp32")
    report = add_precisions(
        bundle, out, asked, overwrite=overwrite, say=lambda sentence: print(f"{sentence} …", file=sys.stderr)
    )
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        for row in report["judged_now"]:
            print(_line(row), file=sys.stderr)
        print(out)


@app.command()
def engine(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="tensorrt or tensorrt-rtx; default: the one installed.")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, mixed, bf16 or int8.")] = "fp32",
    capability: Annotated[
        str | None,
        typer.Option(
            "--compute-capability",
            metavar="X.Y",
            help="Only see whether engines for this GPU build, such as 8.9, which needs none; nothing is run.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Keep what --compute-capability built, to look at."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> int:
    """Build the TensorRT engines of a bundle for this machine's GPU and prove them on the golden cases. Needs no torch.

    The runtime does the same at the first use; here it is done ahead of the first patient. Exit code 4 when an engine
    does not build or is rejected.

    Examples:

      scanside export engine pancreas.bundle --precision mixed

      scanside export engine pancreas.bundle --compute-capability 8.9
    """
    from scanside.export.engine import build_for, build_here
    from scanside.runtime.cli.progress import ProgressBars

    if capability is None and out is not None:
        raise UsageError("-o goes with --compute-capability; engines of this machine stay in its cache.")
    if capability is None:
        report = build_here(
            bundle, device, precision, lambda sentence: print(f"{sentence} …", file=sys.stderr)
        )
    else:
        with ProgressBars(1) as bars:
            report = build_for(bundle, device, precision, capability, out, bars)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        for row in report["engines"]:
            print(f"{row['network']}: engine {row['sha256']}")
        print(report["verdict"], file=sys.stderr)
    return ExitCode.OK


@app.command()
def triton(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle folders.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="REPOSITORY", help="Model repository; models of others in it stay."
        ),
    ],
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    packages: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of packages with scanside on the server; repeatable; default: that of this installation.",
        ),
    ] = None,
    networks: Annotated[
        bool,
        typer.Option(
            "--networks", help="Also write the networks alone, to be batched on GPUs; never run on one."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace models of the same name.")] = False,
) -> None:
    """Write a model repository for Triton Inference Server: each segmenter as a model of whole cases. Needs no torch.

    A model opens its bundle by its hash and replays the golden cases before it counts as loaded.

    Example: scanside export triton hippocampus.bundle -o repository
    """
    from scanside.export.triton import export_repository
    from scanside.export.triton_config import RepositoryOptions

    folders = (sysconfig.get_path("purelib"),) if packages is None else tuple(packages)
    options = RepositoryOptions(device, precision, threads, folders, networks, overwrite)
    for name in export_repository(bundles, out, options):
        print(out / name)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['case']}, {row['device']} {row['precision']}: {row['differing']} of {row['voxels']} voxels differ, "
        f"lowest Dice {row['dice']:.6f}, logits differ by {row['logit_error']:.1e} (relative RMS)"
    )
