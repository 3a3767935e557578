import json
from pathlib import Path

import jsonschema
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scanside.benchmarks import peak
from scanside.benchmarks.flops import convolution_flops
from scanside.benchmarks.peak import PeakReport
from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode
from scanside.runtime.record import json_schema


def test_operations_are_those_that_torch_counts(model: Path, bundle: Path) -> None:
    opened = open_bundle(bundle)
    (segmenter,) = opened.manifest.segmenters.values()
    folder = read_model_folder(model, folds=("0",), checkpoint="checkpoint_final.pth", trust_pickles=False)
    network = build_network(folder, 1, segmenter.plan.labels.heads)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, *segmenter.plan.patch_size))
    assert convolution_flops(opened.read(segmenter.networks[0].files["fp32"])) == counter.get_total_flops()


def test_a_network_is_held_against_the_peak_of_its_precision(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peak, "_SIZES", (64, 128))
    monkeypatch.setattr(peak, "_GEMM_SECONDS", 0.0)
    out = tmp_path / "peak.json"
    words = ["bench", "peak", str(bundle), "-o", str(out), "--repeats", "2"]
    assert run([*words, "--backends", "cpu:fp32,cpu:mixed"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "Not measured: cpu:mixed: the bundle was exported without mixed" in text
    document = json.loads(out.read_text())
    jsonschema.validate(document, json_schema(PeakReport))
    found = PeakReport.model_validate(document)
    peaks = {one.threads: one.gops for one in found.gemm if (one.library, one.precision) == ("numpy", "fp32")}
    assert min(peaks.values()) > 0 and {one.peer for one in found.networks} == {"cpu:fp32"}
    for one in found.networks:
        best = max(g.gops for g in found.gemm if (g.precision, g.threads) == ("fp32", one.threads))
        assert one.gops == pytest.approx(found.tile_gflop * 1000 / one.tile_ms.median, rel=0.2)
        assert one.fraction == pytest.approx(one.gops / best, rel=0.01, abs=1e-3)

    assert run([*words, "--overwrite", "--backends", "onnx-loop"]) == ExitCode.USAGE
    assert "by name, such as openvino:fp32" in capsys.readouterr().err
