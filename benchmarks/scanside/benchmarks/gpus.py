"""NVIDIA cards as NVML (nvidia-ml-py) tells of them. What a card does not tell is None, never an error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""NVML's clock event reasons that hold clocks down. Idle, application and display clocks (0x1, 0x2, 0x100) do not."""


@dataclass(frozen=True)
class Reading:
    """One card at one moment.

    Attributes:
        joules: Of the card's own counter; None before Volta, where watts have to be integrated.
        memory_mib: In use by all processes.
        throttled: Names of `REASONS`.
    """

    name: str
    watts: float | None
    joules: float | None
    celsius: float | None
    mhz: float | None
    memory_mib: float | None
    throttled: tuple[str, ...]


class Gpus:
    """All cards of this machine."""

    def __init__(self) -> None:
        """Open NVML. `absent` then says why there is no card, where there is none."""
        self.absent: str | None = None
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            self.absent = "GPU: nvidia-ml-py is not installed"
            return
        try:
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except Exception as error:  # NVMLError_LibraryNotFound and its kin, which derive from Exception alone
            self.absent = f"GPU: NVML does not answer ({error})"
        else:
            self.absent = None if self._handles else "GPU: NVML finds none"

    def names(self) -> list[str]:
        """Model, memory and driver of each."""
        driver = _words(self._ask("nvmlSystemGetDriverVersion"))
        found = []
        for handle in self._handles:
            memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
            size = "" if memory is None else f", {memory.total / 2**30:.0f} GiB"
            found.append(f"{_words(self._ask('nvmlDeviceGetName', handle))}{size}, driver {driver}")
        return found

    def read(self) -> list[Reading]:
        """Every card now."""
        return [self._reading(f"GPU {index}", handle) for index, handle in enumerate(self._handles)]

    def _reading(self, name: str, handle: Any) -> Reading:
        nvml = self._nvml
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        bits = int(self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0)
        return Reading(
            name=name,
            watts=_scaled(self._ask("nvmlDeviceGetPowerUsage", handle), 1000),
            joules=_scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption", handle), 1000),
            celsius=_scaled(self._ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU), 1),
            mhz=_scaled(self._ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM), 1),
            memory_mib=None if memory is None else memory.used / 2**20,
            throttled=tuple(words for bit, words in REASONS.items() if bits & bit),
        )

    def _ask(self, name: str, *arguments: Any) -> Any:
        call: Callable[..., Any] | None = getattr(self._nvml, name, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except Exception:  # not supported: MIG slices and boards without a sensor refuse single questions
            return None

    def close(self) -> None:
        """Close NVML."""
        if self._nvml is not None:
            self._ask("nvmlShutdown")
            self._nvml, self._handles = None, []


def gpu_names() -> list[str]:
    """The NVIDIA cards of this machine, for a record; empty where there are none."""
    gpus = Gpus()
    try:
        return gpus.names()
    finally:
        gpus.close()


def _scaled(value: Any, by: float) -> float | None:
    return None if value is None else float(value) / by


def _words(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "unknown")
