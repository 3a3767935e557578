"""The results files as data, validated when read back. `scanside schema bench` prints the schema of one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.sensors import Sensed
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.record import Part

Schema = Literal[
    "scanside.bench-run/2", "scanside.bench-appliance/2", "scanside.bench-scale/2", "scanside.bench-gpu/2",
    "scanside.bench-parity/2", "scanside.bench-peers/3", "scanside.bench-tui/3",
]  # fmt: skip
SCHEMAS: dict[str, Schema] = {
    name.removeprefix("scanside.bench-").partition("/")[0]: name for name in get_args(Schema)
}
"""By the command."""


class Machine(Part):
    """Where it ran."""

    processor: str
    cores: int
    """Cores the process may use."""
    memory_gib: float | None
    system: str
    load_average: list[float] | None
    """1, 5 and 15 minutes, before the run."""


class Git(Part):
    """The checkout it ran from."""

    commit: str
    dirty: bool
    """Whether a tracked file differed from the commit."""


class BundleId(Part):
    """Which bundle."""

    name: str
    version: str
    sha256: str


class Margins(Part):
    """nnunetv2's own logit margins at the voxels that differ."""

    largest: float
    smallest: float
    bound: float
    explained: int
    """Differing voxels whose margin is at most the bound."""


class Device(Part):
    """The backend."""

    asked: str
    obtained: str
    why: str
    precision: str
    engine: str | None = None
    """The server's model that computed it on its own device; null for a device of this machine."""


class Selftest(Part):
    """The bundle's golden cases on the device that was measured: a fast wrong answer is no result."""

    passed: bool
    sentences: list[str]


class Quantity(Distribution):
    """One quantity in its unit. benchmarks/README.md says what its name means."""

    name: str
    unit: str
    """`ms`, `CPU ms` (of processor time), `MiB`, `J`, `1/s`, `1/h`, `MB/s`, or `1`: a part or a ratio."""
    gate: bool
    """Whether `bench compare` judges it."""


def quantity(name: str, unit: str, *samples: float, gate: bool = False) -> Quantity:
    """A quantity of at least one sample."""
    found = Distribution.of(samples)
    return Quantity(name=name, unit=unit, gate=gate, **found.model_dump())


class Measured(Part):
    """A study, an image, a round of slices, a peer: what is known of it, and what was measured."""

    name: str
    facts: dict[str, Any]
    quantities: list[Quantity]
    stages_ms: dict[str, Distribution]
    """From the pipeline's own events; empty where it tells none."""
    sensed: Sensed | None
    """What the machine told meanwhile; null where it was not asked."""

    def find(self, name: str) -> Quantity | None:
        """A quantity by its name."""
        return next((one for one in self.quantities if one.name == name), None)

    def median(self, name: str) -> float:
        """Median of a quantity that was measured."""
        found = self.find(name)
        assert found is not None, f"{self.name} has no {name}"
        return found.median


def measured(
    name: str, facts: dict[str, Any], quantities: Sequence[Quantity], stages: dict[str, Distribution] | None = None,
    sensed: Sensed | None = None,
) -> Measured:  # fmt: skip
    """A `Measured`, of which only the first three are always there."""
    return Measured(
        name=name, facts=facts, quantities=list(quantities), stages_ms=stages or {}, sensed=sensed
    )


class Measurements(Part):
    """The results file of every command of `scanside bench` that measures: quantities with their units."""

    schema_: Schema = Field(alias="schema")
    created: str
    """UTC, when the run began."""
    command: list[str]
    """The command line; absolute paths are cut to their last part."""
    machine: Machine
    versions: dict[str, str]
    git: Git | None
    """null when the code was not run from a git checkout."""
    remarks: list[str]
    """What a reader must know, such as a busy machine."""
    gpus: list[str]
    """NVIDIA cards with memory and driver, whether they were used or not."""
    bundle: BundleId | None
    """null for a made network."""
    device: Device | None
    """null where several are measured."""
    golden: dict[str, Selftest]
    """Device and precision → the bundle's golden cases there."""
    conditions: dict[str, Any]
    """What else two runs must have in common to be compared."""
    headline: bool
    """Whether the figures may be quoted: a noisy or throttled run's may not, and `remarks` says why."""
    faults: list[str]
    """What is not as it should be: the command's exit code is 1 then."""
    measured: list[Measured]

    @property
    def kind(self) -> str:
        """The command: run, appliance, scale, peers, parity, gpu, tui."""
        return self.schema_.removeprefix("scanside.bench-").partition("/")[0]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def write(report: Measurements, path: Path) -> None:
    """Write a results file in one step.

    Raises:
        OutputError: If it cannot be written.
    """
    text = json.dumps(report.model_dump(mode="json", by_alias=True), indent=1)
    with atomic_write(path) as temporary:
        temporary.write_text(f"{text}\n")


def read_results(path: Path) -> Measurements:
    """Read a results file back.

    Raises:
        InputError: If it is missing, no such file, or one of another version.
    """
    try:
        return Measurements.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); pass a file of `scanside bench`."
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path} is not a results file of `scanside bench`, or of another version."
        ) from error
