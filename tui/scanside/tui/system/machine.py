"""The machine: processor, memory, temperatures, power, throttling. From /proc and /sys, and NVML where it is.

What a machine does not tell is said to be not told; nothing is guessed. No package is needed: NVML comes with the
optional `nvidia-ml-py`, and a Jetson tells its rails (INA3221) through /sys.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.tui.format import Tone, size

ROOT = Path("/")
_HOT = 90.0
_NVML_SLOW = {
    0x8: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}
"""Bits of `nvmlDeviceGetCurrentClocksThrottleReasons` that mean less speed than asked for (nvml.h)."""


@dataclass(frozen=True)
class Gauge:
    """One reading.

    Attributes:
        part: How full or how near to its limit, 0 to 1; None for what has no limit.
    """

    name: str
    words: str
    part: float | None = None
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class CpuTimes:
    """Jiffies since the start: busy ones and all."""

    busy: int
    all: int


def cpu_times(root: Path = ROOT) -> CpuTimes | None:
    """From /proc/stat; None where it is not told."""
    with suppress(OSError, ValueError, IndexError):
        numbers = [int(word) for word in (root / "proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return CpuTimes(sum(numbers) - numbers[3] - numbers[4], sum(numbers))
    return None


def cpu_gauge(before: CpuTimes | None, now: CpuTimes | None) -> Gauge:
    """How busy all cores were between two readings."""
    if before is None or now is None or now.all <= before.all:
        return Gauge("processor", "not told yet", None, Tone.QUIET)
    part = (now.busy - before.busy) / (now.all - before.all)
    return Gauge("processor", f"{100 * part:.0f} %", part)


def memory_gauge(root: Path = ROOT) -> Gauge:
    """Memory in use, from /proc/meminfo: all but what is available without swapping."""
    with suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in (root / "proc/meminfo").read_text().splitlines())
        values = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
        total = values["MemTotal"]
        used = total - values["MemAvailable"]
        part = used / total
        return Gauge(
            "memory", f"{size(used)} of {size(total)}", part, Tone.BAD if part > 0.95 else Tone.PLAIN
        )
    return Gauge("memory", "not told by this system", None, Tone.QUIET)


def temperatures(root: Path = ROOT) -> list[Gauge]:
    """Thermal zones, °C; those of one kind as the hottest of them."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        with suppress(OSError, ValueError):
            kind = (zone / "type").read_text().strip()
            degrees = int((zone / "temp").read_text()) / 1000
            if -40 < degrees < 150:  # a zone that is switched off tells nonsense
                found[kind] = max(found.get(kind, -273.0), degrees)
    return [
        Gauge(f"{kind}", f"{degrees:.0f} °C", degrees / 100, Tone.BAD if degrees >= _HOT else Tone.PLAIN)
        for kind, degrees in found.items()
    ]


def rails(root: Path = ROOT) -> list[Gauge]:
    """Power rails of a Jetson: INA3221 through hwmon, mV × mA."""
    found = []
    for chip in _chips(root, "ina3221"):
        for number in (1, 2, 3):
            with suppress(OSError, ValueError):
                name = (chip / f"in{number}_label").read_text().strip()
                volts = int((chip / f"in{number}_input").read_text()) / 1000
                amperes = int((chip / f"curr{number}_input").read_text()) / 1000
                found.append(Gauge(name, f"{volts * amperes:.1f} W"))
    return found


def throttling(root: Path = ROOT) -> list[Gauge]:
    """How often the processor was slowed down since the start: for its heat (x86), or for overcurrent (Jetson)."""
    heat = _sum(root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count"))
    current = _sum(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))
    found = []
    for name, count in (("heat", heat), ("overcurrent", current)):
        if count is not None:
            words = f"slowed down {count} times since the start" if count else "never since the start"
            found.append(Gauge(f"throttled by {name}", words, None, Tone.WARN if count else Tone.PLAIN))
    return found


def _sum(files: Iterator[Path]) -> int | None:
    counts = []
    for file in files:
        with suppress(OSError, ValueError):
            counts.append(int(file.read_text()))
    return max(counts) if counts else None


def _chips(root: Path, name: str) -> list[Path]:
    found = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        with suppress(OSError):
            if (chip / "name").read_text().strip() == name:
                found.append(chip)
    return found


class Gpus:
    """NVIDIA cards through NVML. Opened once, on the first reading."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self.why: str | None = "NVML has not been asked yet"
        """Why nothing is told of a card; None when something is."""

    def read(self) -> list[Gauge]:
        """Load, memory, temperature, power and throttling of every card."""
        nvml = self._open()
        if nvml is None:
            return []
        found: list[Gauge] = []
        try:
            for number in range(nvml.nvmlDeviceGetCount()):
                found += _card(nvml, nvml.nvmlDeviceGetHandleByIndex(number), f"GPU {number}")
        except nvml.NVMLError as error:
            self._nvml, self.why = None, f"NVML answers: {error}"
        return found

    def _open(self) -> Any:
        if self._nvml is None:
            if importlib.util.find_spec("pynvml") is None:
                self.why = "no GPU readings: nvidia-ml-py is not installed"
                return None
            import pynvml

            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                self.why = f"no GPU readings: NVML answers: {error}"
                return None
            self._nvml, self.why = pynvml, None
        return self._nvml


def _card(nvml: Any, handle: Any, name: str) -> list[Gauge]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    load = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
    found = [
        Gauge(f"{name} {_text(nvml.nvmlDeviceGetName(handle))}", f"{load} %", load / 100),
        Gauge(f"{name} memory", f"{size(memory.used)} of {size(memory.total)}", memory.used / memory.total),
    ]
    with suppress(nvml.NVMLError):
        degrees = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        found.append(Gauge(f"{name} temperature", f"{degrees} °C", degrees / 100))
    with suppress(nvml.NVMLError):
        watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
        most = nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        found.append(Gauge(f"{name} power", f"{watts:.0f} of {most:.0f} W", watts / most))
    with suppress(nvml.NVMLError):
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        slow = [words for bit, words in _NVML_SLOW.items() if bits & bit]
        found.append(
            Gauge(
                f"{name} throttled by", ", ".join(slow) or "nothing", None, Tone.WARN if slow else Tone.PLAIN
            )
        )
    return found


def _text(words: str | bytes) -> str:
    return words.decode() if isinstance(words, bytes) else words
