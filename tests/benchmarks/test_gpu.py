"""`scanside bench gpu` and the script of networks on a CPU: their control flow, comparisons and tables. No figure of a
GPU comes of it."""

import json
import time
from pathlib import Path

import jsonschema
import onnxruntime
import pytest

from benchmarks.scripts import gpu_networks
from scanside.benchmarks import gpu_bench
from scanside.benchmarks.choices import GpuOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.gpu_bench import run_gpu, watched
from scanside.benchmarks.kinds import parse_kinds
from scanside.benchmarks.results import Measurements
from scanside.benchmarks.source import Source
from scanside.benchmarks.tables import render
from scanside.runtime.backends import cuda, gpu
from scanside.runtime.backends.device_io import Allocator
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.device.arrays import HostArrays
from scanside.runtime.errors import CaseError, ExitCode
from scanside.runtime.record import json_schema

PRODUCT = {"what": "product", "precision": "fp16", "value": 100.0, "unit": "TFLOP/s"}


def test_a_dry_run_measures_everything(model: Path, bundle: Path, images: Path) -> None:
    options = GpuOptions(bundle, "cpu:fp32,openvino:fp32,openvino:int8", repeats=2, dry_run=True)
    image = images / "first_0000.nii.gz"
    report = run_gpu(model, [image], options, environment(["bench", "gpu"]))
    document = json.loads(report.model_dump_json(by_alias=True))
    jsonschema.validate(document, json_schema(Measurements))
    passed = {name: one.passed for name, one in report.golden.items()}
    assert passed == {"cpu:fp32": True, "openvino:fp32": True, "openvino:int8": False}
    cases = {one.name: one for one in report.measured}
    assert list(cases) == ["nnunetv2", "cpu:fp32", "openvino:fp32"]
    whole = {name: one.find("whole case") for name, one in cases.items()}
    assert all(one is not None and len(one.samples) == 2 for one in whole.values())
    exact = cases["cpu:fp32"]
    assert exact.facts["differing"] == 0 and sum(exact.facts["stages_ms"].values()) > 0
    assert all(score in (None, 1.0) for score in exact.facts["dice"].values())
    ratio = cases["nnunetv2"].median("whole case") / exact.median("whole case")
    assert exact.median("nnunetv2 / peer") == pytest.approx(ratio, rel=0.01)
    rejected, failed = report.faults
    assert rejected.startswith("openvino:int8: a golden case did not pass: ") and not report.passed
    assert failed.startswith("openvino:int8, whole case: BundleError: ")
    table = render(report)
    assert "Dry run on a CPU: none of this says anything about a GPU." in table and "| openvino:fp32" in table
    assert "openvino:int8, golden cases: **NOT PASSED**" in table and failed in table


def test_without_a_gpu_it_says_so(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if gpu.missing() is None:
        pytest.skip("there is a GPU here")
    words = ["bench", "gpu", str(model), str(images / "first_0000.nii.gz"), "-o", str(tmp_path / "gpu.json")]
    assert run(words) == ExitCode.BACKEND
    assert "There is no GPU to use" in capsys.readouterr().err


def test_the_most_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    held = 100.0
    monkeypatch.setattr(gpu_bench, "_EVERY_S", 1e-4)
    with watched(lambda: held) as most:
        held = 350.0
        for _ in range(2000):
            time.sleep(0.001)
            if most[0]:
                break
        held = 120.0
    assert most == [250]


def test_ceilings_and_networks_are_measured_on_a_cpu(model: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "networks.json"
    with pytest.raises(CaseError, match="1 of the measurements failed"):
        gpu_networks.main(model, bundle, out, "cpu:fp32,openvino:fp32,openvino:int8", dry_run=True)
    document = json.loads(out.read_text())
    products = {one["precision"] for one in document["ceilings"] if one["what"] == "product"}
    assert products == {"fp16", "bf16", "fp32"}
    networks = {(one["engine"], one["batch"]): one for one in document["networks"]}
    assert {"torch fp32", "torch amp", "torch amp, channels_last_3d", "cpu:fp32", "openvino:fp32"} <= {
        engine for engine, _ in networks
    }
    assert networks["cpu:fp32", 1]["difference"] == 0 < networks["torch fp32", 1]["difference"] < 1e-4
    assert 1e-4 < networks["torch amp", 1]["difference"] < 0.1  # it did compute in low precision
    assert document["failed"] == ["openvino:int8: BackendError: the bundle was exported without int8"]
    table = out.with_suffix(".md").read_text()
    assert table.startswith("**Dry run on a CPU") and "| openvino:fp32" in table and "Not measured: " in table


def test_a_network_that_lends_is_also_timed_on_the_device(
    model: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CUDA device's own session on host memory: its times between arrays, and the same logits."""

    def lending(device: str, network: bytes, precision: str) -> Guarded:
        session = cuda.create(onnxruntime, network, ["CPUExecutionProvider"])
        arrays = HostArrays()
        bound = cuda.BoundSession(session, device, precision, 2, arrays, Allocator(arrays), memory="cpu")
        return Guarded(bound)

    opened = open_bundle(bundle)
    role = opened.role(None)
    source = Source(model, opened, opened.manifest.segmenters[role].plan, role, ("0",), {})
    this = gpu_networks.Round(source, "cpu", 0.01, [PRODUCT])
    assert this.exact.shape[1] == source.plan.labels.heads
    monkeypatch.setattr(gpu_networks, "open_session", lending)
    rows = list(gpu_networks.own_networks(this, parse_kinds(["cuda:fp32"])))
    assert this.failed == []
    assert [(one["engine"], one["batch"]) for one in rows] == [
        (name, batch) for batch in (1, 2) for name in ("cuda:fp32", "cuda:fp32, on the device")
    ]
    assert all(one["difference"] < 1e-6 and one["ms"].median > 0 for one in rows)
    this.gflop = 955.0  # in 20 ms: 47.75 TFLOP/s
    assert this.row("x", 1, [20.0], this.exact, "fp16")["fraction"] == pytest.approx(0.4775)
    assert this.row("x", 1, [20.0], this.exact, "bf16")["fraction"] is None
