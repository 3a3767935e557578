"""The results file of `scanside bench run` as data, and what it shares with that of `scanside bench appliance`."""

from typing import Literal

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import BundleId, Device, Run, Selftest
from scanside.benchmarks.sensors import Sensed
from scanside.runtime.record import Part

LATENCY = "scanside.bench-run/1"


class Shape(Part):
    """One sequence of a study."""

    sequence: str
    shape: list[int]
    """(Z, Y, X) voxels."""
    spacing_mm: list[float]
    """(Z, Y, X)."""


class Opening(Part):
    """A new process until it can take a study, once."""

    imports_ms: float
    """Interpreter and libraries."""
    bundle_ms: float
    """Reading the bundle and checking it."""
    networks_ms: float
    """Choosing the device, compiling the networks, opening the classifier."""


class SingleStream(Part):
    """One study after the other, each from its files to written results, networks open: MLPerf's single stream."""

    wall_ms: Distribution
    network_ms: Distribution
    """Inside the network's call."""
    split: None = None
    split_absent: str | None = None
    """Why host, H2D, device and D2H are not told apart."""
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


class Cold(Part):
    """`scanside run` as a command: a new process, from start to end."""

    wall_ms: Distribution
    other_cpu_ms: Distribution
    """Of everything else on the machine meanwhile."""
    peak_mib: float
    """Of the process tree."""


class Offline(Part):
    """Studies back to back: the next is read and the last one written while the networks compute."""

    studies: int
    seconds: float
    studies_per_hour: float
    against_single_stream: float
    """How many times as many as one after the other."""
    peak_mib: float
    """VmHWM of the process: three studies at a time are in it."""
    other_cpu_part: float
    """Part of the processor that everything else took."""
    joules_per_study: dict[str, float]
    """By source of power."""


class StudyLatency(Part):
    """One study."""

    name: str
    origin: Literal["phantom", "given"]
    images: list[Shape]
    voxels: int
    """Of all images."""
    status: str
    probability: float | None
    """What the study came to; the same in every run, or a remark says so."""
    objects: list[str]
    """DICOM objects that were written, by kind."""
    single: SingleStream
    cold: Cold | None
    """null where it was left out."""
    offline: Offline | None
    """null where it was left out."""


class RunRecord(Run):
    """What a results file of whole studies says of its conditions."""

    gpus: list[str]
    """NVIDIA cards with memory and driver, whether they were used or not."""
    bundle: BundleId
    synthetic: bool
    """The bundle was trained on phantoms."""
    device: Device
    approximations: list[str]
    """What differs from nnU-Net's defaults; empty when nothing does."""
    threads: int | None
    """Of the network; null: one a core."""
    selftest: Selftest
    headline: bool
    """Whether the figures may be quoted: a noisy or throttled run's may not, and `remarks` says why."""

    @property
    def passed(self) -> bool:
        """Whether the golden cases did."""
        return self.selftest.passed


class LatencyReport(RunRecord):
    """`scanside bench run`."""

    schema_: Literal["scanside.bench-run/1"] = Field(alias="schema")
    opening: Opening
    studies: list[StudyLatency]
