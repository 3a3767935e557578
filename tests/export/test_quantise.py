"""8-bit convolutions: the graph, what OpenVINO makes of it, and the gate."""

import importlib.util
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import SimpleITK as sitk
from onnx import numpy_helper
from typer.testing import CliRunner

from scanside.export import parity
from scanside.export.cli import app
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.onnx_graph import INPUT
from scanside.export.quantise import calibration_tiles, split_concatenations, to_int8
from scanside.runtime.backends import openvino
from scanside.runtime.backends.openvino import open_session
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import BundleError, ExtraMissingError, InputError, ProviderMismatchError
from scanside.runtime.golden import replay_all
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth, volume
from tests.support.tiny_models import Tiny, make_network, write_cascade, write_model

pytest.importorskip("nncf")
TINY = Tiny(features=(4, 8, 16), patch=(16, 32, 32))
TILES = [smooth((1, 1, *TINY.patch), seed) for seed in range(4)]


@cache
def models() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    exported = to_onnx(make_network(TINY, 1), 1, TINY.patch)
    return exported, to_int8(exported, TILES)


def by_onnxruntime(model: onnx.ModelProto, tile: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {INPUT: tile})[0]
    return result


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()))


def test_a_split_convolution_is_the_same_convolution() -> None:
    exported, _ = models()
    split = onnx.ModelProto()
    split.CopyFrom(exported)
    assert split_concatenations(split) == 2
    onnx.checker.check_model(split, full_check=True)
    assert "Concat" not in {node.op_type for node in split.graph.node}
    assert error(by_onnxruntime(split, TILES[0]), by_onnxruntime(exported, TILES[0])) < 1e-6


def test_convolutions_are_quantised_and_nothing_else() -> None:
    _, quantised = models()
    graph = quantised.graph
    producer = {output: node.op_type for node in graph.node for output in node.output}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    in_float = []
    for node in graph.node:
        sources = [producer.get(name) for name in node.input[:2]]
        if node.op_type == "Conv" and sources == ["DequantizeLinear"] * 2:
            continue
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:  # TensorRT takes symmetric scales only
            assert weights[node.input[2]].dtype == np.int8 and not weights[node.input[2]].any()
        else:
            assert "DequantizeLinear" not in sources, node.op_type
            in_float += [node] if node.op_type == "Conv" else []
    first, last = in_float
    assert first.input[0] == INPUT and last.output[0] == graph.output[0].name


def test_openvino_computes_the_graph_as_onnxruntime_does() -> None:
    exported, quantised = models()
    expected, exact = by_onnxruntime(quantised, TILES[3]), by_onnxruntime(exported, TILES[3])
    with open_session(quantised.SerializeToString(), "int8", threads=1) as session:
        assert session.spec.precision == "int8"
        found = session.run(TILES[3])
    assert error(found, expected) < 0.06  # bfloat16 between the integers; in float32 see below
    assert error(found, exact) < 0.1


def test_between_the_convolutions_openvino_computes_in_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, quantised = models()
    expected = by_onnxruntime(quantised, TILES[3])
    without = SimpleNamespace(get_property=lambda *_: ["FP32", "INT8"])
    assert openvino._between_integers(without) == "f32"
    monkeypatch.setattr(openvino, "_between_integers", lambda _: "f32")
    with open_session(quantised.SerializeToString(), "int8", threads=1) as session:
        assert error(session.run(TILES[3]), expected) < 0.02


def test_a_graph_without_integers_is_not_int8() -> None:
    exported, _ = models()
    with pytest.raises(ProviderMismatchError, match="floating point"):
        open_session(exported.SerializeToString(), "int8", threads=1)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, ...]:
    paths = tuple(tmp_path / "images" / f"case{seed}_0000.nii.gz" for seed in range(2))
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        image = sitk.GetImageFromArray(volume((20, 40, 36), (1.5, 1.0, 1.2), seed=seed).data[0])
        image.SetSpacing((1.2, 1.0, 1.5))
        sitk.WriteImage(image, str(path))
    return paths


@pytest.fixture
def int8(images: tuple[Path, ...]) -> ExportOptions:
    return ExportOptions(precisions=("fp32", "int8"), calibrate=images)


def test_a_bundle_with_int8(tmp_path: Path, int8: ExportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "INT8_DICE", 0.9)  # random weights have no margin to lose
    report = export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", int8, lambda _: None)
    assert ("openvino", "int8") in {(hop["device"], hop["precision"]) for hop in report["hops"]}
    assert [row["case"] for row in report["accuracy"]] == ["calibration-1", "calibration-2"]
    assert all(0.9 < dice < 1 for row in report["accuracy"] for dice in row["dice"].values())
    bundle = open_bundle(tmp_path / "bundle")
    written = json.loads(bundle.read("parity.json"))
    assert written["accuracy"] == json.loads(json.dumps(report["accuracy"]))
    assert set(written["policies"]) == {"fp32", "mixed", "bf16", "int8"}
    options = Options(device="openvino", precision="int8", threads=1)
    assert options.approximations == ("precision int8",)
    with open_segmenter(bundle, options) as segmenter:
        assert [result.problem for result in replay_all(segmenter)] == [None, None]


def test_too_great_a_cost_is_refused(
    tmp_path: Path, int8: ExportOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "INT8_DICE", 0.99999)
    with pytest.raises(BundleError, match=r"with int8 the mean Dice of label"):
        export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", int8, lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_refusals(tmp_path: Path, int8: ExportOptions) -> None:
    folder = write_model(tmp_path, TINY)
    with pytest.raises(InputError, match="--calibrate"):
        export_nnunet(folder, tmp_path / "bundle", replace(int8, calibrate=()), lambda _: None)
    with pytest.raises(InputError, match="add it to --precision"):
        export_nnunet(folder, tmp_path / "bundle", replace(int8, precisions=("fp32",)), lambda _: None)
    _, second = write_cascade(tmp_path / "cascade", Tiny())
    with pytest.raises(InputError, match="cascade"):
        export_nnunet(second, tmp_path / "bundle", int8, lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_without_nncf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else find(name))
    result = CliRunner().invoke(
        app, ["nnunet", str(tmp_path), "-o", str(tmp_path / "b"), "--precision", "fp32,int8"]
    )
    assert isinstance(result.exception, ExtraMissingError)
    assert "[int8]" in str(result.exception)


def test_tiles_are_spread_over_all_images(tmp_path: Path) -> None:
    export_nnunet(
        write_model(tmp_path, TINY), tmp_path / "bundle", ExportOptions(precisions=("fp32",)), lambda _: None
    )
    plan: Plan = next(iter(open_bundle(tmp_path / "bundle").manifest.segmenters.values())).plan
    wide = [volume((60, 90, 90), (1.5, 1.0, 1.2), seed=seed) for seed in (1, 2)]
    chosen = calibration_tiles(wide, plan)
    assert len(chosen) == 16
    assert {tile.shape for tile in chosen} == {(1, 1, *TINY.patch)}
    assert len({tile.tobytes() for tile in chosen}) == 16
