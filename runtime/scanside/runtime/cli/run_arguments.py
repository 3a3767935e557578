"""What `scanside run` alone can be told."""

from pathlib import Path
from typing import Annotated

import typer

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder with a classifier.")]
Study = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        help="Folder with a DICOM study (any nesting), or t2w.nii.gz, dwi.nii.gz, adc.nii.gz; of many: --studies.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for the results.")]
T2w = Annotated[Path | None, typer.Option(metavar="PATH", help="The T2WI: image file or series folder.")]
Dwi = Annotated[
    Path | None, typer.Option(metavar="PATH", help="The high-b image: image file or series folder.")
]
Adc = Annotated[Path | None, typer.Option(metavar="PATH", help="The ADC map: image file or series folder.")]
Series = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SEQUENCE=UID",
        help="The DICOM series that is t2w, dwi, adc or b0; one volume of it: UID#b800. Repeatable.",
    ),
]
Studies = Annotated[
    bool,
    typer.Option(
        "--studies", help="STUDY is a folder of studies, one folder each; OUT gets a folder for each."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
AsResult = Annotated[bool, typer.Option("--json", help="Print result.json on stdout.")]
