"""The results file of `scanside bench gpu`."""

from typing import Literal

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Record, Selftest
from scanside.runtime.record import Part

GPU = "scanside.bench-gpu/2"


class Card(Part):
    """What computes."""

    name: str
    driver: str | None
    cuda: str | None
    memory_gib: float | None
    sharing_mib: float | None
    """In use by whatever else, before the run."""


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

    schema_: Literal["scanside.bench-gpu/2"] = Field(alias="schema")
    dry_run: bool
    """Computed on a CPU to see that the benchmark runs; nothing of it may be quoted."""
    card: Card
    image: list[int]
    """(C, z, y, x) voxels."""
    golden: dict[str, Selftest]
    """Device with precision → the bundle's golden cases on it."""
    cases: list[WholeCase]
    failed: list[str]
    """What could not be measured, with its reason: one failure does not end the round."""

    @property
    def passed(self) -> bool:
        """Whether everything was measured, and every golden case passed."""
        return not self.failed and all(one.passed for one in self.golden.values())
