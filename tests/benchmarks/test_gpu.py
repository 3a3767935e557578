"""`scanside bench gpu` on a CPU: its control flow, its comparisons and its table. No figure of a GPU comes of it."""

import json
from pathlib import Path

import jsonschema
import onnxruntime
import pytest

from scanside.benchmarks import gpu_bench, gpu_card, gpu_networks
from scanside.benchmarks.choices import GpuOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.gpu_bench import file_name, run_gpu
from scanside.benchmarks.gpu_card import TorchDevice, watched
from scanside.benchmarks.gpu_networks import Round, flops_fraction
from scanside.benchmarks.gpu_results import Ceiling, GpuReport
from scanside.benchmarks.kinds import parse_kinds
from scanside.benchmarks.report_tables import render
from scanside.benchmarks.source import Source
from scanside.runtime.backends import cuda, gpu
from scanside.runtime.backends.device_io import Allocator
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.device.arrays import HostArrays
from scanside.runtime.errors import ExitCode
from scanside.runtime.record import json_schema

PRODUCT = Ceiling(what="product", precision="fp16", value=100.0, unit="TFLOP/s")


def test_a_dry_run_measures_everything_and_writes_nothing(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    named: list[str] = []
    options = GpuOptions(bundle, "cpu:fp32,openvino:fp32,openvino:int8", repeats=2, dry_run=True)
    image = images / "first_0000.nii.gz"
    report = run_gpu(model, [image], options, environment(["bench", "gpu"]), named.append)
    document = json.loads(report.model_dump_json(by_alias=True))
    jsonschema.validate(document, json_schema(GpuReport))
    assert report.dry_run and named == [file_name(report.card.name, report.bundle.name)]
    assert {one.precision for one in report.ceilings if one.what == "product"} == {"fp16", "bf16", "fp32"}
    networks = {(one.engine, one.batch): one for one in report.networks}
    assert {"torch fp32", "torch amp", "torch amp, channels_last_3d", "cpu:fp32", "openvino:fp32"} <= {
        engine for engine, _ in networks
    }
    assert networks["cpu:fp32", 1].difference == 0 < networks["torch fp32", 1].difference < 1e-4
    assert 1e-4 < networks["torch amp", 1].difference < 0.1  # it did compute in low precision
    assert {(one.device, one.problem) for one in report.golden} == {("cpu", None), ("openvino", None)}
    cases = {one.peer: one for one in report.cases}
    assert list(cases) == ["nnunetv2", "cpu:fp32", "openvino:fp32"]
    assert cases["cpu:fp32"].differing == 0 and sum(cases["cpu:fp32"].stages_ms.values()) > 0
    assert all(score in (None, 1.0) for score in cases["cpu:fp32"].dice.values())
    ratio = cases["nnunetv2"].seconds.median / cases["cpu:fp32"].seconds.median
    assert cases["cpu:fp32"].times == pytest.approx(ratio, rel=0.01, abs=0.01)
    assert [words for words in report.failed if not words.startswith("openvino:int8")] == []
    assert len(report.failed) == 3  # network, golden cases, whole case: the bundle holds no int8
    table = render(report)
    assert table.startswith("**Dry run on a CPU") and "| openvino:fp32" in table
    assert "Not measured: openvino:int8: BackendError: the bundle was exported without int8" in table


def test_the_command_writes_nothing_in_a_dry_run(
    model: Path, bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_networks, "VARIANTS", gpu_networks.VARIANTS[:1])
    monkeypatch.setattr(gpu_bench, "_golden", lambda *given: iter(()))
    words = ["bench", "gpu", str(model), str(images / "first_0000.nii.gz"), "--bundle", str(bundle)]
    out = tmp_path / "results"
    assert run([*words, "-o", str(out), "--repeats", "1", "--dry-run"]) == ExitCode.OK
    assert not out.exists()


def test_without_a_gpu_it_says_so(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if gpu.missing() is None:
        pytest.skip("there is a GPU here")
    words = ["bench", "gpu", str(model), str(images / "first_0000.nii.gz"), "-o", str(tmp_path)]
    assert run(words) == ExitCode.BACKEND
    assert "There is no GPU to measure" in capsys.readouterr().err


def test_the_name_of_the_results() -> None:
    assert file_name("NVIDIA GeForce RTX 4090", "abdomen 31M") == "gpu-geforce-rtx-4090-abdomen-31m"
    assert file_name("Orin", "b", mirroring=False) == "gpu-orin-b-no-mirroring"


def test_the_part_of_the_peak() -> None:
    """955 GFLOP in 20 ms are 47.75 TFLOP/s."""
    assert flops_fraction(955, 20, "fp16", [PRODUCT]) == pytest.approx(0.4775)
    assert flops_fraction(955, 20, "bf16", [PRODUCT]) is None


def test_the_most_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    held = 100.0
    monkeypatch.setattr(TorchDevice, "used", lambda self: held)
    monkeypatch.setattr(gpu_card, "_EVERY_S", 1e-4)
    with watched(TorchDevice("cuda")) as memory:
        held = 350.0
        for _ in range(200):
            gpu_card.time.sleep(0.001)
            if memory.mib is not None:
                break
        held = 120.0
    assert memory.mib == 250


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
    this = Round(source, TorchDevice("cpu", 0.01), [PRODUCT])
    assert this.exact.shape[1] == source.plan.labels.heads
    monkeypatch.setattr(gpu_networks, "open_session", lending)
    rows = list(gpu_networks.own_networks(this, parse_kinds(["cuda:fp32"])))
    assert this.failed == []
    assert [(one.engine, one.batch) for one in rows] == [
        (name, batch) for batch in (1, 2) for name in ("cuda:fp32", "cuda:fp32, on the device")
    ]
    assert all(one.difference < 1e-6 and one.ms.median > 0 for one in rows)
