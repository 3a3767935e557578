"""What every opened segmenter is and says, whether its networks run on this machine or on a server."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import InputError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from scanside.runtime.volume import Geometry, Volume

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result of one case.

    Attributes:
        mask: (Z, Y, X) uint8 or uint16 on the grid of the input.
        probabilities: (K, Z, Y, X) float32 where asked for.
        volumes_ml: Volume of each label or region, ml; None for a picture, which has no thickness, and where the file
            says no spacing.
        stages: Stage name → milliseconds, in order.
        logits: (K, z, y, x) float16 on the network's grid of the last stage, where asked for.
        remarks: What a person should know of an approximation: how many tiles were left out.
        on_device: The last stage's labels were computed on the device.
        areas_mm2: Area of each label or region of a picture, mm²; None for a volume, and for one that has no scale.
    """

    mask: LabelMask
    volumes_ml: dict[str, float] | None
    stages: dict[str, float]
    probabilities: Probabilities | None = None
    logits: npt.NDArray[np.float16] | None = None
    remarks: tuple[str, ...] = ()
    on_device: bool = False
    areas_mm2: dict[str, float] | None = None


@dataclass(frozen=True)
class Obtained:
    """The device asked for, the one obtained, and why.

    Attributes:
        engines: sha256 of the compiled engines that passed the golden cases; None while they are being tried.
        engine: The server's model that computes in place of this machine (ADR 35), whose device is `obtained`.
    """

    asked: str
    obtained: str
    why: str
    precision: str
    engines: frozenset[str] | None = None
    engine: str | None = None

    @property
    def words(self) -> str:
        """The device obtained, for people."""
        return self.obtained if self.engine is None else f"{self.obtained} of {self.engine}"


class Segmenter(ABC):
    """A bundle's segmenter, opened. Use as a context manager.

    Attributes:
        role: Which of the bundle's segmenters it is.
        options: As they were settled when it was opened.
        device: What computes.
    """

    bundle: Bundle
    role: str
    options: Options
    device: Obtained

    @property
    def plan(self) -> Plan:
        """The plan whose labels the mask has."""
        return self.bundle.manifest.segmenters[self.role].plan

    @property
    @abstractmethod
    def engines(self) -> frozenset[str]:
        """sha256 of the compiled engines that run, where the device compiles."""

    @abstractmethod
    def segment(
        self,
        volume: Volume,
        *,
        case: str = "case",
        listener: Listener = ignore,
        probabilities: bool = False,
        logits: bool = False,
        previous: LabelMask | None = None,
    ) -> Segmentation:
        """Segment one image.

        Args:
            volume: The channels the plan names, in their order, on one grid.
            case: Name used in events.
            listener: Receives the events of this case.
            probabilities: Also compute full-resolution probabilities (memory: all classes at full resolution).
            logits: Also keep the logits on the network's grid: what the parity gate compares.
            previous: Mask of a cascade's previous stage on the grid of the image; only the last stage runs then.

        Raises:
            InputError: If the image does not fit the plan.
            CaseError: If the network's outputs are not usable.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the networks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_channels(plan: Plan, volume: Volume) -> None:
    """See that an image has the channels that the model takes.

    Raises:
        InputError: If it has not.
    """
    wanted = len(plan.channels)
    if volume.channels != wanted:
        names = ", ".join(channel.name for channel in plan.channels)
        raise InputError(f"The model takes {wanted} channel(s) ({names}), the image has {volume.channels}.")


def measured(
    mask: LabelMask, plan: Plan, geometry: Geometry
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Volumes of a mask's labels in ml, or areas in mm² of a picture's; the other is None, or both without a scale."""
    match geometry.measure:
        case "ml":
            return _sizes(mask, plan, geometry.voxel_volume_ml), None
        case "mm2":
            return None, _sizes(mask, plan, geometry.pixel_area_mm2)
    return None, None


def _sizes(mask: LabelMask, plan: Plan, unit: float) -> dict[str, float]:
    """Voxels of each label or region, times `unit`."""
    counts = {value: int(np.count_nonzero(mask == value)) for value in plan.labels.foreground}
    sizes = {}
    for name, value in plan.labels.names.items():
        members = set(value) if isinstance(value, tuple) else {value}
        if members != {0}:
            sizes[name] = round(sum(counts.get(member, 0) for member in members) * unit, 6)
    return sizes
