"""What `scanside segment` alone can be told."""

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT...",
        help="Image file, one file a channel, a folder of <case>_0000<ending> images, or a DICOM series folder.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "-o", "--out", metavar="OUT", help="Folder for the masks, or, for one case, the mask's file."
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="ENDING",
        help="Ending of the masks: .nii.gz, .seg.nrrd (3D Slicer) …; default: the input's, .dcm (SEG) for DICOM.",
    ),
]
SaveProbabilities = Annotated[
    bool,
    typer.Option("--save-probabilities", help="Also write probabilities, as nnUNetv2_ensemble takes them."),
]
KeptLabels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL",
        help="Keep this label alone, by name or value; the rest becomes background. Repeatable.",
    ),
]
Statistics = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write sizes and intensities of each case's labels: .csv or .json."),
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Also draw a few slices with outlines: <case>_preview.png.")
]
LabelNames = Annotated[
    bool,
    typer.Option(
        "--label-names",
        help="Name labels for viewers: in NRRD headers (3D Slicer), else in labels.txt (ITK-SNAP) and labels.ctbl.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")]
AsReport = Annotated[bool, typer.Option("--json", help="Print one JSON report on stdout.")]
