"""The results file of `scanside bench gpu`."""

from typing import Literal

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Record
from scanside.runtime.record import Part

GPU = "scanside.bench-gpu/1"


class Card(Part):
    """What computes."""

    name: str
    driver: str | None
    cuda: str | None
    memory_gib: float | None
    sharing_mib: float | None
    """In use by whatever else, before the run."""


class Ceiling(Part):
    """What the card reaches, measured: the best of a second of repetitions."""

    what: Literal["product", "copy", "up pageable", "up pinned", "down pageable", "down pinned"]
    """`product`: of square matrices. `copy`: within the device's memory, read and written bytes counted. `up`,
    `down`: between host and device."""
    precision: str | None
    value: float
    unit: Literal["TFLOP/s", "GB/s"]


class NetworkTime(Part):
    """The network alone, from one fold."""

    engine: str
    """`torch amp …`: nnunetv2's network. Or a backend of scanside: `cuda:mixed`, whose tile comes from the host and
    whose logits go there; `cuda:mixed, on the device`, both there already, as with nnunetv2."""
    batch: int
    ms: Distribution
    """A tile."""
    fraction: float | None
    """Of the card's measured product in the precision of the convolutions."""
    difference: float
    """RMS of the logits' difference from float32 on the CPU, relative to their RMS; noise as input."""


class Golden(Part):
    """A golden case of the bundle on a device."""

    device: str
    precision: str
    case: str
    voxels: int
    differing: int
    problem: str | None


class WholeCase(Part):
    """An image, from the array that was read to the label array; peers one after the other."""

    peer: str
    seconds: Distribution
    stages_ms: dict[str, float]
    """Medians, where the peer tells."""
    device_memory_mib: float | None
    """Most that the whole device held beyond what it held before the peer opened."""
    differing: int
    """Voxels, from float32 on the CPU."""
    dice: dict[str, float | None]
    """Of each label, with float32 on the CPU."""
    times: float | None
    """nnunetv2's median over this peer's."""

    @property
    def lowest_dice(self) -> float | None:
        """Of all labels that occur."""
        return min((value for value in self.dice.values() if value is not None), default=None)


class GpuReport(Record):
    """`scanside bench gpu`."""

    schema_: Literal["scanside.bench-gpu/1"] = Field(alias="schema")
    dry_run: bool
    """Computed on a CPU to see that the benchmark runs; nothing of it may be quoted."""
    card: Card
    image: list[int]
    """(C, z, y, x) voxels."""
    tile: list[int]
    tile_gflop: float
    """10^9 operations of the network's convolutions for one tile."""
    ceilings: list[Ceiling]
    networks: list[NetworkTime]
    golden: list[Golden]
    cases: list[WholeCase]
    failed: list[str]
    """What could not be measured, with its reason: one failure does not end the round."""

    @property
    def passed(self) -> bool:
        """Whether everything was measured, and every golden case passed."""
        return not self.failed and not any(one.problem for one in self.golden)
