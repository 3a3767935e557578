"""bfloat16 graphs and the transposed convolutions they do without, against the float32 network."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, shape_inference

from scanside.export.bf16 import to_bf16
from scanside.export.mixed import KEPT_IN_FLOAT32, round_to_bfloat16
from scanside.export.onnx_graph import INPUT, OUTPUT
from scanside.export.simulated_precision import simulated
from scanside.export.transposed import without_transposed
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth
from tests.support.tiny_models import OLD_TRAINER, Tiny, make_network

NETWORKS = {
    "plain": Tiny(features=(4, 8, 16)),
    "residual": Tiny(architecture="residual"),
    "2d": Tiny(patch=(32, 24), spacing=(1.0, 1.0)),
    "relu": Tiny(trainer=OLD_TRAINER),
}


@cache
def exported(name: str) -> onnx.ModelProto:
    return to_onnx(make_network(NETWORKS[name], 1), 1, NETWORKS[name].patch)


def run(model: onnx.ModelProto, tiles: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    # Not the blocked layout, which ONNX Runtime has for 2-D convolutions alone and which sums in another order.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {model.graph.input[0].name: tiles})[0]
    return result


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_without_transposed_convolutions_are_bit_identical(name: str) -> None:
    model = exported(name)
    assert "ConvTranspose" in operations(model)
    rewritten = without_transposed(model)
    assert "ConvTranspose" not in operations(rewritten)
    tiles = smooth((2, 1, *NETWORKS[name].patch), 3)
    np.testing.assert_array_equal(run(rewritten, tiles), run(model, tiles))


def transposed(stride: tuple[int, ...], bias: bool, **attributes: list[int]) -> onnx.ModelProto:
    random, spatial = np.random.default_rng(0), (3, 4, 5)[: len(stride)]
    weights = [random.normal(size=(6, 5, *stride)).astype(np.float32)]
    if bias:
        weights.append(random.normal(size=5).astype(np.float32))
    names = ["weight", "bias"][: len(weights)]
    node = helper.make_node("ConvTranspose", ["image", *names], ["up"], strides=list(stride), **attributes)
    graph = helper.make_graph(
        [node, helper.make_node("Identity", ["up"], ["logits"])],
        "up",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 6, *spatial])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5, *"zyx"[: len(stride)]])],
        [numpy_helper.from_array(value, name) for name, value in zip(names, weights, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2), (2, 1, 1), (1, 1, 2), (3, 2, 4), (2, 2), (1, 3)])
def test_any_stride(stride: tuple[int, ...], bias: bool) -> None:
    model = transposed(stride, bias)
    tiles = np.random.default_rng(1).normal(size=(2, 6, *(3, 4, 5)[: len(stride)])).astype(np.float32)
    rewritten = without_transposed(model)
    assert "ConvTranspose" not in operations(rewritten)
    found = run(rewritten, tiles)
    np.testing.assert_array_equal(found, run(model, tiles))
    weights = [torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer]
    convolve = (
        torch.nn.functional.conv_transpose3d if len(stride) == 3 else torch.nn.functional.conv_transpose2d
    )
    np.testing.assert_allclose(
        found, convolve(torch.from_numpy(tiles), *weights, stride=stride).numpy(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("attributes", [{"pads": [0, 1, 0, 0, 1, 0]}, {"dilations": [1, 2, 1]}])
def test_what_is_no_block_stays(attributes: dict[str, list[int]]) -> None:
    assert "ConvTranspose" in operations(without_transposed(transposed((2, 2, 2), True, **attributes)))


@pytest.mark.parametrize("name", NETWORKS)
def test_types(name: str) -> None:
    model = to_bf16(exported(name))
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    kind = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    kind |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kind[INPUT] == kind[OUTPUT] == TensorProto.FLOAT
    for node in graph.node:
        wanted = TensorProto.FLOAT if node.op_type in KEPT_IN_FLOAT32 else TensorProto.BFLOAT16
        tensors = (*node.input, *node.output) if node.op_type not in ("Cast", "Reshape") else ()
        for tensor in tensors:
            assert not tensor or kind[tensor] == wanted, (node.op_type, tensor)


def test_rounding_is_that_of_pytorch() -> None:
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32) * 10 ** np.linspace(
        -30, 30, 100_000
    )
    values = values.astype(np.float32)
    wanted = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(round_to_bfloat16(values), wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_simulation_against_pytorch(name: str) -> None:
    """The same roundings done by PyTorch's own bfloat16 on the same float32 sums."""
    tiles = smooth((2, 1, *NETWORKS[name].patch), 3)
    model = to_bf16(exported(name))
    found, exact = run(simulated(model), tiles), run(exported(name), tiles)
    assert not (found.view(np.uint32) & 0xFFFF).any(), "logits are bfloat16 values"
    wanted = torch_run(model, torch.from_numpy(tiles)).numpy()
    scale = np.sqrt((exact**2).mean())
    assert np.sqrt(((found - wanted) ** 2).mean()) < 3e-3 * scale  # a sum that rounds the other way, seldom
    assert 1e-4 < np.sqrt(((found - exact) ** 2).mean()) / scale < 2e-2


def torch_run(model: onnx.ModelProto, image: torch.Tensor) -> torch.Tensor:
    """The bfloat16 graph, operation by operation, in PyTorch."""
    functions, values = torch.nn.functional, {INPUT: image}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            bits = torch.from_numpy(np.frombuffer(tensor.raw_data, np.int16).copy())
            values[tensor.name] = bits.view(torch.bfloat16).reshape(tuple(tensor.dims))
        else:
            values[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    for node in model.graph.node:
        given = [values[name] for name in node.input]
        how = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Conv":
            rank = given[0].ndim - 2
            pads = how.get("pads", [0] * 2 * rank)[:rank]
            convolve = functions.conv3d if rank == 3 else functions.conv2d
            result = convolve(*given, stride=tuple(how.get("strides", [1] * rank)), padding=tuple(pads))
        elif node.op_type == "InstanceNormalization":
            result = functions.instance_norm(given[0], weight=given[1], bias=given[2], eps=how["epsilon"])
        elif node.op_type == "LeakyRelu":
            result = functions.leaky_relu(given[0], how.get("alpha", 0.01))
        elif node.op_type == "AveragePool":
            pool = functions.avg_pool3d if given[0].ndim == 5 else functions.avg_pool2d
            wide = pool(given[0].float(), tuple(how["kernel_shape"]), tuple(how["strides"]))
            result = wide.to(given[0].dtype)
        elif node.op_type == "Reshape":
            sizes = given[1].tolist()
            result = given[0].reshape([given[0].shape[0], *sizes[1:]])
        elif node.op_type == "Cast":
            result = given[0].to(torch.float32 if how["to"] == TensorProto.FLOAT else torch.bfloat16)
        elif node.op_type == "Transpose":
            result = given[0].permute(how["perm"])
        elif node.op_type == "Concat":
            result = torch.cat(given, how["axis"])
        else:
            result = {"Relu": torch.relu, "Add": torch.add}[node.op_type](*given)
        values[node.output[0]] = result
    return values[OUTPUT]
