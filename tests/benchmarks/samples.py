"""Results files without a run, for what is made of them."""

from typing import Any

import numpy as np

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.results import Measured, Measurements, Quantity, measured, quantity
from scanside.benchmarks.sensors import Sensed

SENSED: dict[str, Any] = {
    "seconds": 20.0, "energy": [{"source": "package-0 (RAPL)", "joules": 600.0, "watts": 30.0}], "absent": [],
    "hottest_c": 61.0, "clocks_mhz": {"cpu": (2100.0, 3400.0)}, "throttled": [], "device_memory_mib": None,
    "power_mode": None,
}  # fmt: skip
RECORD: dict[str, Any] = {
    "created": "2030-01-01T00:00:00+00:00", "command": ["scanside", "bench"],
    "machine": {
        "processor": "A processor", "cores": 2, "memory_gib": 8.0, "system": "Linux", "load_average": [0.0, 0.0, 0.0],
    },
    "gpus": [], "versions": {"scanside": "1", "numpy": "2"}, "git": {"commit": "a" * 40, "dirty": False},
    "bundle": {"name": "tiny", "version": "1", "sha256": "0" * 64},
    "device": {"asked": "cpu", "obtained": "cpu", "why": "asked for", "precision": "fp32"},
    "golden": {"cpu fp32": {"passed": True, "sentences": []}}, "headline": True, "remarks": [], "faults": [],
    "conditions": {"synthetic": True, "approximations": [], "threads": None},
}  # fmt: skip


def times(median: float, seed: int, count: int = 20) -> Distribution:
    """Samples around a median, ± 2 %."""
    noise = np.random.default_rng(seed).normal(0, 0.02, count)
    return Distribution.of((median * (1 + noise)).tolist())


def drawn(
    name: str, median: float, seed: int, count: int = 20, unit: str = "ms", gate: bool = False
) -> Quantity:
    """A quantity of such samples."""
    return quantity(name, unit, *times(median, seed, count).samples, gate=gate)


def study(slower: float = 1.0, seed: int = 0, name: str = "small", **facts: Any) -> Measured:
    known = {
        "origin": "phantom", "images": {"t2w": {"shape": [10, 20, 30], "spacing_mm": [3.0, 1.0, 1.0]}}, "voxels": 6000,
        "status": "ok", "probability": 0.7, "objects": ["seg", "sr"], **facts,
    }  # fmt: skip
    quantities = [
        drawn("warm", 1000 * slower, seed, gate=True),
        drawn("in the network", 800 * slower, seed + 1),
        drawn("everything else", 200 * slower, seed + 2),
        drawn("warm, other programs", 1, seed + 4, unit="CPU ms"),
        quantity("warm, peak memory", "MiB", 400.0),
        quantity("energy per study, package-0 (RAPL)", "J", 30.0),
        drawn("cold", 4000 * slower, seed + 8, 6, gate=True),
        quantity("offline", "1/h", 4320.0),
    ]
    stages = {
        "read": times(100, seed + 5), "t2w: slide": times(820 * slower, seed + 6), "tick": times(0.2, seed + 7),
    }  # fmt: skip
    return measured(name, known, quantities, stages, Sensed.model_validate(SENSED))


def latency(*studies: Measured, **fields: Any) -> Measurements:
    opening = measured("a new process", {}, [quantity("libraries", "ms", 900.0)])
    return Measurements.model_validate(
        {**RECORD, "schema": "scanside.bench-run/2", "measured": [opening, *(studies or [study()])], **fields}
    )


def appliance(slower: float = 1.0, seed: int = 0, quiet_seconds: float = 2.0) -> Measurements:
    rate = measured(
        "3 sender(s)",
        {"senders": 3, "instances of each": 300, "megabytes of each": 61.5},
        [drawn("round", 4000 * slower, seed + 20, gate=True), quantity("instances", "1/s", 225.0)],
    )
    parts = {
        "last instance to report": 5000, "until complete": 2100, "in the queue": 100, "computing": 2500,
        "inference": 2000, "delivering": 300, "added": 1000, "first request to all objects": 6000,
    }  # fmt: skip
    gates = ("last instance to report", "added")
    way = [
        drawn(name, ms * slower, seed + number, gate=name in gates)
        for number, (name, ms) in enumerate(parts.items())
    ]
    one = measured(
        "phantom-typical", {"status": "ok", "probability": 0.7}, way, {"read": times(200, seed + 24)}
    )
    conditions = {**RECORD["conditions"], "quiet_seconds": quiet_seconds}
    return Measurements.model_validate(
        {**RECORD, "schema": "scanside.bench-appliance/2", "measured": [rate, one], "conditions": conditions}
    )
