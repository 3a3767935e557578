"""Doctor names what is missing and the package that brings it."""

import jsonschema
import pytest

from scanside.runtime import doctor
from scanside.runtime.backends import cuda, gpu, trt, trt_build
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.cli.main import run
from scanside.runtime.record import json_schema

ADA = gpu.Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "580.65", "13.0")
ORIN = gpu.Gpu("Orin", "8.7", 64 << 30, "L4T R36 (release)", "12.6")


def found(name: str) -> doctor.Finding:
    return next(finding for finding in doctor.examine() if finding.name == name)


def with_gpu(one: gpu.Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find", lambda: one)


def test_every_device_is_listed_and_untried_ones_say_so() -> None:
    findings = {finding.name: finding for finding in doctor.examine() if finding.kind == "backend"}
    assert list(findings) == list(DEVICES)
    for name, finding in findings.items():
        assert (finding.note == doctor.UNPROVEN) == (backend(name).ON_TRIAL)


@pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU here")
@pytest.mark.parametrize("name", [name for name in DEVICES if backend(name).ON_TRIAL])
def test_without_a_driver_the_driver_is_named(name: str) -> None:
    finding = found(name)
    assert not finding.available and finding.fix is not None
    assert "libcuda.so.1" in finding.reason and "JetPack" in finding.fix


@pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU here")
def test_what_mends_several_devices_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "to mend: " in line]
    assert sum("nvidia-driver" in line for line in lines) == 1 and len(lines) == len(set(lines))


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_build, "installed", lambda flavour: False)
    monkeypatch.setattr(trt.importlib.util, "find_spec", lambda name: None)
    with_gpu(ADA, monkeypatch)
    rtx, full = trt.RTX.missing(), trt.FULL.missing()
    assert rtx and full
    assert rtx[0] == "tensorrt-rtx is not installed; cuda-python is not installed"
    assert "[rtx]'" in rtx[1] and "cuda-bindings==13." in rtx[1]
    assert "python3-libnvinfer" in full[1]


@pytest.mark.skipif(not trt_build.installed("tensorrt-rtx"), reason="tensorrt-rtx is not installed")
def test_rtx_is_ready_on_ada_and_not_for_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt.trt_ready, "trial", lambda flavour: None)  # which needs a GPU
    monkeypatch.setattr(trt.gpu_arrays, "missing", lambda: None)  # CuPy is not here
    with_gpu(ADA, monkeypatch)
    finding = found("tensorrt-rtx")
    assert finding.available and "RTX 4090" in finding.reason and "580.65" in finding.reason
    assert finding.precisions == ("fp32", "mixed", "bf16", "int8")
    with_gpu(ORIN, monkeypatch)
    finding = found("tensorrt-rtx")
    assert not finding.available and "8.7" in finding.reason and "--device tensorrt" in str(finding.fix)


def test_a_library_that_is_there_but_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.importlib.import_module

    def broken(name: str) -> object:
        if name == "openvino":
            raise OSError("libtbb.so.12: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    finding = found("openvino")
    assert not finding.available and "libtbb.so.12" in finding.reason


def test_json_with_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    with_gpu(ADA, monkeypatch)
    monkeypatch.setattr(cuda, "missing", lambda: ("onnxruntime-gpu is not installed", "pip install it"))
    monkeypatch.setattr(trt.trt_ready, "trial", lambda flavour: None)  # which needs a GPU
    monkeypatch.setattr(trt.gpu_arrays, "missing", lambda: None)  # CuPy is not here
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json_schema(doctor.DoctorReport))
    assert document["machine"]["gpu"]["capability"] == "8.9"
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "GPU: NVIDIA GeForce RTX 4090 (compute capability 8.9, 24.0 GiB" in said and "note: " in said
