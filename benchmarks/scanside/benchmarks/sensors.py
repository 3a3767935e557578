"""What the machine tells of itself while a benchmark runs: power, energy, temperature, clocks, throttling, GPU memory.

Every source is optional; what a machine does not tell is absent with its reason. NVIDIA cards answer through NVML
(nvidia-ml-py), Jetsons through the INA3221's hwmon nodes, x86 processors through RAPL (powercap).
"""

import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

INTERVAL_S = 0.1
_HARMLESS = 0x1 | 0x2 | 0x100
"""NVML clock event reasons that are no throttling: idle, application clocks, display clocks."""


class Energy(BaseModel):
    """One source of power over a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str
    """Such as `GPU 0 (NVML)`, `VDD_IN (INA3221)`, `package-0 (RAPL)`."""
    joules: float
    watts: float
    """Mean over the run."""


class Sensed(BaseModel):
    """What was read during a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seconds: float
    energy: list[Energy]
    absent: list[str]
    """What this machine does not tell, each with the reason."""
    hottest_c: float | None
    """Of all thermal zones and GPUs."""
    clocks_mhz: dict[str, tuple[float, float]]
    """Lowest and highest by unit: `cpu`, `GPU 0`."""
    throttled: list[str]
    """Why clocks were held down, as often as it was seen; empty when they were not."""
    device_memory_mib: float | None
    """Largest use of the GPU's memory, by all processes."""
    power_mode: str | None
    """Of a Jetson: what `nvpmodel -q` says."""


@dataclass
class _Meter:
    """Power integrated over time, or the difference of an energy counter."""

    joules: float = 0.0
    last: float | None = None
    counter: float | None = None


@dataclass
class Sensors:
    """Reads everything every 100 ms in a thread of its own. Use as a context manager, then ask for `sensed`."""

    root: Path = Path("/sys")
    _meters: dict[str, _Meter] = field(default_factory=dict)
    _clocks: dict[str, list[float]] = field(default_factory=dict)
    _absent: list[str] = field(default_factory=list)
    _throttled: dict[str, int] = field(default_factory=dict)
    _throttle_start: dict[str, float] = field(default_factory=dict)
    _hottest: float | None = None
    _memory: float | None = None

    def __enter__(self) -> Self:
        self._gpus = _Gpus(self._absent)
        self._rapl = sorted(self.root.glob("class/powercap/*rapl:?/energy_uj"))
        self._rails = _ina3221(self.root)
        if not self._rapl:
            self._absent.append("energy of the processor: no readable RAPL counter (powercap)")
        if not self._rails:
            self._absent.append("energy of the board: no INA3221 power monitor (not a Jetson)")
        self._ended = threading.Event()
        self._start = time.monotonic()
        self._sample()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()
        self._seconds = time.monotonic() - self._start
        self._gpus.close()

    def sensed(self) -> Sensed:
        """What was read between the begin and the end of the context."""
        seconds = max(self._seconds, 1e-9)
        if self._hottest is None:
            self._absent.append("temperature: no thermal zone")
        if "cpu" not in self._clocks:
            self._absent.append("clock of the processor: not told")
        return Sensed(
            seconds=round(self._seconds, 3),
            energy=[
                Energy(source=name, joules=round(meter.joules, 3), watts=round(meter.joules / seconds, 3))
                for name, meter in sorted(self._meters.items())
            ],
            absent=list(dict.fromkeys(self._absent)),
            hottest_c=self._hottest,
            clocks_mhz={name: (min(seen), max(seen)) for name, seen in sorted(self._clocks.items())},
            throttled=[f"{reason} ({count}×)" for reason, count in sorted(self._throttled.items())],
            device_memory_mib=self._memory,
            power_mode=_power_mode(),
        )

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        now = time.monotonic()
        for path in self._rapl:
            value = _number(path)
            name = _text(path.with_name("name")) or path.parent.name
            if value is None:
                self._absent.append(f"energy of {name}: {path.name} is readable for root only")
                continue
            self._count(f"{name} (RAPL)", value / 1e6)
        for name, volts, amperes in self._rails:
            v, a = _number(volts), _number(amperes)
            if v is not None and a is not None:
                self._integrate(f"{name} (INA3221)", v * a / 1e6, now)
        for path in self.root.glob("class/thermal/thermal_zone*/temp"):
            self._heat((_number(path) or 0.0) / 1000)
        for path in self.root.glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"):
            value = _number(path)
            if value:
                self._clocks.setdefault("cpu", []).append(value / 1000)
        for path in self.root.glob("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"):
            self._count_throttle(f"{path.parts[-3]} too hot", _number(path) or 0.0)
        for gpu in self._gpus.read():
            self._count(f"{gpu.name} (NVML)", gpu.joules) if gpu.joules is not None else self._integrate(
                f"{gpu.name} (NVML)", gpu.watts, now
            )
            self._heat(gpu.celsius)
            self._clocks.setdefault(gpu.name, []).append(gpu.mhz)
            self._memory = max(self._memory or 0.0, gpu.memory_mib)
            if gpu.throttled:
                reason = f"{gpu.name}: clock event reasons {gpu.throttled:#x}"
                self._throttled[reason] = self._throttled.get(reason, 0) + 1

    def _count(self, name: str, joules: float) -> None:
        meter = self._meters.setdefault(name, _Meter())
        if meter.counter is not None and joules >= meter.counter:  # it wraps around: that step is lost
            meter.joules += joules - meter.counter
        meter.counter = joules

    def _integrate(self, name: str, watts: float, now: float) -> None:
        meter = self._meters.setdefault(name, _Meter())
        if meter.last is not None:
            meter.joules += watts * (now - meter.last)
        meter.last = now

    def _count_throttle(self, reason: str, count: float) -> None:
        before = self._throttle_start.setdefault(reason, count)
        if count > before:
            self._throttled[reason] = int(count - before)

    def _heat(self, celsius: float) -> None:
        if celsius > 0:
            self._hottest = max(self._hottest or 0.0, celsius)


@dataclass(frozen=True)
class _Gpu:
    name: str
    watts: float
    joules: float | None
    celsius: float
    mhz: float
    memory_mib: float
    throttled: int


class _Gpus:
    """NVIDIA cards, through NVML."""

    def __init__(self, absent: list[str]) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
        except ImportError:
            absent.append("GPU: nvidia-ml-py is not installed")
            return
        except Exception as error:  # NVMLError_LibraryNotFound and its kin
            absent.append(f"GPU: NVML does not answer ({error})")
            return
        self._nvml = pynvml
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]

    def read(self) -> list[_Gpu]:
        nvml = self._nvml
        found = []
        for index, handle in enumerate(self._handles):
            joules = None
            with suppress(Exception):  # boards before Volta have no energy counter
                joules = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
            reasons = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
            found.append(
                _Gpu(
                    name=f"GPU {index}",
                    watts=nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                    joules=joules,
                    celsius=float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
                    mhz=float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
                    memory_mib=nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20,
                    throttled=reasons & ~_HARMLESS,
                )
            )
        return found

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()


def _ina3221(root: Path) -> list[tuple[str, Path, Path]]:
    """Rails of a Jetson's power monitor: name, millivolts, milliamperes. VDD_IN alone where there is one: the board."""
    rails = []
    for hwmon in root.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*"):
        for label in sorted(hwmon.glob("in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = hwmon / f"in{number}_input", hwmon / f"curr{number}_input"
            if volts.exists() and amperes.exists():
                rails.append((_text(label) or label.name, volts, amperes))
    whole = [rail for rail in rails if rail[0] in ("VDD_IN", "POM_5V_IN")]
    return whole or rails


def _power_mode() -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=True)
        return " ".join(done.stdout.split()) or None
    return None


def _text(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text().strip() or None
    return None


def _number(path: Path) -> float | None:
    text = _text(path)
    with suppress(ValueError):
        return None if text is None else float(text)
    return None
