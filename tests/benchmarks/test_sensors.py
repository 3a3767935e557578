"""Sensors on a made /sys, and on a made NVML."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scanside.benchmarks.sensors import Gpus, Sensed, Sensors, gpu_names


@pytest.fixture(autouse=True)
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=absent))


def write(root: Path, files: dict[str, object]) -> None:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def sensed(root: Path, meanwhile: Callable[[], None] = lambda: None) -> Sensed:
    """One sample before and one after at least; whatever the thread takes between changes nothing here."""
    with Sensors(root) as sensors:
        meanwhile()
    return sensors.sensed()


def test_a_machine_that_tells_nothing_says_what_is_absent(tmp_path: Path) -> None:
    found = sensed(tmp_path)
    assert (found.energy, found.hottest_c, found.clocks_mhz, found.throttled) == ([], None, {}, [])
    words = " ".join(found.absent)
    for expected in ("no driver", "RAPL", "INA3221", "thermal zone", "cpufreq"):
        assert expected in words
    assert len(found.absent) == len(set(found.absent)) == 5


RAPL = "class/powercap/intel-rapl:0"


def test_rapl_counts_joules_and_wraps_around(tmp_path: Path) -> None:
    write(tmp_path, {f"{RAPL}/name": "package-0", f"{RAPL}/energy_uj": 5_000_000})
    write(tmp_path, {f"{RAPL}:0/energy_uj": 1})  # a part of the package, which is not counted twice
    found = sensed(tmp_path, lambda: write(tmp_path, {f"{RAPL}/energy_uj": 47_000_000}))
    (energy,) = found.energy
    assert (energy.source, energy.joules) == ("package-0 (RAPL)", 42.0)
    assert energy.watts > 0
    write(tmp_path, {f"{RAPL}/max_energy_range_uj": 50_000_000})
    found = sensed(tmp_path, lambda: write(tmp_path, {f"{RAPL}/energy_uj": 1_000_000}))
    assert found.energy[0].joules == 4.0


def test_a_counter_that_cannot_be_read_is_absent(tmp_path: Path) -> None:
    write(tmp_path, {f"{RAPL}/name": "package-0"})
    (tmp_path / RAPL / "energy_uj").mkdir()  # reading a folder fails for root too
    found = sensed(tmp_path)
    assert found.energy == [] and "energy of package-0: energy_uj is readable for root only" in found.absent


def test_a_jetson_tells_the_power_of_the_board(tmp_path: Path) -> None:
    hwmon = "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    write(tmp_path, {
        f"{hwmon}/in1_label": "VDD_IN", f"{hwmon}/in1_input": 5000, f"{hwmon}/curr1_input": 2000,
        f"{hwmon}/in2_label": "VDD_CPU_GPU_CV", f"{hwmon}/in2_input": 5000, f"{hwmon}/curr2_input": 700,
        "class/devfreq/17000000.gpu/cur_freq": 918_000_000,
        "class/hwmon/hwmon5/oc1_event_cnt": 7,
    })  # fmt: skip
    found = sensed(tmp_path, lambda: write(tmp_path, {"class/hwmon/hwmon5/oc1_event_cnt": 9}))
    (energy,) = found.energy  # the rails behind VDD_IN are in it
    assert energy.source == "VDD_IN (INA3221)"
    assert energy.watts == pytest.approx(10.0) and energy.joules > 0
    assert found.clocks_mhz == {"17000000.gpu": (918.0, 918.0)}
    assert found.throttled == ["over-current oc1 (2×)"]


def test_heat_clocks_and_throttling_of_processors(tmp_path: Path) -> None:
    cpu = "devices/system/cpu"
    write(tmp_path, {
        "class/thermal/thermal_zone0/temp": 47_500, "class/thermal/thermal_zone1/temp": 71_000,
        "class/thermal/thermal_zone2/temp": -273_000,
        f"{cpu}/cpu0/cpufreq/scaling_cur_freq": 3_400_000, f"{cpu}/cpu1/cpufreq/scaling_cur_freq": 1_200_000,
        f"{cpu}/cpu0/thermal_throttle/core_throttle_count": 3,
        "class/thermal/cooling_device0/type": "pwm-fan", "class/thermal/cooling_device0/cur_state": 3,
        "class/thermal/cooling_device1/type": "Processor", "class/thermal/cooling_device1/cur_state": 0,
    })  # fmt: skip
    quiet = sensed(tmp_path)
    assert quiet.throttled == [] and quiet.hottest_c == 71.0 and quiet.clocks_mhz == {"cpu": (1200.0, 3400.0)}
    hot = sensed(
        tmp_path,
        lambda: write(
            tmp_path,
            {
                f"{cpu}/cpu0/thermal_throttle/core_throttle_count": 5,
                "class/thermal/cooling_device1/cur_state": 2,
            },
        ),
    )
    assert any(words.startswith("cpu0: too hot (2×)") for words in hot.throttled)
    assert any(words.startswith("held down to cool: Processor") for words in hot.throttled)


class Card:
    """The calls of NVML that are used, on one card."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, **told: Any) -> None:
        self.told = {
            "watts": 50_000, "millijoules": 1_000_000, "celsius": 55, "mhz": 1500, "used": 2**30, "reasons": 0, **told,
        }  # fmt: skip
        self.closed = False

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlSystemGetDriverVersion(self) -> str:
        return "999.1"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"A card"

    def _tell(self, name: str) -> Any:
        if self.told[name] is None:
            raise RuntimeError("not supported")
        return self.told[name]

    def nvmlDeviceGetPowerUsage(self, handle: int) -> Any:
        return self._tell("watts")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> Any:
        return self._tell("millijoules")

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> Any:
        return self._tell("celsius")

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> Any:
        return self._tell("mhz")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=self._tell("used"), total=8 * 2**30)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> Any:
        return self._tell("reasons")


def with_card(monkeypatch: pytest.MonkeyPatch, **told: Any) -> Card:
    card = Card(**told)
    monkeypatch.setitem(sys.modules, "pynvml", card)
    return card


def test_a_card_tells_energy_memory_clocks_and_heat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = with_card(monkeypatch)
    found = sensed(
        tmp_path, lambda: card.told.update(millijoules=1_250_000, used=3 * 2**30, mhz=1800, celsius=70)
    )
    (energy,) = found.energy
    assert (energy.source, energy.joules) == ("GPU 0 (NVML)", 250.0)
    assert found.device_memory_mib == 3 * 1024 and found.hottest_c == 70
    assert found.clocks_mhz["GPU 0"] == (1500, 1800) and found.throttled == []
    assert not any("GPU" in words for words in found.absent) and card.closed
    assert gpu_names() == ["A card, 8 GiB, driver 999.1"]


def test_a_card_without_a_counter_is_integrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, millijoules=None)
    found = sensed(tmp_path)
    assert found.energy[0].watts == pytest.approx(50.0)


def test_throttling_is_told_by_its_name_and_idling_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_card(monkeypatch, reasons=0x1 | 0x100)
    assert sensed(tmp_path).throttled == []
    with_card(monkeypatch, reasons=0x4 | 0x40)
    words = " ".join(sensed(tmp_path).throttled)
    assert "GPU 0: software power cap" in words and "GPU 0: hardware thermal slowdown" in words


def test_a_card_that_refuses_every_question_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = dict.fromkeys(("watts", "millijoules", "celsius", "mhz", "used", "reasons"))
    with_card(monkeypatch, **nothing)
    found = sensed(tmp_path)
    assert found.device_memory_mib is None and found.hottest_c is None and found.throttled == []


def test_without_the_library_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus().absent == "GPU: nvidia-ml-py is not installed" and gpu_names() == []
