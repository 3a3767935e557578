"""The results file of `scanside bench peers` as data."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field

from scanside.benchmarks.distribution import Ratio
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.results import Device, Margins, Record
from scanside.runtime.record import Part

PEERS = "scanside.bench-peers/2"
Mode = Literal["cold", "warm", "together"]


class Metric(Part):
    """One quantity, measured on every peer in every round."""

    mode: Mode
    name: str
    """wall, cpu, other_cpu, network, outside, peak_memory."""
    unit: str
    samples: dict[str, list[float]]
    """Peer → all samples in order: the n-th of each was taken in the n-th round."""
    median: dict[str, float]
    ratio: dict[str, Ratio]
    """Peer → nnunetv2 / peer; without peers that have a sample of 0, and empty where nnunetv2 was ended."""

    @classmethod
    def of(cls, mode: Mode, name: str, unit: str, samples: Mapping[str, Sequence[float]]) -> Self:
        """Build from the samples of all peers that have one a round."""
        reference = samples.get(REFERENCE)
        ratio = {
            peer: Ratio.of([a / b for a, b in zip(reference, own, strict=True)])
            for peer, own in samples.items()
            if reference is not None and peer != REFERENCE and all(value > 0 for value in own)
        }
        return cls(
            mode=mode,
            name=name,
            unit=unit,
            samples={peer: [round(value, 4) for value in own] for peer, own in samples.items()},
            median={peer: round(statistics.median(own), 4) for peer, own in samples.items()},
            ratio=ratio,
        )


class Agreement(Part):
    """A peer's mask against nnunetv2's."""

    voxels: int
    differing: int
    dice: dict[str, float | None]
    """Label → Dice between the two masks; null where neither has the label."""
    margins: Margins | None
    """null when no voxel differs."""
    problem: str | None
    """Why the parity policy of the peer's precision rejects the mask; null where it accepts it."""


class PeerFacts(Part):
    """Who was measured."""

    program: Literal["nnunetv2", "scanside", "onnx-loop"]
    device: Device | None
    """null for the others: float32 on the CPU."""
    approximation: str | None
    """What a result is not exact by, such as `precision bf16`; null where float32 is computed throughout."""
    command: list[str]
    """The cold command, with names in place of paths."""


class Ended(Part):
    """A peer that was ended by the memory ceiling; it has no samples there."""

    peer: str
    mode: Mode
    case: str | None
    """null for all cases together."""
    after_s: float
    held_mib: float
    """When it was ended: it would have needed more."""


class PeersCase(Part):
    """One image."""

    name: str
    shape: list[int]
    """(Z, Y, X) voxels."""
    spacing_mm: list[float]
    """(Z, Y, X)."""
    converted: bool
    """Whether the files that all peers read were written from DICOM or another format."""
    tiles: int
    network_runs: dict[str, int]
    """Peer → forward passes of a case: tiles × mirror variants × folds. Empty without warm runs."""
    metrics: list[Metric]
    stages_ms: dict[str, dict[str, float]]
    """Peer → stage of scanside's pipeline → median over the warm runs; empty without them."""
    labels: dict[Mode, dict[str, Agreement]]
    """Of several different masks, the two that differ most. Without peers that gave none."""
    repeatable: dict[str, bool]
    """Whether all masks of a peer were the same."""


class Together(Part):
    """All cases by one command of each peer, in one process: their cost once."""

    cases: int
    metrics: list[Metric]


class PeersReport(Record):
    """`scanside bench peers`."""

    schema_: Literal["scanside.bench-peers/2"] = Field(alias="schema")
    peers: dict[str, PeerFacts]
    step_size: float
    repeats: int
    warm_ups: int
    """Untimed runs before the warm ones."""
    memory_method: dict[Literal["command", "warm"], str]
    memory_ceiling_mib: float
    """At which a command is ended."""
    opening: dict[str, dict[Literal["wall_s", "peak_mib"], float]]
    """Importing the libraries and opening the networks, before the warm runs, in each peer's own process."""
    absent: dict[str, str]
    """Backend that was asked for and does not open here → why."""
    ended: list[Ended]
    cases: list[PeersCase]
    together: Together | None
    """null without --together."""
