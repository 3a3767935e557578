"""A bundle appears whole or not at all, and what was there before stays until it does."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from torch import nn

from scanside.export import nnunet
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import BundleError, OutputError
from tests.export.refusing import FP32, refused
from tests.support import onnx_exports
from tests.support.tiny_models import edited_json


def test_out_exists(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    out.mkdir(parents=True)
    (out / "precious.txt").write_text("keep me")
    refused(folder, "exists already", "--overwrite", error=OutputError)
    overwrite = ExportOptions(precisions=("fp32",), overwrite=True)
    refused(folder, "not a bundle", options=overwrite, error=OutputError)
    assert (out / "precious.txt").read_text() == "keep me"


def test_overwriting_a_bundle(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    export_nnunet(folder, out, FP32, lambda _: None)
    (out / "stale").write_text("of an older bundle")
    refused(folder, "exists already", error=OutputError)
    export_nnunet(
        folder, out, ExportOptions(precisions=("fp32",), overwrite=True, name="new"), lambda _: None
    )
    assert open_bundle(out).manifest.name == "new"
    assert not (out / "stale").exists()
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_a_network_that_computes_something_else_gives_no_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate: one weight of the exported network is off by a tenth."""
    monkeypatch.setattr(nnunet, "to_onnx", _with_a_wrong_weight)
    refused(folder, "No bundle was written", "golden case", "nnunetv2", error=BundleError)
    assert not list((tmp_path / "out").iterdir()), "a temporary folder is left"


def test_the_gate_keeps_the_old_bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out" / "bundle"
    export_nnunet(folder, out, FP32, lambda _: None)
    before = (out / "bundle.json").read_bytes()
    monkeypatch.setattr(nnunet, "to_onnx", _with_a_wrong_weight)
    overwrite = ExportOptions(precisions=("fp32",), overwrite=True)
    refused(folder, "No bundle was written", options=overwrite, error=BundleError)
    assert (out / "bundle.json").read_bytes() == before


def _with_a_wrong_weight(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> onnx.ModelProto:
    model = onnx_exports.to_onnx(network, input_channels, patch)
    head = max(model.graph.initializer, key=lambda tensor: len(tensor.dims) * 1000 - len(tensor.raw_data))
    array = numpy_helper.to_array(head).copy()
    array.reshape(-1)[0] *= 1.1
    head.CopyFrom(numpy_helper.from_array(array, head.name))
    return model


def test_nothing_is_printed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` owns stdout; nnU-Net prints that a label manager is missing, and much else."""
    with edited_json(folder / "plans.json") as plans:
        del plans["label_manager"]
    report = export_nnunet(folder, tmp_path / "bundle", FP32, lambda _: None)
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "bundle" / "parity.json").read_text()) == report
