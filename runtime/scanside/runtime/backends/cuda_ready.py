"""Whether ONNX Runtime's CUDA provider works here: its packages, the driver, and a trial that loads it for real."""

import ctypes
import platform
import re
from functools import cache
from importlib.metadata import Distribution, distributions
from typing import Any

from scanside.runtime.backends import gpu, nvidia_files, ort
from scanside.runtime.backends.ort_errors import reason
from scanside.runtime.backends.quiet import captured
from scanside.runtime.device import gpu_arrays
from scanside.runtime.extras import install_command, package_command

PACKAGE = "onnxruntime-gpu"
_PROVIDER = "libonnxruntime_providers_cuda.so"
_WHEELS = {
    "x86_64": ("7.5", "8.0", "8.6", "8.9", "9.0", "12.0"),
    "aarch64": ("8.9", "9.0", "12.0", "12.1"),
}
"""GPUs that the wheels of onnxruntime-gpu 1.31 hold code for, read off the wheels: there is no PTX for others."""
_TRIAL = bytes.fromhex(
    "080a3a7b0a0f0a01780a01771201792204436f6e761205747269616c5a1f0a0178121a0a18080112140a0208010a0208"
    "010a0208040a0208040a0208045a1f0a0177121a0a18080112140a0208010a0208010a0208030a0208030a020803621f"
    "0a0179121a0a18080112140a0208010a0208010a0208020a0208020a02080242040a001014"
)
"""ONNX of one convolution of x (1, 1, 4, 4, 4) with w (1, 1, 3, 3, 3): the test writes it anew and compares."""
Problem = tuple[str, str] | None
"""What is missing and how to mend it, or None."""


def missing() -> Problem:
    """Driver and packages, all that is missing at once; then, once a process, what a trial says."""
    found = [problem for problem in (gpu.missing(), packages()) if problem]
    if found:
        return "; ".join(reason for reason, _ in found), "; ".join(fix for _, fix in found)
    return foreign_gpu() or trial() or gpu_arrays.missing()


def packages() -> Problem:
    """Whether the onnxruntime that Python imports is one for GPUs. One in another folder is not imported."""
    folder = ort.folder()
    if folder is None:
        return "onnxruntime-gpu is not installed", install_command("gpu")
    # By name: `auto` asks on every run, and a list of all packages would read the metadata of each.
    if all(any(distributions(name=name, path=[str(folder)])) for name in (PACKAGE, "onnxruntime")):
        return "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files", _anew()
    if (folder / "onnxruntime" / "capi" / _PROVIDER).exists():
        return None
    elsewhere = next((found for found in distributions(name=PACKAGE)), None)
    if elsewhere is not None:
        return (
            f"the onnxruntime of {folder}, which is for CPUs, comes before the onnxruntime-gpu of "
            f"{elsewhere.locate_file('')} on Python's path",
            "pip uninstall onnxruntime",
        )
    return "onnxruntime-gpu is not installed, only onnxruntime for CPUs, which it replaces", _anew()


def version() -> str:
    """Version of onnxruntime-gpu."""
    found = _distribution()
    return found.version if found else "of somebody's own build"


def foreign_gpu() -> Problem:
    """Whether the wheel lacks code for this GPU."""
    here, able, found = gpu.gpu(), _WHEELS.get(platform.machine(), ()), _distribution()
    from_registry = found is not None and "manylinux" in (found.read_text("WHEEL") or "")
    if here.capability in able or not from_registry:  # a build of somebody's own holds what it holds
        return None
    return (
        f"the wheel of onnxruntime-gpu for {platform.machine()} holds no code for {here.name} (compute capability "
        f"{here.capability}; it holds {', '.join(able) or 'none'})",
        "use --device tensorrt (on a Jetson JetPack brings it), or build onnxruntime for this GPU",
    )


def load() -> Any:
    """The module onnxruntime, with the libraries of its CUDA version loaded from wherever they are installed."""
    import onnxruntime

    nvidia_files.load(_cuda_major())
    return onnxruntime


@cache
def trial() -> Problem:
    """Allocate on the GPU and run a convolution there: nothing less shows that every library loads."""
    major, old, cause = 0, None, ""
    with captured() as said:
        try:
            major = _cuda_major()
            old = gpu.too_old(major, f"onnxruntime-gpu {version()}")
            if old is None:
                _run_trial(load())
        except Exception as error:  # ONNX Runtime raises its own types, the loader OSError
            cause = f"{type(error).__name__}: {error}"
    return _in_words(f"{said.text}\n{cause}", cause, major) if cause else old


def _in_words(text: str, cause: str, major: int) -> Problem:
    file = nvidia_files.missing_in(text)
    if file is not None:
        return (
            f"the CUDA provider of onnxruntime-gpu does not load: {file} is missing",
            nvidia_files.command_for(file, major, PACKAGE),
        )
    lines = [line.strip() for line in (*reversed(text.splitlines()), cause) if line.strip()]
    errors = [line for line in lines if re.search("fail|error", line, re.IGNORECASE)]
    return (
        f"onnxruntime-gpu does not run on this GPU ({reason((errors or lines)[0])})",
        "restart the machine; if that does not help: " + package_command("--force-reinstall", PACKAGE),
    )


def _run_trial(runtime: Any) -> None:
    """Raises what ONNX Runtime or the loader raises."""
    import numpy as np

    tile = np.ones((1, 1, 4, 4, 4), np.float32)
    runtime.OrtValue.ortvalue_from_numpy(tile, "cuda", 0)
    ctypes.CDLL(nvidia_files.CUDNN)  # ONNX Runtime opens it when a network does: its own words come too late
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = runtime.InferenceSession(
        _TRIAL, options, providers=["CUDAExecutionProvider"], enable_fallback=0
    )
    session.run(None, {"x": tile, "w": np.ones((1, 1, 3, 3, 3), np.float32)})


def _cuda_major() -> int:
    """CUDA version that onnxruntime-gpu was built for."""
    from onnxruntime.capi.build_and_package_info import cuda_version

    return int(str(cuda_version).partition(".")[0])


def _distribution() -> Distribution | None:
    """What is known of the onnxruntime-gpu that is imported."""
    folder = ort.folder()
    return None if folder is None else next(iter(distributions(name=PACKAGE, path=[str(folder)])), None)


def _anew() -> str:
    return f"pip uninstall onnxruntime onnxruntime-gpu; {install_command('gpu')}"
