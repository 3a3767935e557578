"""What the machine tells of itself while a benchmark runs: power, energy, temperature, clocks, throttling, GPU memory.

Every source is optional; what a machine does not tell is absent with its reason. NVIDIA cards answer through NVML
(`gpus.py`), Jetsons through the INA3221's hwmon nodes, x86 processors through RAPL (powercap).
"""

import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from scanside.benchmarks.gpus import Gpus

INTERVAL_S = 0.1
_COOLED = ("processor", "cpu", "gpu", "devfreq")
"""Cooling devices of the kernel that work by holding clocks down; fans do not."""


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
    """Lowest and highest by unit: `cpu`, `GPU 0`, a Jetson's devfreq units."""
    throttled: list[str]
    """Why clocks were held down, and how often that was seen; empty when they were not."""
    device_memory_mib: float | None
    """Largest use of the GPU's memory, by all processes."""
    power_mode: str | None
    """Of a Jetson: what `nvpmodel -q` says."""


@dataclass
class _Meter:
    """Energy of one source: power integrated over time, or the differences of a counter."""

    joules: float = 0.0
    watts: float = 0.0
    at: float | None = None
    counter: float | None = None

    def integrate(self, watts: float, now: float) -> None:
        """The next value of the power; between two values it counts as straight."""
        if self.at is not None:
            self.joules += (watts + self.watts) / 2 * (now - self.at)
        self.watts, self.at = watts, now

    def count(self, joules: float, wraps_at: float | None = None) -> None:
        """The next value of the counter, which may have wrapped around."""
        if self.counter is not None:
            step = joules - self.counter
            self.joules += step if step >= 0 else step + wraps_at if wraps_at else 0.0
        self.counter = joules


class Sensors:
    """Reads everything every 100 ms in a thread of its own. Use as a context manager, then ask for `sensed`."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        """Look for nothing yet.

        Args:
            root: Where the kernel's sysfs is mounted.
        """
        self._root = root
        self._meters: dict[str, _Meter] = {}
        self._clocks: dict[str, tuple[float, float]] = {}
        self._absent: dict[str, None] = {}
        self._throttled: dict[str, int] = {}
        self._counters: dict[str, float] = {}
        self._hottest: float | None = None
        self._memory: float | None = None
        self._seconds = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        root = self._root
        self._gpus = Gpus()
        self._rapl = sorted(root.glob("class/powercap/*rapl:?/energy_uj"))
        self._rails = _ina3221(root)
        self._zones = sorted(root.glob("class/thermal/thermal_zone*/temp"))
        self._frequencies = {
            path: _unit(path)
            for pattern in ("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", "class/devfreq/*/cur_freq")
            for path in sorted(root.glob(pattern))
        }
        self._events = {
            **{path: f"{path.parts[-3]}: too hot" for path in sorted(root.glob(
                "devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"))},
            **{path: f"over-current {path.name.removesuffix('_event_cnt')}" for path in sorted(root.glob(
                "class/hwmon/hwmon*/oc*_event_cnt"))},
        }  # fmt: skip
        self._cooling = {
            path: kind
            for path in sorted(root.glob("class/thermal/cooling_device*/cur_state"))
            if any(word in (kind := _text(path.with_name("type")) or "").lower() for word in _COOLED)
            and "fan" not in kind.lower()
        }
        for path, words in (
            (self._gpus.absent is None, self._gpus.absent or ""),
            (self._rapl, "energy of the processor: no RAPL counter (powercap)"),
            (self._rails, "energy of the board: no INA3221 power monitor (not a Jetson)"),
        ):
            if not path:
                self._absent[words] = None
        self._start = self._sample()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._seconds = self._sample() - self._start
        self._gpus.close()

    def sensed(self) -> Sensed:
        """What was read between the begin and the end of the context."""
        seconds = max(self._seconds, 1e-9)
        if self._hottest is None:
            self._absent["temperature: no thermal zone"] = None
        if "cpu" not in self._clocks:
            self._absent["clock of the processor: no cpufreq"] = None
        return Sensed(
            seconds=round(self._seconds, 3),
            energy=[
                Energy(source=name, joules=round(meter.joules, 3), watts=round(meter.joules / seconds, 3))
                for name, meter in sorted(self._meters.items())
            ],
            absent=list(self._absent),
            hottest_c=self._hottest,
            clocks_mhz=dict(sorted(self._clocks.items())),
            throttled=[f"{reason} ({count}×)" for reason, count in sorted(self._throttled.items())],
            device_memory_mib=None if self._memory is None else round(self._memory, 1),
            power_mode=_power_mode(),
        )

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> float:
        """Read everything once; returns when that began."""
        now = time.monotonic()
        self._sample_energy(now)
        self._sample_clocks()
        for gpu in self._gpus.read():
            meter = self._meters.setdefault(f"{gpu.name} (NVML)", _Meter())
            if gpu.joules is not None:
                meter.count(gpu.joules)
            elif gpu.watts is not None:
                meter.integrate(gpu.watts, now)
            self._heat(gpu.celsius)
            self._clock(gpu.name, gpu.mhz)
            if gpu.memory_mib is not None:
                self._memory = max(self._memory or 0.0, gpu.memory_mib)
            for reason in gpu.throttled:
                self._saw(f"{gpu.name}: {reason}")
        return now

    def _sample_energy(self, now: float) -> None:
        for path in self._rapl:
            name, value = _text(path.with_name("name")) or path.parent.name, _number(path)
            if value is None:
                self._absent[f"energy of {name}: {path.name} is readable for root only"] = None
                continue
            wraps = _number(path.with_name("max_energy_range_uj"))
            meter = self._meters.setdefault(f"{name} (RAPL)", _Meter())
            meter.count(value / 1e6, wraps / 1e6 if wraps else None)
        for name, volts, amperes in self._rails:
            v, a = _number(volts), _number(amperes)
            if v is not None and a is not None:  # mV, mA
                self._meters.setdefault(f"{name} (INA3221)", _Meter()).integrate(v * a / 1e6, now)

    def _sample_clocks(self) -> None:
        for path in self._zones:
            value = _number(path)
            self._heat(None if value is None else value / 1000)
        for path, unit in self._frequencies.items():
            value = _number(path)  # kHz of processors, Hz of devfreq
            self._clock(unit, None if value is None else value / (1e3 if unit == "cpu" else 1e6))
        for path, words in self._events.items():
            count = _number(path) or 0.0
            before = self._counters.setdefault(words, count)
            if count > before:
                self._throttled[words] = int(count - before)
        for path, kind in self._cooling.items():
            if (_number(path) or 0.0) > 0:
                self._saw(f"held down to cool: {kind}")

    def _saw(self, reason: str) -> None:
        self._throttled[reason] = self._throttled.get(reason, 0) + 1

    def _clock(self, unit: str, mhz: float | None) -> None:
        if mhz:
            low, high = self._clocks.get(unit, (mhz, mhz))
            self._clocks[unit] = (min(low, mhz), max(high, mhz))

    def _heat(self, celsius: float | None) -> None:
        if celsius is not None and celsius > 0:
            self._hottest = max(self._hottest or 0.0, celsius)


def _unit(path: Path) -> str:
    return "cpu" if "cpufreq" in path.parts else path.parent.name


def _ina3221(root: Path) -> list[tuple[str, Path, Path]]:
    """Rails of a Jetson's power monitor: name, millivolts, milliamperes. VDD_IN alone where there is one: the board."""
    rails = []
    for hwmon in sorted(root.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*")):
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
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip() or None
    return None


def _number(path: Path) -> float | None:
    text = _text(path)
    with suppress(ValueError):
        return None if text is None else float(text)
    return None
