"""What keeps the CUDA device from working, said as one file and one command: packages in made folders, the real
onnxruntime-gpu on a driver that is compiled here, and a trial that stands in for the GPU."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from scanside.runtime.backends import cuda_ready, gpu, ort
from tests.support.made_libraries import DRIVER, compiled
from tests.support.onnxruntime_gpu import onnxruntime_gpu

GONE = "cannot open shared object file: No such file or directory"
CUDNN = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'' Status Message: "
    "CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0 ; hostname=vm ; "
    "file=/onnxruntime_src/onnxruntime/core/providers/cuda/nn/conv.cc ; line=484 ; "
    "expr=s_.cudnn_fe_graph->execute(cudnn_handle, s_.variant_pack, ws.get());"
)
"""As ONNX Runtime words it: the end, where the reason stands, was cut off."""
ADA = gpu.Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "580.65", "13.0")


@pytest.fixture
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find", lambda: ADA)


def folder_with(path: Path, *packages: str, cuda: bool) -> Path:
    """A folder of Python's path with an onnxruntime."""
    capi = path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (path / "onnxruntime" / "__init__.py").write_text("")
    if cuda:
        (capi / "libonnxruntime_providers_cuda.so").write_bytes(b"")
    for package in packages:
        info = path / f"{package.replace('-', '_')}-1.31.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.31.1\n")
        (info / "WHEEL").write_text("Tag: cp311-cp311-manylinux_2_28_x86_64\n")
    return path


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Python's path, on which onnxruntime has to be looked for anew."""
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    kept = list(sys.path)
    monkeypatch.setattr(sys, "path", kept)
    importlib.invalidate_caches()
    return kept


def test_an_onnxruntime_for_cpus_in_a_folder_that_comes_later_is_not_in_the_way(
    path: list[str], tmp_path: Path
) -> None:
    path.insert(0, str(folder_with(tmp_path, "onnxruntime-gpu", cuda=True)))
    assert cuda_ready.packages() is None and cuda_ready.version() == "1.31.1"
    assert ort.version() == "onnxruntime 1.31.1"  # the one that is imported, not the other


def test_an_onnxruntime_for_cpus_in_a_folder_that_comes_first_is_named(
    path: list[str], tmp_path: Path
) -> None:
    path.append(str(folder_with(tmp_path, "onnxruntime-gpu", cuda=True)))
    problem = cuda_ready.packages()
    assert problem and "comes before" in problem[0] and str(tmp_path) in problem[0]
    assert problem[1] == "pip uninstall onnxruntime"


def test_both_in_one_folder_overwrite_each_other(path: list[str], tmp_path: Path) -> None:
    path.insert(0, str(folder_with(tmp_path, "onnxruntime-gpu", "onnxruntime", cuda=True)))
    problem = cuda_ready.packages()
    assert problem and "overwrite each other" in problem[0] and "pip uninstall onnxruntime" in problem[1]


def test_only_the_one_for_cpus(path: list[str], tmp_path: Path) -> None:
    path.insert(0, str(folder_with(tmp_path, "onnxruntime", cuda=False)))
    problem = cuda_ready.packages()
    assert problem and "only onnxruntime for CPUs" in problem[0] and "[gpu]" in problem[1]


@pytest.mark.parametrize(
    ("machine", "capability", "wheel", "refused"),
    [
        ("x86_64", "8.9", "manylinux_2_28_x86_64", False),
        ("aarch64", "8.7", "manylinux_2_28_aarch64", True),
        ("aarch64", "11.0", "manylinux_2_28_aarch64", True),
        ("aarch64", "8.7", "linux_aarch64", False),  # built by somebody for a Jetson
    ],
)
def test_a_wheel_without_code_for_the_gpu(
    machine: str, capability: str, wheel: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Package:
        def read_text(self, name: str) -> str:
            assert name == "WHEEL"
            return f"Tag: cp311-cp311-{wheel}"

    here = gpu.Gpu("Orin", capability, 32 << 30, "L4T R36", "12.6")
    monkeypatch.setattr(gpu, "find", lambda: here)
    monkeypatch.setattr(cuda_ready.platform, "machine", lambda: machine)
    monkeypatch.setattr(cuda_ready, "_distribution", Package)
    absent = cuda_ready.foreign_gpu()
    assert bool(absent) == refused
    if absent:
        assert capability in absent[0] and "--device tensorrt" in absent[1]


def test_the_trial_is_one_convolution() -> None:
    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *shape])

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "trial", [value("x", 4, 4, 4), value("w", 3, 3, 3)],
        [value("y", 2, 2, 2)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    assert model.SerializeToString() == cuda_ready._TRIAL


class Answers:
    """A trial that ends as told, in place of ONNX Runtime on a GPU."""

    def __init__(self, words: str, printed: str = "") -> None:
        self.words, self.printed = words, printed

    def __call__(self, ort: object) -> None:
        print(self.printed)
        raise RuntimeError(self.words)


@pytest.mark.parametrize(
    ("words", "printed", "reason", "fix"),
    [
        ("not available", f"error: libcurand.so.10: {GONE}", "libcurand.so.10 is missing", "nvidia-curand"),
        (f"libcudnn.so.9: {GONE}", "", "libcudnn.so.9 is missing", "nvidia-cudnn-cu13"),
        ("CUDA failure 209: no kernel image is available for execution", "", "no kernel image", "restart"),
        (CUDNN, "", "(CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED, in s_.cudnn_fe_graph->execute)", "restart"),
    ],
)  # fmt: skip
def test_the_cause_is_kept_in_one_sentence(
    words: str, printed: str, reason: str, fix: str, ada: None, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(cuda_ready, "_run_trial", Answers(words, printed))
    monkeypatch.setattr(cuda_ready, "load", lambda: None)
    monkeypatch.setattr(cuda_ready, "_cuda_major", lambda: 13)
    problem = cuda_ready.trial.__wrapped__()
    assert problem and reason in problem[0] and fix in problem[1] and "\n" not in "".join(problem)
    assert capfd.readouterr().out == ""


def test_a_driver_older_than_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA would say "error 35" at the first network."""
    monkeypatch.setattr(gpu, "find", lambda: gpu.Gpu("NVIDIA RTX A2000", "8.6", 6 << 30, "550.90", "12.4"))
    monkeypatch.setattr(cuda_ready, "_cuda_major", lambda: 13)
    problem = cuda_ready.trial.__wrapped__()
    assert problem and "550.90 runs CUDA up to 12.4" in problem[0] and "built for CUDA 13" in problem[0]
    assert "update the NVIDIA driver" in problem[1]
    monkeypatch.setattr(cuda_ready, "_cuda_major", lambda: 12)
    monkeypatch.setattr(cuda_ready, "_run_trial", lambda ort: None)
    assert cuda_ready.trial.__wrapped__() is None


class TestRealProvider:
    """onnxruntime-gpu itself, in a folder of its own before the CPU's, and `scanside doctor --json`."""

    def doctor(self, tmp_path: Path, version: int = 13010) -> tuple[str, str]:
        driver = compiled(tmp_path / "driver/libcuda.so.1", DRIVER, f"-DVERSION={version}")
        places = [str(onnxruntime_gpu()), str(tmp_path / "wheels")]
        done = subprocess.run(
            [sys.executable, "-m", "scanside.runtime.cli.main", "doctor", "--json"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "LD_LIBRARY_PATH": str(driver.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        document = json.loads(done.stdout)
        finding = next(one for one in document["backends"] if one["name"] == "cuda")
        assert not finding["available"]
        return finding["reason"], finding["fix"]

    def test_the_missing_file_is_named_with_its_command(self, tmp_path: Path) -> None:
        reason, fix = self.doctor(tmp_path)
        assert reason.endswith("libcublasLt.so.13 is missing")
        assert fix.endswith(f"install --target {onnxruntime_gpu()} nvidia-cublas")

    def test_files_in_another_folder_are_found(self, tmp_path: Path) -> None:
        compiled(tmp_path / "wheels/nvidia/cu13/lib/libcublasLt.so.13", "int a;")
        assert self.doctor(tmp_path)[0].endswith("libcublas.so.13 is missing")

    def test_the_driver_is_compared_with_the_packages(self, tmp_path: Path) -> None:
        reason, _ = self.doctor(tmp_path, version=12040)
        assert "runs CUDA up to 12.4" in reason and "onnxruntime-gpu 1.31.1 is built for CUDA 13" in reason
