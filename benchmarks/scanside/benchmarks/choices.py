"""What each command of `scanside bench` can be told, as one record: its annotated fields are the command's options."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.benchmarks.studies import PHANTOM_SEED, SIZES
from scanside.runtime.cli.arguments import (
    Device,
    Folds,
    NoMirroring,
    Precision,
    SkipEmptyTiles,
    StepSize,
    Threads,
    names,
)
from scanside.runtime.errors import UsageError
from scanside.runtime.options import Options

PACKAGES = ("torch", "nnunetv2", "onnx", "onnxscript", "psutil")
"""What the commands that run nnunetv2 need."""
Shape = tuple[int, int, int]


def option(words: str, metavar: str | None = None, *flags: str, **more: Any) -> Any:
    """An option with its help."""
    return typer.Option(*flags, help=words, metavar=metavar, **more)


Out = Annotated[Path, option("Results file to write.", "RESULTS.json", "-o", "--out")]
Table = Annotated[Path | None, option("Also write the table, as Markdown.", "FILE")]
Overwrite = Annotated[bool, option("Replace the files that exist.", None, "--overwrite")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")]
Studies = Annotated[
    list[Path] | None,
    typer.Argument(metavar="STUDY...", help="As for `scanside run`; the appliance takes DICOM alone."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="nnU-Net v2 results folder.")]
Images = Annotated[
    list[Path],
    typer.Argument(metavar="IMAGE...", help="As for `scanside segment`: files, a folder, a DICOM series."),
]
BundleFolder = Annotated[
    Path | None, option("The model as a bundle; default: export it for this run.", "BUNDLE", "--bundle")
]
Mirroring = Annotated[bool, option("For all alike.", None, "--mirroring/--no-mirroring")]
Seed = Annotated[int, option("Of the phantoms.", "S", min=0)]
Sizes = Annotated[str, option("Without a STUDY: phantoms, of small, typical, large.", "LIST")]


def numbers(text: str, flag: str, example: str) -> tuple[int, ...]:
    """`1,3` → whole numbers.

    Raises:
        UsageError: If one is none.
    """
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError:
        raise UsageError(f"{flag} {text} is no list of numbers, such as {example}.") from None


@dataclass(frozen=True)
class StudyOptions:
    """Which studies are measured, and how they are computed."""

    sizes: Sizes = "typical"
    seed: Seed = PHANTOM_SEED
    device: Device = "auto"
    precision: Precision = "fp32"
    no_mirroring: NoMirroring = False
    step_size: StepSize = 0.5
    folds: Folds = None
    threads: Threads = None

    def __post_init__(self) -> None:
        _ = self.run  # refuses what is none
        if set(self.wanted) - set(SIZES):
            raise UsageError(f"--sizes {self.sizes} is not of {', '.join(SIZES)}.")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The sizes of phantoms."""
        return names(self.sizes) or ()

    @property
    def run(self) -> Options:
        """The choices as `scanside run` has them."""
        return Options(
            device=self.device, precision=self.precision, mirroring=not self.no_mirroring, step_size=self.step_size,
            folds=names(self.folds), threads=self.threads,
        )  # fmt: skip


@dataclass(frozen=True)
class LatencyOptions(StudyOptions):
    """Of `bench run`."""

    sizes: Sizes = "small,typical,large"
    skip_empty_tiles: SkipEmptyTiles = False
    repeats: Annotated[int, option("Fewest repetitions, warm.", "N", min=6)] = 10
    most: Annotated[
        int, option("Most repetitions; it stops when the median is known to ± 3 %.", "N", min=6)
    ] = 40
    cold: Annotated[int, option("Repetitions of the command; 0 for none.", "N", min=0)] = 6
    offline: Annotated[int, option("Studies back to back; 0 for none.", "N", min=0)] = 12

    @property
    def run(self) -> Options:
        """The choices as `scanside run` has them."""
        return replace(super().run, skip_empty_tiles=self.skip_empty_tiles)


@dataclass(frozen=True)
class ApplianceOptions(StudyOptions):
    """Of `bench appliance`."""

    repeats: Annotated[
        int, option("How often each study and each round is sent; no headline below 6.", "N", min=1)
    ] = 10
    senders: Annotated[str, option("Numbers of senders for the rate; empty for none.", "LIST")] = "1,3"
    instances: Annotated[int, option("Slices of each sender in a round.", "N", min=1)] = 300
    matrix: Annotated[int, option("Rows and columns of those slices.", "N", min=16, max=4096)] = 320
    quiet_seconds: Annotated[float, option("As in scanside.toml; told apart in the results.", "S", min=0)] = (
        2.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(number < 1 for number in self.counts):
            raise UsageError("--senders must be numbers from 1, such as 1,3.")

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of senders."""
        return numbers(self.senders, "--senders", "1,3")


@dataclass(frozen=True)
class ScaleOptions:
    """Of `bench scale`. Of other things than voxels an image of `base` (Z, Y, X) is varied, in tiles of `patch`."""

    device: Annotated[str, option("cpu or openvino.", "NAME")] = "cpu"
    threads: Threads = None
    repeats: Annotated[int, option("Of each point.", "N", min=1)] = 3
    large: Annotated[
        bool, option("Also 512 × 512 × 400 with 30 classes: minutes and gigabytes.", None, "--large")
    ] = False
    ceiling_mib: Annotated[float, option("Memory that no point may need.", "MIB", min=1)] = 4096.0
    base: Shape = (128, 256, 256)
    patch: Shape = (96, 96, 96)


@dataclass(frozen=True)
class PeersOptions:
    """Of `bench peers`."""

    bundle: BundleFolder = None
    backends: Annotated[
        str,
        option(
            "Beside nnunetv2: scanside's devices, each with its precision, and onnx-loop, a plain ONNX Runtime loop: "
            "openvino:fp32,openvino:bf16,cpu:fp32,onnx-loop.",
            "LIST",
        ),
    ] = "auto:fp32"
    repeats: Annotated[int, option("Rounds, every peer once in each; 6 for an interval.", "N", min=1)] = 3
    warm_ups: Annotated[int, option("Untimed warm runs before them.", "N", min=0)] = 1
    folds: Folds = None
    mirroring: Mirroring = False
    cold: Annotated[bool, option("Measure the commands, image by image.", None, "--cold/--no-cold")] = True
    warm: Annotated[bool, option("Measure opened networks.", None, "--warm/--no-warm")] = True
    together: Annotated[bool, option("Measure one command for all images, too.", None, "--together")] = False
    ceiling_gib: Annotated[
        float | None,
        option("End commands that need more memory; default: 90 % of what is free.", "GIB", min=0.1),
    ] = None

    def __post_init__(self) -> None:
        if not (self.cold or self.warm or self.together):
            raise UsageError("With --no-cold and --no-warm nothing is left to measure; leave one out.")


@dataclass(frozen=True)
class ParityOptions:
    """Of `bench parity`."""

    labels: Annotated[Path | None, option("Manual labels <case><ending>, for Dice.", "FOLDER")] = None
    bundle: BundleFolder = None
    device: Annotated[list[str] | None, option("Repeatable; default: all that are here.", "NAME")] = None
    limit: Annotated[int | None, option("Only the first N images.", "N", min=1)] = None
    folds: Folds = None
    mirroring: Mirroring = True


@dataclass(frozen=True)
class GpuOptions:
    """Of `bench gpu`."""

    bundle: BundleFolder = None
    backends: Annotated[
        str | None, option("Such as cuda:mixed; default: every GPU device here, mixed and fp32.", "LIST")
    ] = None
    folds: Folds = None
    mirroring: Mirroring = True
    repeats: Annotated[int, option("Whole cases a peer.", "N", min=1)] = 5
    dry_run: Annotated[
        bool, option("On a CPU, to see that it runs; the results say so.", None, "--dry-run")
    ] = False


@dataclass(frozen=True)
class TuiOptions:
    """Of `bench tui`."""

    studies: Annotated[int, option("Studies in the worklist.", "N", min=10)] = 5000
    keys: Annotated[int, option("Key presses to time.", "N", min=20)] = 200
    openings: Annotated[int, option("Times to open it.", "N", min=1)] = 7
    seconds: Annotated[float, option("To be idle, and to be under events.", "S", min=1)] = 20.0
