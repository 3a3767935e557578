"""The NVIDIA GPU of this machine, asked of the driver itself: no package is needed to know what is there."""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scanside.runtime.errors import BackendError

DRIVER = "libcuda.so.1"
NVML = "libnvidia-ml.so.1"
"""The driver's own library of management, which comes with it, also into WSL2 and containers."""
_VERSION_FILES = (("/proc/driver/nvidia/version", "Module"), ("/etc/nv_tegra_release", "REVISION:"))
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
BYTES_A_VOXEL = 1250
"""What a U-Net of nnU-Net's default widths keeps at once, bytes a voxel of the patch in float32: 2.5 GB for 128³,
measured with ONNX Runtime on a CPU. An upper estimate for a GPU, where it only chooses the first batch to try."""
LARGEST_BATCH = 8
"""The mirror variants of one three-dimensional tile."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU.

    Attributes:
        capability: Compute capability, such as `8.9`.
        memory: Bytes.
        driver: Version of the driver, or of L4T on a Jetson.
        cuda: Newest CUDA that the driver runs, such as `13.0`.
    """

    name: str
    capability: str
    memory: int
    driver: str
    cuda: str

    def __str__(self) -> str:
        return (
            f"{self.name} (compute capability {self.capability}, {self.memory / 2**30:.1f} GiB, "
            f"driver {self.driver}, CUDA {self.cuda})"
        )


def missing() -> tuple[str, str] | None:
    """Why there is no GPU to use and how to mend it, or None."""
    found = find()
    return None if isinstance(found, Gpu) else found


def too_old(major: int, what: str) -> tuple[str, str] | None:
    """Whether the driver is too old for packages of a CUDA version, in words; CUDA itself would fail with error 35.

    Args:
        major: Such as 13.
        what: The packages.
    """
    here = gpu()
    if not here.cuda[:1].isdigit() or int(here.cuda.partition(".")[0]) >= major:
        return None
    return (
        f"the NVIDIA driver {here.driver} runs CUDA up to {here.cuda}, but {what} is built for CUDA {major}",
        f"update the NVIDIA driver (Ubuntu: apt install nvidia-driver-580-open, Jetson: a JetPack with CUDA {major})",
    )


def gpu() -> Gpu:
    """The first GPU.

    Raises:
        BackendError: If there is none.
    """
    found = find()
    if isinstance(found, Gpu):
        return found
    raise BackendError(f"There is no GPU to use: {found[0]}; {found[1]}.")


def first_batch(input_shape: tuple[int, ...], memory: int) -> int:
    """How many tiles to try at once: as many as half of the memory is sure to hold, at most `LARGEST_BATCH`.

    Args:
        input_shape: (C, *patch).
        memory: Of the GPU, bytes.
    """
    voxels = 1
    for size in input_shape[1:]:
        voxels *= size
    return max(1, min(LARGEST_BATCH, memory // 2 // (voxels * BYTES_A_VOXEL)))


@cache
def find() -> Gpu | tuple[str, str]:
    """The first GPU; what is missing and how to mend it where there is none. Asked once a process."""
    return examine(DRIVER)


def examine(driver: str, nvml: str = NVML) -> Gpu | tuple[str, str]:
    """Ask a driver library for its first GPU; what is missing and how to mend it where there is none.

    Args:
        driver, nvml: File names of the driver's two libraries.
    """
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return (
            f"the NVIDIA driver is not installed ({DRIVER} is not found)",
            "install the NVIDIA driver (Ubuntu: apt install nvidia-driver-580-open, Jetson: part of JetPack, "
            "container: --gpus all or --runtime nvidia)",
        )
    code = cuda.cuInit(0)
    count = ctypes.c_int()
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return (
            f"the NVIDIA driver finds no GPU (CUDA error {code})",
            "see what `nvidia-smi` says; a container needs --gpus all or --runtime nvidia",
        )
    device, name, version = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    memory, major, minor = ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int()
    calls = (
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuDeviceGetName(name, len(name), device),
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
        cuda.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(calls):
        return f"the NVIDIA driver does not describe its GPU (CUDA error {max(calls)})", "reboot the machine"
    return Gpu(
        name.value.decode(errors="replace"),
        f"{major.value}.{minor.value}",
        memory.value,
        _driver_version(nvml),
        f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def _driver_version(nvml: str) -> str:
    """From the kernel module; a Jetson tells its L4T release instead; NVML where neither is shown (WSL2, gVisor).

    An engine belongs to the driver it was built under: without its version an update would go unseen.
    """
    for file, marker in _VERSION_FILES:
        try:
            words = Path(file).read_text().split()
        except OSError:
            continue
        if file.endswith("tegra_release"):
            return f"L4T {' '.join(words[1:5]).rstrip(',')}"
        after = words[words.index(marker) :] if marker in words else words
        found = next((word for word in after if word[0].isdigit() and "." in word), None)
        if found is not None:
            return found
    return _of_nvml(nvml) or "unknown"


def _of_nvml(nvml: str) -> str | None:
    """The driver's version as NVML tells it, or None."""
    version = ctypes.create_string_buffer(80)  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
    try:
        library = ctypes.CDLL(nvml)
        if library.nvmlInit_v2() != 0:
            return None
        code = library.nvmlSystemGetDriverVersion(version, ctypes.c_uint(len(version)))
        library.nvmlShutdown()
    except (OSError, AttributeError):  # not there, or a stub of it
        return None
    return version.value.decode(errors="replace") or None if code == 0 else None
