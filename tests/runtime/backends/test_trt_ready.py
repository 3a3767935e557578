"""What keeps a TensorRT that is installed from working: the driver, a library that does not load, CUDA's own answer."""

from types import SimpleNamespace

import pytest

from scanside.runtime.backends import gpu, trt_build, trt_ready
from scanside.runtime.errors import BackendError

AMPERE = gpu.Gpu("NVIDIA RTX A2000", "8.6", 6 << 30, "550.90", "12.4")
ADA = gpu.Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "580.65", "13.0")


def trial(here: gpu.Gpu, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str] | None:
    def version(package: str) -> str:
        if package not in versions:
            raise trt_ready.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(gpu, "find", lambda: here)
    monkeypatch.setattr(trt_ready, "version", version)
    return trt_ready.trial.__wrapped__("tensorrt-rtx")


@pytest.fixture(autouse=True)
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library loads, and the GPU gives memory."""
    monkeypatch.setattr(trt_build, "library", lambda flavour: SimpleNamespace(__version__="1.7"))
    monkeypatch.setattr(trt_ready, "_allocate", lambda: None)


def test_a_driver_older_than_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = trial(AMPERE, {"tensorrt-rtx-cu13-libs": "1.7.1"}, monkeypatch)
    assert problem and "runs CUDA up to 12.4" in problem[0] and "tensorrt-rtx" in problem[0]
    assert "update the NVIDIA driver" in problem[1]
    assert trial(AMPERE, {"tensorrt-rtx-cu12-libs": "1.7.1"}, monkeypatch) is None


def test_a_driver_older_than_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack 6 with the newest cuda-bindings: TensorRT itself came with JetPack."""
    problem = trial(AMPERE, {"cuda-bindings": "13.5.0"}, monkeypatch)
    assert problem and "cuda-bindings 13.5.0" in problem[0] and "'cuda-bindings==12.*'" in problem[1]
    assert trial(ADA, {"cuda-bindings": "13.5.0"}, monkeypatch) is None


def test_a_library_that_does_not_load_names_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(flavour: str) -> None:
        raise BackendError("libcudart.so.13: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(trt_build, "library", broken)
    problem = trial(ADA, {"tensorrt-rtx-cu13-libs": "1.7.1"}, monkeypatch)
    assert problem and "libcudart.so.13 is missing" in problem[0]
    assert problem[1].split()[-1] == "nvidia-cuda-runtime"


def test_what_cuda_answers_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if gpu.missing() is None:
        pytest.skip("there is a GPU here")
    pytest.importorskip("cuda.bindings.runtime")
    monkeypatch.setattr(trt_build, "library", lambda flavour: None)
    problem = trial(ADA, {}, monkeypatch)
    assert problem and "cudaMalloc fails with cudaError" in problem[0]
