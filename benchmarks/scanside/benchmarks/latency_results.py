"""The results file of `scanside bench run` as data."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import BundleId, Device, Git, Machine
from scanside.benchmarks.sensors import Sensed
from scanside.runtime.errors import InputError

LATENCY = "scanside.bench-run/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Shape(_Part):
    """One sequence of a study."""

    sequence: str
    shape: list[int]
    """(Z, Y, X) voxels."""
    spacing_mm: list[float]
    """(Z, Y, X)."""


class SingleStream(_Part):
    """One study after the other, each from its files to written results, networks open: MLPerf's single stream."""

    wall_ms: Distribution
    network_ms: Distribution
    """Inside the network's call."""
    rest_ms: Distribution
    """Everything else: wall less network."""
    rest_part: float
    """Median of rest / wall."""
    cpu_ms: Distribution
    other_cpu_ms: Distribution
    """Of everything else on the machine meanwhile; near zero on a quiet one."""
    stages_ms: dict[str, Distribution]
    """From the pipeline's own events."""
    peak_mib: float
    """Largest VmHWM of the process, reset before each study; libraries and networks included."""
    sensed: Sensed
    joules_per_study: dict[str, float]
    """By source of power."""


class Cold(_Part):
    """`scanside run` as a command: a new process, from start to end."""

    wall_ms: Distribution
    peak_mib: float
    """Of the process tree."""


class Offline(_Part):
    """Studies back to back: the next is read and the last one written while the networks compute."""

    studies: int
    seconds: float
    studies_per_hour: float
    against_single_stream: float
    """How many times as many as one after the other."""


class StudyLatency(_Part):
    """One study."""

    name: str
    origin: str
    """`phantom` or `given`."""
    images: list[Shape]
    voxels: int
    """Of all images."""
    status: str
    probability: float | None
    """What the study came to; the same in every run, or a remark says so."""
    objects: list[str]
    """DICOM objects that were written, by kind."""
    single: SingleStream | None
    cold: Cold | None
    offline: Offline | None


class Selftest(_Part):
    """The bundle's golden cases on the device that was measured: a fast wrong answer is no result."""

    passed: bool
    sentences: list[str]


class LatencyReport(_Part):
    """`scanside bench run`."""

    schema_: Literal["scanside.bench-run/1"] = Field(alias="schema")
    created: str
    """UTC, when the run began."""
    command: list[str]
    machine: Machine
    versions: dict[str, str]
    git: Git | None
    bundle: BundleId
    synthetic: bool
    """The bundle was trained on phantoms."""
    device: Device
    approximations: list[str]
    """What differs from nnU-Net's defaults; empty when nothing does."""
    threads: int | None
    opening_s: float
    """Opening bundle and networks in a new process."""
    selftest: Selftest
    headline: bool
    """Whether the figures may be quoted: a noisy or throttled run's may not, and `remarks` says why."""
    remarks: list[str]
    studies: list[StudyLatency]


def read_latency(path: Path) -> LatencyReport:
    """Read a results file back.

    Raises:
        InputError: If it is missing or no such file.
    """
    try:
        return LatencyReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); pass a file of `scanside bench run`."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a results file of `scanside bench run`.") from error
