"""The results file of `scanside bench scale` as data."""

from typing import Literal

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Device, Run
from scanside.runtime.record import Part

SCALE = "scanside.bench-scale/1"
Axis = Literal["voxels", "classes", "tiles", "studies"]


class Point(Part):
    """One image and network, in a process of its own."""

    axis: Axis
    """What is varied."""
    value: int
    """Of it."""
    shape: list[int]
    """(Z, Y, X) voxels of the image."""
    classes: int
    """With background."""
    tiles: int
    studies: int
    """Images one after the other in the process; wall_ms is of all of them."""
    wall_ms: Distribution
    network_ms: Distribution
    """Inside the network's call."""
    stages_ms: dict[str, float]
    """Medians over every image."""
    baseline_mib: float
    """RSS of the process with the network open and the image in memory."""
    peak_mib: float
    """VmHWM: libraries, network and image included."""
    other_cpu_part: float
    """Part of the processor that everything else took meanwhile."""


class Growth(Part):
    """How a cost grows along an axis: cost ∝ value ^ exponent, least squares on logarithms."""

    axis: Axis
    wall: float
    rest: float
    """Of the time outside the network."""
    memory: float
    """Of the peak above what the process has before it begins."""


class ScaleReport(Run):
    """`scanside bench scale`."""

    schema_: Literal["scanside.bench-scale/1"] = Field(alias="schema")
    gpus: list[str]
    network: str
    """What the made network is: its masks mean nothing."""
    device: Device
    ceiling_mib: float
    """Stated before the run."""
    within_ceiling: bool
    """Whether every point stayed below it."""
    headline: bool
    points: list[Point]
    growth: list[Growth]

    @property
    def passed(self) -> bool:
        """Whether no point needs more than the ceiling."""
        return self.within_ceiling
