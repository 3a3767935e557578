"""Results files without a run, for what is made of them."""

from typing import Any

import numpy as np

from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.latency_results import LATENCY, LatencyReport

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
    "bundle": {"name": "tiny", "version": "1", "sha256": "0" * 64}, "synthetic": True,
    "device": {"asked": "cpu", "obtained": "cpu", "why": "asked for", "precision": "fp32"}, "approximations": [],
    "threads": None, "selftest": {"passed": True, "sentences": []}, "headline": True, "remarks": [],
}  # fmt: skip


def times(median: float, seed: int, count: int = 20) -> Distribution:
    """Samples around a median, ± 2 %."""
    noise = np.random.default_rng(seed).normal(0, 0.02, count)
    return Distribution.of((median * (1 + noise)).tolist())


def study(slower: float = 1.0, seed: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "name": "small", "origin": "phantom",
        "images": [{"sequence": "t2w", "shape": [10, 20, 30], "spacing_mm": [3.0, 1.0, 1.0]}], "voxels": 6000,
        "status": "ok", "probability": 0.7, "objects": ["seg", "sr"],
        "single": {
            "wall_ms": times(1000 * slower, seed), "network_ms": times(800 * slower, seed + 1),
            "rest_ms": times(200 * slower, seed + 2), "rest_part": 0.2, "cpu_ms": times(1900, seed + 3),
            "other_cpu_ms": times(1, seed + 4),
            "stages_ms": {
                "read": times(100, seed + 5), "t2w: slide": times(820 * slower, seed + 6), "tick": times(0.2, seed + 7),
            },
            "peak_mib": 400.0, "sensed": SENSED, "joules_per_study": {"package-0 (RAPL)": 30.0},
        },
        "cold": {
            "wall_ms": times(4000 * slower, seed + 8, 6), "other_cpu_ms": times(1, seed + 9, 6), "peak_mib": 500.0,
        },
        "offline": {
            "studies": 12, "seconds": 10.0, "studies_per_hour": 4320.0, "against_single_stream": 1.2, "peak_mib": 600.0,
            "other_cpu_part": 0.0, "joules_per_study": {},
        },
        **fields,
    }  # fmt: skip


def latency(*studies: dict[str, Any], **fields: Any) -> LatencyReport:
    return LatencyReport.model_validate(
        {
            **RECORD, "schema": LATENCY, "opening": {"imports_ms": 900.0, "bundle_ms": 9.0, "networks_ms": 300.0},
            "studies": list(studies) or [study()], **fields,
        }
    )  # fmt: skip


def appliance(slower: float = 1.0, seed: int = 0, **fields: Any) -> ApplianceReport:
    parts = {
        "whole_ms": 5000, "added_ms": 1000, "inference_ms": 2000, "completeness_ms": 2100, "queue_ms": 100,
        "compute_ms": 2500, "deliver_ms": 300, "all_stored_ms": 5100, "other_cpu_ms": 1, "all_ms": 6000,
    }  # fmt: skip
    way = {name: times(ms * slower, seed + number) for number, (name, ms) in enumerate(parts.items())}
    rate = {
        "senders": 3, "instances": 300, "megabytes": 61.5, "wall_ms": times(4000 * slower, seed + 20),
        "other_cpu_ms": times(1, seed + 21), "instances_per_s": 225.0, "megabytes_per_s": 46.1,
        "response_ms": times(11, seed + 22), "slowest_ms": 40.0,
    }  # fmt: skip
    one = {
        "name": "phantom-typical", "origin": "phantom", "instances": 120, "megabytes": 20.0,
        "send_ms": times(900, seed + 23), "status": "ok", "probability": 0.7, "objects": ["key", "sc", "seg", "sr"],
        "way": {**way, "stages_ms": {"read": times(200, seed + 24)}},
    }  # fmt: skip
    return ApplianceReport.model_validate(
        {
            **RECORD, "schema": APPLIANCE, "quiet_seconds": 2.0, "commitment": False, "rates": [rate], "studies": [one],
            "peak_mib": {"work": 500.0}, "sensed": SENSED, **fields,
        }
    )  # fmt: skip
