"""What the machine tells of itself while a benchmark runs: energy, temperature, clocks, throttling, GPU memory.

Every source is optional; what a machine does not tell is absent with its reason. NVIDIA cards answer through NVML
(nvidia-ml-py), Jetsons through the INA3221's hwmon nodes, x86 processors through RAPL (powercap); everything else is
in the kernel's sysfs.
"""

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from scanside.runtime.record import Part

INTERVAL_S = 0.1
_REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""NVML's clock event reasons that hold clocks down. Idle, application and display clocks (0x1, 0x2, 0x100) do not."""
_COOLED = ("processor", "cpu", "gpu", "devfreq")
"""Cooling devices of the kernel that work by holding clocks down; fans do not."""


class Energy(Part):
    """One source of power over a run."""

    source: str
    """Such as `GPU 0 (NVML)`, `VDD_IN (INA3221)`, `package-0 (RAPL)`."""
    joules: float
    watts: float
    """Mean over the run."""


class Sensed(Part):
    """What was read during a run."""

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


class Gpus:
    """All NVIDIA cards of this machine; what one does not tell is None, never an error."""

    def __init__(self) -> None:
        """Open NVML. `absent` then says why there is no card, where there is none."""
        self._nvml: Any = None
        self.handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self.handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self.absent = None if self.handles else "GPU: NVML finds none"
        except ImportError:
            self.absent = "GPU: nvidia-ml-py is not installed"
        except Exception as error:  # NVMLError_LibraryNotFound and its kin, which derive from Exception alone
            self.absent = f"GPU: NVML does not answer ({error})"

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer of `nvml<name>`; MIG slices and boards without a sensor refuse single questions."""
        with suppress(Exception):
            return getattr(self._nvml, f"nvml{name}")(*arguments)
        return None

    def close(self) -> None:
        """Close NVML."""
        self.ask("Shutdown")


def gpu_names() -> list[str]:
    """The NVIDIA cards of this machine with memory and driver, for a record; empty where there are none."""
    gpus = Gpus()
    driver, found = _words(gpus.ask("SystemGetDriverVersion")), []
    for handle in gpus.handles:
        memory = gpus.ask("DeviceGetMemoryInfo", handle)
        size = "" if memory is None else f", {memory.total / 2**30:.0f} GiB"
        found.append(f"{_words(gpus.ask('DeviceGetName', handle))}{size}, driver {driver}")
    gpus.close()
    return found


class Sensors:
    """Reads everything every 100 ms in a thread of its own. Use as a context manager, then ask for `sensed`."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        """Look for nothing yet.

        Args:
            root: Where the kernel's sysfs is mounted.
        """
        self._root = root
        self._joules: dict[str, float] = {}
        self._counters: dict[str, float] = {}
        self._watts: dict[str, tuple[float, float]] = {}
        self._clocks: dict[str, tuple[float, float]] = {}
        self._absent: dict[str, None] = {}
        self._throttled: dict[str, int] = {}
        self._hottest = self._memory = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._gpus = Gpus()
        self._rapl = self._glob("class/powercap/*rapl:?/energy_uj")
        self._zones = self._glob("class/thermal/thermal_zone*/temp")
        self._rails = _ina3221(self._root)
        self._frequencies = self._glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")
        self._units = self._glob("class/devfreq/*/cur_freq")
        self._events = {
            path: f"{path.parts[-3]}: too hot"
            for path in self._glob("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
        } | {
            path: f"over-current {path.name.removesuffix('_event_cnt')}"
            for path in self._glob("class/hwmon/hwmon*/oc*_event_cnt")
        }
        self._cooling = {
            path: kind
            for path in self._glob("class/thermal/cooling_device*/cur_state")
            if any(word in (kind := _text(path.with_name("type")) or "").lower() for word in _COOLED)
            and "fan" not in kind.lower()
        }
        for found, words in (
            (self._gpus.handles, self._gpus.absent),
            (self._rapl, "energy of the processor: no RAPL counter (powercap)"),
            (self._rails, "energy of the board: no INA3221 power monitor (not a Jetson)"),
            (self._zones, "temperature: no thermal zone"),
            (self._frequencies, "clock of the processor: no cpufreq"),
        ):
            if not found:
                self._absent[str(words)] = None
        self._start = self._sample()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._seconds = max(self._sample() - self._start, 1e-9)
        self._gpus.close()

    def sensed(self) -> Sensed:
        """What was read between the begin and the end of the context."""
        return Sensed(
            seconds=round(self._seconds, 3),
            energy=[
                Energy(source=name, joules=round(joules, 3), watts=round(joules / self._seconds, 3))
                for name, joules in sorted(self._joules.items())
            ],
            absent=list(self._absent),
            hottest_c=self._hottest or None,
            clocks_mhz=dict(sorted(self._clocks.items())),
            throttled=[f"{reason} ({count}×)" for reason, count in sorted(self._throttled.items())],
            device_memory_mib=round(self._memory, 1) or None,
            power_mode=_power_mode(),
        )

    def _glob(self, pattern: str) -> list[Path]:
        return sorted(self._root.glob(pattern))

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> float:
        """Read everything once; returns when that began."""
        self._now = time.monotonic()
        self._sample_energy()
        for path in self._zones:
            self._hottest = max(self._hottest, (_number(path) or 0.0) / 1000)
        for path in self._frequencies:
            self._clock("cpu", (_number(path) or 0.0) / 1e3)  # kHz
        for path in self._units:
            self._clock(path.parent.name, (_number(path) or 0.0) / 1e6)  # Hz
        for path, words in self._events.items():
            count = int(_number(path) or 0)
            if count > self._counters.setdefault(words, count):
                self._throttled[words] = int(count - self._counters[words])
        for path, kind in self._cooling.items():
            if _number(path):
                self._saw(f"held down to cool: {kind}")
        for index, handle in enumerate(self._gpus.handles):
            self._sample_gpu(f"GPU {index}", handle)
        return self._now

    def _sample_energy(self) -> None:
        for path in self._rapl:
            name, value = _text(path.with_name("name")) or path.parent.name, _number(path)
            if value is None:
                self._absent[f"energy of {name}: {path.name} is readable for root only"] = None
            else:
                wraps = _number(path.with_name("max_energy_range_uj")) or 0.0
                self._count(f"{name} (RAPL)", value / 1e6, wraps / 1e6)
        for name, volts, amperes in self._rails:
            v, a = _number(volts), _number(amperes)
            if v is not None and a is not None:  # mV, mA
                self._integrate(f"{name} (INA3221)", v * a / 1e6)

    def _sample_gpu(self, name: str, handle: Any) -> None:
        ask = self._gpus.ask
        millijoules = ask("DeviceGetTotalEnergyConsumption", handle)  # not before Volta
        milliwatts = ask("DeviceGetPowerUsage", handle) if millijoules is None else None
        if millijoules is not None:
            self._count(f"{name} (NVML)", millijoules / 1000)
        elif milliwatts is not None:
            self._integrate(f"{name} (NVML)", milliwatts / 1000)
        else:
            self._absent[f"energy of {name}: it tells neither energy nor power"] = None
        self._hottest = max(self._hottest, ask("DeviceGetTemperature", handle, 0) or 0.0)
        self._clock(name, ask("DeviceGetClockInfo", handle, 1) or 0.0)  # of the multiprocessors
        memory = ask("DeviceGetMemoryInfo", handle)
        self._memory = max(self._memory, memory.used / 2**20 if memory else 0.0)
        bits = int(ask("DeviceGetCurrentClocksThrottleReasons", handle) or 0)
        for words in (words for bit, words in _REASONS.items() if bits & bit):
            self._saw(f"{name}: {words}")

    def _count(self, name: str, joules: float, wraps_at: float = 0.0) -> None:
        """The next value of a counter, which may have wrapped around."""
        step = joules - self._counters.get(name, joules)
        self._counters[name] = joules
        self._joules[name] = self._joules.get(name, 0.0) + (
            step if step >= 0 or not wraps_at else step + wraps_at
        )

    def _integrate(self, name: str, watts: float) -> None:
        """The next value of the power; between two values it counts as straight."""
        at, before = self._watts.get(name, (self._now, watts))
        self._joules[name] = self._joules.get(name, 0.0) + (watts + before) / 2 * (self._now - at)
        self._watts[name] = self._now, watts

    def _saw(self, reason: str) -> None:
        self._throttled[reason] = self._throttled.get(reason, 0) + 1

    def _clock(self, unit: str, mhz: float) -> None:
        if mhz:
            low, high = self._clocks.get(unit, (mhz, mhz))
            self._clocks[unit] = (min(low, mhz), max(high, mhz))


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


def _words(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "unknown")


def _text(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip() or None
    return None


def _number(path: Path) -> float | None:
    text = _text(path)
    with suppress(ValueError):
        return None if text is None else float(text)
    return None
