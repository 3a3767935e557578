"""Mixed precision: convolutions in float16, normalisations and the outside in float32."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper, shape_inference

from scanside.export.mixed import KEPT_IN_FLOAT32, to_mixed
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.onnx_graph import INPUT, OUTPUT
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.options import Options
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth, volume
from tests.support.tiny_models import OLD_TRAINER, Tiny, make_network, write_model

NETWORKS = {
    "plain": Tiny(features=(4, 8, 16)),
    "residual": Tiny(architecture="residual"),
    "2d": Tiny(patch=(32, 24), spacing=(1.0, 1.0)),
    "batch normalisation": Tiny(trainer="nnUNetTrainerBN"),
    "relu": Tiny(trainer=OLD_TRAINER),
}
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


@cache
def models(name: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    exported = to_onnx(make_network(NETWORKS[name], 1), 1, NETWORKS[name].patch)
    return exported, to_mixed(exported)


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name → element type, inferred by onnx."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


@pytest.mark.parametrize("name", NETWORKS)
def test_types(name: str) -> None:
    _, mixed = models(name)
    kind = types(mixed)
    assert kind[INPUT] == kind[OUTPUT] == FLOAT
    for node in mixed.graph.node:
        if node.op_type == "Cast":
            continue
        wanted = FLOAT if node.op_type in KEPT_IN_FLOAT32 else HALF
        for tensor in (*node.input, *node.output):
            assert not tensor or kind[tensor] == wanted, (node.op_type, tensor)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_is_the_same_but_for_casts(name: str) -> None:
    exported, mixed = models(name)
    assert [n.op_type for n in exported.graph.node] == [
        n.op_type for n in mixed.graph.node if n.op_type != "Cast"
    ]
    pairs = [(n.input[0], n.attribute[0].i) for n in mixed.graph.node if n.op_type == "Cast"]
    assert len(pairs) == len(set(pairs)), "a tensor is cast to one type once"


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_the_rounded_ones(name: str) -> None:
    exported, mixed = models(name)
    exact = {t.name: numpy_helper.to_array(t) for t in exported.graph.initializer}
    for tensor in mixed.graph.initializer:
        array = numpy_helper.to_array(tensor)
        original = exact[tensor.name.removesuffix(".fp16")]
        np.testing.assert_array_equal(array, original.astype(array.dtype))
    used = {name for node in mixed.graph.node for name in node.input}
    assert {t.name for t in mixed.graph.initializer} <= used, "weights nobody uses"


@pytest.mark.parametrize("name", NETWORKS)
def test_error(name: str) -> None:
    tiles = smooth((2, 1, *NETWORKS[name].patch), 3)
    fp32, half = (
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {INPUT: tiles}
        )[0]
        for model in models(name)
    )
    assert half.dtype == np.float32
    error = np.abs(half - fp32).max() / np.abs(fp32).max()
    assert 0 < error < 1e-2


def test_the_fp32_model_is_not_changed() -> None:
    exported, _ = models("plain")
    before = exported.SerializeToString()
    to_mixed(exported)
    assert exported.SerializeToString() == before


def test_large_activations_do_not_overflow_the_normalisation() -> None:
    """The variance of values near 300 exceeds float16; computed in float16 the mask would be all black."""
    tiles = 300 * smooth((1, 1, *NETWORKS["plain"].patch), 3)
    fp32, half = (
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {INPUT: tiles}
        )[0]
        for model in models("plain")
    )
    assert np.isfinite(half).all()
    assert (half.argmax(1) == fp32.argmax(1)).mean() > 0.99


@pytest.mark.parametrize("name", ["plain", "2d"])
def test_a_bundle_with_both(name: str, tmp_path: Path) -> None:
    tiny = NETWORKS[name]
    report = export_nnunet(write_model(tmp_path, tiny), tmp_path / "bundle", ExportOptions(), lambda _: None)
    assert {(hop["device"], hop["precision"]) for hop in report["hops"]} == {
        ("openvino", "fp32"), ("cpu", "fp32"), ("cpu", "mixed"),
        ("cpu, roundings simulated", "mixed"),
    }  # fmt: skip
    bundle = open_bundle(tmp_path / "bundle")
    image = volume((20, 33, 30), (1.9, 0.9, 1.0), seed=4)
    masks = []
    for precision in ("fp32", "mixed"):
        with open_segmenter(bundle, Options(device="cpu", precision=precision)) as segmenter:
            assert segmenter.device.precision == precision
            masks.append(segmenter.segment(image).mask)
    assert 0 < (masks[0] != masks[1]).sum() + 1 < 0.005 * masks[0].size
