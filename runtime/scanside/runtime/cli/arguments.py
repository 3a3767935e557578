"""Options that `run` and `segment` share: how a segmentation is to be computed."""

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(metavar="NAME", help="auto, openvino or cpu (ONNX Runtime).")]
Precision = Annotated[str, typer.Option(metavar="NAME", help="fp32 (exact), mixed or bf16 (approximations).")]
NoMirroring = Annotated[
    bool, typer.Option("--no-mirroring", help="Skip mirror variants: faster, an approximation.")
]
StepSize = Annotated[
    float, typer.Option(metavar="X", help="Tile step as a part of the tile; 0.5 is nnU-Net's.")
]
Folds = Annotated[
    str | None, typer.Option(metavar="LIST", help="Folds to average, such as 0,1; default all.")
]
Threads = Annotated[int | None, typer.Option(metavar="N", help="Threads of the network; default one a core.")]


def names(listed: str | None) -> tuple[str, ...] | None:
    """The names of a LIST, or None where the option is not given."""
    return tuple(name.strip() for name in listed.split(",")) if listed is not None else None
