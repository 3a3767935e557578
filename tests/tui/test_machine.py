"""The machine as /proc and /sys tell it: files as real machines have them."""

import types
from pathlib import Path
from typing import Any

import pytest

from scanside.tui.format import Tone
from scanside.tui.system import machine
from scanside.tui.system.machine import (
    Gpus,
    cpu_gauge,
    cpu_times,
    memory_gauge,
    rails,
    temperatures,
    throttling,
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_processor_and_memory(tmp_path: Path) -> None:
    first = cpu_times(tree(tmp_path / "1", {"proc/stat": "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4"}))
    later = cpu_times(tree(tmp_path / "2", {"proc/stat": "cpu  160 0 90 880 70 0 0 0 0 0\ncpu0 1 2 3 4"}))
    assert cpu_gauge(first, later).words == "50 %"
    assert cpu_gauge(None, later).words == "not told yet"
    info = (
        "MemTotal:       32000000 kB\nMemFree:  1000000 kB\nMemAvailable:   24000000 kB\nHugePages_Total: 0"
    )
    gauge = memory_gauge(tree(tmp_path / "3", {"proc/meminfo": info}))
    assert gauge.words == "8.2 GB of 32.8 GB" and gauge.part == pytest.approx(0.25)
    assert memory_gauge(tmp_path / "none").words == "not told by this system"


def test_a_jetsons_rails_zones_and_overcurrent_events(tmp_path: Path) -> None:
    # As an Orin with JetPack 6 has them.
    root = tree(
        tmp_path,
        {
            "sys/class/hwmon/hwmon1/name": "ina3221",
            "sys/class/hwmon/hwmon1/in1_label": "VDD_GPU_SOC",
            "sys/class/hwmon/hwmon1/in1_input": "19952",
            "sys/class/hwmon/hwmon1/curr1_input": "520",
            "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_CV",
            "sys/class/hwmon/hwmon1/in2_input": "19952",
            "sys/class/hwmon/hwmon1/curr2_input": "160",
            "sys/class/hwmon/hwmon2/name": "soctherm_oc",
            "sys/class/hwmon/hwmon2/oc1_event_cnt": "0",
            "sys/class/hwmon/hwmon2/oc3_event_cnt": "2",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "51250",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
            "sys/class/thermal/thermal_zone1/temp": "93000",
            "sys/class/thermal/thermal_zone2/type": "cv0-thermal",
            "sys/class/thermal/thermal_zone2/temp": "-256000",
        },
    )
    assert [(one.name, one.words) for one in rails(root)] == [
        ("VDD_GPU_SOC", "10.4 W"),
        ("VDD_CPU_CV", "3.2 W"),
    ]
    hot = {one.name: (one.words, one.tone) for one in temperatures(root)}
    assert hot == {"cpu-thermal": ("51 °C", Tone.PLAIN), "gpu-thermal": ("93 °C", Tone.BAD)}
    (slowed,) = throttling(root)
    assert slowed.words == "slowed down 2 times since the start" and slowed.tone is Tone.WARN


def test_a_pcs_throttling(tmp_path: Path) -> None:
    assert throttling(tmp_path) == []
    count = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    (calm,) = throttling(tree(tmp_path, {count: "0"}))
    assert (calm.name, calm.words) == ("throttled by heat", "never since the start")


def test_without_nvml_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    gpus = Gpus()
    assert gpus.read() == [] and gpus.why == "no GPU readings: nvidia-ml-py is not installed"


class Fault(Exception):
    pass


class Card(types.ModuleType):
    """NVML's functions with its types, of one card; the real library needs a driver."""

    NVMLError = Fault
    NVML_TEMPERATURE_GPU = 0

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None, "nvmlDeviceGetCount": 1, "nvmlDeviceGetHandleByIndex": "card",
            "nvmlDeviceGetName": b"NVIDIA RTX 4000", "nvmlDeviceGetTemperature": 71,
            "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(used=5_000_000_000, total=20_000_000_000),
            "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=40),
            "nvmlDeviceGetPowerUsage": 65_000, "nvmlDeviceGetEnforcedPowerLimit": 130_000,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x24,
        }  # fmt: skip
        return lambda *arguments: answers[name]


def test_a_card_tells_load_memory_power_and_what_slows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", Card("pynvml"))
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: object())
    gpus = Gpus()
    found = {one.name: one.words for one in gpus.read()}
    assert found == {
        "GPU 0 NVIDIA RTX 4000": "40 %",
        "GPU 0 memory": "5.0 GB of 20.0 GB",
        "GPU 0 temperature": "71 °C",
        "GPU 0 power": "65 of 130 W",
        "GPU 0 throttled by": "software thermal",
    }
    assert gpus.why is None


def test_the_real_machine_is_read_without_an_error() -> None:
    times = cpu_times()
    assert times is None or times.all > times.busy >= 0
    assert memory_gauge().words
    temperatures()
    rails()
    throttling()
