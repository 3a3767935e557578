"""`scanside export …`. torch and nnunetv2 are imported only when a command runs."""

import json
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from scanside.export import options as given
from scanside.export.precisions import parse_precisions
from scanside.runtime.cli.arguments import AsJson, BundleFolder, Device, Precision, Threads
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
    models: given.Models,
    out: given.Out,
    configuration: given.Configuration = None,
    folds: given.Folds = None,
    checkpoint: given.Checkpoint = "checkpoint_final.pth",
    precision: given.Precisions = "fp32,mixed",
    golden: given.GoldenImages = None,
    golden_keep: given.GoldenKeep = "images",
    calibrate: given.Calibrate = None,
    previous_stage: given.PreviousStage = None,
    postprocessing: given.Postprocessing = "auto",
    name: given.Name = None,
    intended_use: given.IntendedUse = "Research use only.",
    licence: given.Licence = "not stated",
    trust_pickles: given.TrustPickles = False,
    overwrite: given.Overwrite = False,
    as_json: given.AsParity = False,
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
        folds=tuple(fold.strip() for fold in folds.split(",")) if folds else None, checkpoint=checkpoint,
        precisions=precisions, golden=tuple(golden or ()), keep_images=golden_keep == "images",
        calibrate=tuple(calibrate or ()), previous=previous_stage, postprocessing=postprocessing,
        trust_pickles=trust_pickles, name=name, intended_use=intended_use, licence=licence, overwrite=overwrite,
    )  # fmt: skip
    if configuration is not None and len(models) > 1:
        raise UsageError("--configuration chooses from one .zip; give the members of an ensemble one by one.")
    with ExitStack() as stack:
        folders = [
            path if path.name == INFORMATION else stack.enter_context(unpacked(path, configuration))
            for path in models
        ]
        report = export_nnunet(folders, out, options, lambda words: print(f"{words} …", file=sys.stderr))
    _tell(report, report["hops"], out, as_json=as_json)


@app.command()
def bundle(
    experiment: given.Experiment,
    out: given.Out,
    golden: given.GoldenStudies = None,
    name: given.StudyName = "pancreas-mri",
    version: given.Version = "1",
    intended_use: given.StudyIntendedUse = None,
    licence: given.StudyLicence = "not stated",
    overwrite: given.Overwrite = False,
    as_json: given.AsParity = False,
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
    bundle: given.ExactBundle,
    out: given.Out,
    precision: given.MorePrecisions = "mixed",
    overwrite: given.Overwrite = False,
    as_json: given.AsParity = False,
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
    _tell(report, report["judged_now"], out, as_json=as_json)


@app.command()
def engine(
    bundle: BundleFolder,
    device: given.EngineDevice = None,
    precision: given.EnginePrecision = "fp32",
    capability: given.Capability = None,
    out: given.EngineOut = None,
    as_json: AsJson = False,
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
    bundles: given.Bundles,
    out: given.Repository,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    packages: given.Packages = None,
    networks: given.Networks = False,
    overwrite: given.OverwriteModels = False,
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


def _tell(report: dict[str, Any], rows: list[dict[str, Any]], out: Path, *, as_json: bool) -> None:
    """Print the parity report on stdout, or the bundle's path there and a sentence for each of its rows on stderr."""
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for row in rows:
        print(_line(row), file=sys.stderr)
    print(out)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['case']}, {row['device']} {row['precision']}: {row['differing']} of {row['voxels']} voxels differ, "
        f"lowest Dice {row['dice']:.6f}, logits differ by {row['logit_error']:.1e} (relative RMS)"
    )
