"""What the commands of `scanside export` can be told."""

from pathlib import Path
from typing import Annotated

import typer

Models = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL_FOLDER...",
        help="nnU-Net v2 results folder <Trainer>__<Plans>__<configuration>, or a .zip of "
        "nnUNetv2_export_model_to_zip; several make an ensemble, as does inference_information.json.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Bundle folder to make.")]
Configuration = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which one, where a .zip holds several, such as 3d_fullres."),
]
Folds = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="Folds, such as 0,1,2 or all; default: every one that is there."),
]
Checkpoint = Annotated[str, typer.Option(metavar="NAME", help="Checkpoint file in the fold folders.")]
Precisions = Annotated[str, typer.Option(metavar="LIST", help="fp32, and any of mixed, bf16, int8.")]
GoldenImages = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="IMAGE",
        help="Image or folder to prove the export on, besides two synthetic ones; its voxels are stored in the "
        "bundle, its name is not; repeatable.",
    ),
]
GoldenKeep = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        help="Of the --golden images the bundle keeps: images, for every machine to replay, or figures alone.",
    ),
]
Calibrate = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="IMAGE",
        help="Image or folder that int8 takes its scales from, and is judged on; not stored; repeatable.",
    ),
]
PreviousStage = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Results folder of a cascade's first stage; default: beside the model."
    ),
]
Postprocessing = Annotated[
    str,
    typer.Option(metavar="FILE", help="postprocessing.json, auto (that of exactly these folds) or none."),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the bundle.")]
IntendedUse = Annotated[str, typer.Option(metavar="TEXT", help="What the model may be used for.")]
Licence = Annotated[str, typer.Option(metavar="TEXT", help="Licence of the model.")]
TrustPickles = Annotated[
    bool,
    typer.Option(
        "--trust-pickles", help="Let the checkpoint run code. Only for files whose author you trust."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")]
AsParity = Annotated[bool, typer.Option("--json", help="Print the parity report on stdout.")]
Experiment = Annotated[
    Path, typer.Argument(metavar="EXPERIMENT", help="Experiment folder of `scanside train`.")
]
GoldenStudies = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="STUDY",
        help="Study folder to prove the bundle on; its images are stored in it, so never a patient's; repeatable.",
    ),
]
StudyName = Annotated[str, typer.Option(metavar="NAME", help="Name of the bundle.")]
Version = Annotated[str, typer.Option(metavar="TEXT", help="Version of the bundle.")]
StudyIntendedUse = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What the bundle may be used for.")
]
StudyLicence = Annotated[str, typer.Option(metavar="TEXT", help="Licence of the models.")]
ExactBundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder with fp32 networks.")]
MorePrecisions = Annotated[str, typer.Option(metavar="LIST", help="mixed, bf16 or both.")]
EngineDevice = Annotated[
    str | None, typer.Option(metavar="NAME", help="tensorrt or tensorrt-rtx; default: the one installed.")
]
EnginePrecision = Annotated[str, typer.Option(metavar="NAME", help="fp32, mixed, bf16 or int8.")]
Capability = Annotated[
    str | None,
    typer.Option(
        "--compute-capability",
        metavar="X.Y",
        help="Only see whether engines for this GPU build, such as 8.9, which needs none; nothing is run.",
    ),
]
EngineOut = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="DIR", help="Keep what --compute-capability built, to look at."),
]
Bundles = Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle folders.")]
Repository = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="REPOSITORY", help="Model repository; models of others in it stay."),
]
Packages = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR",
        help="Folder of packages with scanside on the server; repeatable; default: that of this installation.",
    ),
]
Networks = Annotated[
    bool,
    typer.Option(
        "--networks", help="Also write the networks alone, to be batched on GPUs; never run on one."
    ),
]
OverwriteModels = Annotated[bool, typer.Option("--overwrite", help="Replace models of the same name.")]
