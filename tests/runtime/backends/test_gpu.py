"""What the driver is asked, with a driver library that is compiled here and answers as a 4090 would."""

from pathlib import Path

import pytest

from scanside.runtime.backends import gpu
from tests.support.made_libraries import DRIVER, compiled

MANAGEMENT = """
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlSystemGetDriverVersion(char *version, unsigned size) { strncpy(version, "581.15", size); return 0; }
int nvmlShutdown(void) { return 0; }
"""


def driver(folder: Path, init: int = 0, count: int = 1) -> str:
    return str(compiled(folder / "libcuda.so.1", DRIVER, f"-DINIT={init}", f"-DCOUNT={count}"))


def test_a_gpu_is_described(tmp_path: Path) -> None:
    found = gpu.examine(driver(tmp_path))
    assert isinstance(found, gpu.Gpu)
    assert (found.name, found.capability, found.cuda) == ("NVIDIA GeForce RTX 4090", "8.9", "13.1")
    assert found.memory == 25757220864 and "24.0 GiB" in str(found)


@pytest.mark.parametrize(("init", "count"), [(100, 1), (999, 1), (0, 0)])
def test_a_driver_without_gpu(init: int, count: int, tmp_path: Path) -> None:
    found = gpu.examine(driver(tmp_path, init, count))
    assert isinstance(found, tuple) and "no GPU" in found[0] and "nvidia-smi" in found[1]


@pytest.mark.parametrize(("init", "version"), [(0, "581.15"), (999, "unknown")])
def test_where_no_file_tells_the_driver_nvml_does(
    init: int, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WSL2 and gVisor have no /proc/driver/nvidia; an update of the driver has to make engines new there too."""
    monkeypatch.setattr(gpu, "_VERSION_FILES", ((str(tmp_path / "none"), "Module"),))
    nvml = compiled(tmp_path / "libnvidia-ml.so.1", MANAGEMENT, f"-DINIT={init}")
    found = gpu.examine(driver(tmp_path), str(nvml))
    assert isinstance(found, gpu.Gpu) and found.driver == version


def test_the_kernel_module_tells_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "version"
    said.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n")
    monkeypatch.setattr(gpu, "_VERSION_FILES", ((str(said), "Module"),))
    found = gpu.examine(driver(tmp_path), str(tmp_path / "none.so"))
    assert isinstance(found, gpu.Gpu) and found.driver == "580.65.06"


def test_no_driver(tmp_path: Path) -> None:
    found = gpu.examine(str(tmp_path / "nothing.so"))
    assert isinstance(found, tuple) and "driver is not installed" in found[0] and "apt install" in found[1]


@pytest.mark.parametrize(
    ("shape", "gib", "batch"),
    [
        ((1, 128, 128, 128), 24, 4),
        ((1, 16, 64, 80), 24, 8),
        ((1, 128, 128, 128), 4, 1),
        ((1, 320, 320, 320), 8, 1),
    ],
)
def test_the_first_batch_fits_half_of_the_memory(shape: tuple[int, ...], gib: int, batch: int) -> None:
    assert gpu.first_batch(shape, gib << 30) == batch
