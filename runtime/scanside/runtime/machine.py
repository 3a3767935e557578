"""What this machine is: for choosing a device, for reports and for benchmark records."""

import os
import platform
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("scanside", "numpy", "scipy", "SimpleITK", "onnxruntime", "openvino", "pydicom", "highdicom")
OF_STUDIES = ("pyradiomics-bhklab", "pillow")
"""Libraries that the result of a study depends on besides."""


@lru_cache(maxsize=1)
def processor() -> str:
    """Model name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float | None:
    """Installed memory, GiB, where the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def versions(extra: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of Python and of the libraries that are installed."""
    found = {name: _version(name) for name in (*LIBRARIES, *extra)}
    there = {name: which for name, which in found.items() if which is not None}
    return {"python": platform.python_version(), **there}


@cache
def _version(name: str) -> str | None:
    """Of a library, read from its metadata once; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
