import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scripts import peak
from scanside.benchmarks.script import convolution_flops
from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import UsageError


def test_operations_are_those_that_torch_counts(model: Path, bundle: Path) -> None:
    opened = open_bundle(bundle)
    (segmenter,) = opened.manifest.segmenters.values()
    folder = read_model_folder(model, folds=("0",), checkpoint="checkpoint_final.pth", trust_pickles=False)
    network = build_network(folder, 1, segmenter.plan.labels.heads)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, *segmenter.plan.patch_size))
    assert convolution_flops(opened.read(segmenter.networks[0].files["fp32"])) == counter.get_total_flops()


def test_a_network_is_held_against_the_peak_of_its_precision(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "SIZES", (64, 128))
    monkeypatch.setattr(peak, "GEMM_SECONDS", 0.0)
    out = tmp_path / "peak.json"
    peak.main(bundle, out, backends="cpu:fp32,cpu:mixed", repeats=2)
    assert (
        "Not measured: cpu:mixed: the bundle was exported without mixed" in out.with_suffix(".md").read_text()
    )
    found = json.loads(out.read_text())
    products = {(g["library"], g["precision"], g["threads"]): g["gops"] for g in found["gemm"]}
    assert min(products.values()) > 0 and {one["peer"] for one in found["networks"]} == {"cpu:fp32"}
    for one in found["networks"]:
        best = max(products[library, "fp32", one["threads"]] for library in ("numpy", "torch"))
        assert one["gops"] == pytest.approx(found["tile_gflop"] * 1000 / one["tile_ms"]["median"], rel=0.2)
        assert one["fraction"] == pytest.approx(one["gops"] / best, rel=0.01, abs=1e-3)
    with pytest.raises(UsageError, match="such as openvino:fp32"):
        peak.main(bundle, out, backends="onnx-loop", overwrite=True)
