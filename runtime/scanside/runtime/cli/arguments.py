"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from scanside.runtime.backends.table import DEVICES
from scanside.runtime.errors import UsageError
from scanside.runtime.triton.address import Engine

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Role = Annotated[str | None, typer.Option(metavar="NAME", help="Segmenter, where the bundle holds several.")]
RadiomicsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="radiomics.yaml; default: the built-in recipe.")
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"auto, {', '.join(DEVICES)}; cpu and cuda are ONNX Runtime."),
]
EngineUrl = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="URL",
        help="Compute on a Triton server that has this bundle: triton://host:port/model, or triton+https://…",
    ),
]
EngineAuthority = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="PEM of the authority of the engine's certificate; default the system's."
    ),
]
EngineSeconds = Annotated[
    float | None,
    typer.Option(metavar="S", help="What a case may take on the engine, its queue included; default 900."),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="fp32 (exact); mixed, bf16 or int8 (approximations); auto: mixed on a GPU where it passes, else fp32.",
    ),
]
OnRejection = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="If golden cases reject a device: fail, or next in the order of auto; default: next for auto, else fail.",
    ),
]
NoMirroring = Annotated[
    bool, typer.Option("--no-mirroring", help="Skip mirror variants: faster, an approximation.")
]
SkipEmptyTiles = Annotated[
    bool,
    typer.Option(
        "--skip-empty-tiles", help="Do not compute tiles outside the body: faster, an approximation."
    ),
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


def chosen_engine(url: str | None, authority: Path | None, seconds: float | None) -> Engine | None:
    """The server of `--engine`, or None where the option is not given.

    Raises:
        UsageError: If the URL is none, or the other options stand without it.
    """
    if url is None:
        if authority is not None or seconds is not None:
            raise UsageError("--engine-authority and --engine-seconds go with --engine; give its URL.")
        return None
    return Engine(url, authority) if seconds is None else Engine(url, authority, seconds)


def rejection(given: str | None) -> Literal["fail", "next"] | None:
    """The value of `--on-rejection`.

    Raises:
        UsageError: If it is neither.
    """
    if given in (None, "fail", "next"):
        return cast(Literal["fail", "next"] | None, given)
    raise UsageError(f"There is no --on-rejection '{given}'; choose fail or next.")


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        envvar="SCANSIDE_CONFIG",
        help="Configuration of the appliance; default scanside.toml here, then /etc/scanside/scanside.toml.",
    ),
]
CONFIG_PLACES = (Path("scanside.toml"), Path("/etc/scanside/scanside.toml"))


def find_config(given: Path | None) -> Path:
    """The configuration that is meant.

    Raises:
        UsageError: If there is none.
    """
    places = CONFIG_PLACES if given is None else (given,)
    for path in places:
        if path.is_file():
            return path
    where = " or ".join(str(path) for path in places)
    raise UsageError(f"There is no configuration {where}; make one with `scanside serve --example`.")


def host_and_port(given: str, example: int) -> tuple[str, int]:
    """HOST:PORT as a person writes it; an IPv6 address may stand in brackets.

    Args:
        example: A port for the sentence of the refusal.

    Raises:
        UsageError: If it is not that.
    """
    host, _, port = given.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"'{given}' is not HOST:PORT, such as 127.0.0.1:{example}.")
    return host.strip("[]"), int(port)
