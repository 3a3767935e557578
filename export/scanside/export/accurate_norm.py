"""InstanceNormalization over many voxels, written so that float32 backends take its mean and variance accurately.

ONNX Runtime and OpenVINO sum a channel's voxels one after the other in float32. Over the 860 160 voxels of a
28×160×192 tile that costs OpenVINO four digits (4.5e-4 of a standard deviation, PyTorch 4e-6), over the 26 880 of its
third stage nearly as many where a part of the tile is empty, and the labels of a large network differ from nnU-Net's.
Here a mean is a mean of means of means: AveragePool over small windows, AveragePool over the windows of a slice,
ReduceMean over slices, which is as accurate as PyTorch in both. (ReduceMean alone would not do: OpenVINO recognises
the pattern and fuses it back.)
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

LEAST_VOXELS = 8_000
"""Smaller normalisations keep the single operation: its error there is that of PyTorch's last digits."""


def accurate_norms(model: onnx.ModelProto, least: int = LEAST_VOXELS) -> int:
    """Rewrite, in place, every InstanceNormalization over at least `least` voxels.

    Returns:
        How many were rewritten.
    """
    shapes = _shapes(model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        spatial = shapes.get(node.input[0], [])[2:] if node.op_type == "InstanceNormalization" else []
        if not spatial or math.prod(spatial) < least:
            nodes.append(node)
            continue
        nodes += _decomposed(model.graph, node, spatial, weights)
        count += 1
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    _drop_unused_weights(model.graph)
    return count


def single_norms(model: onnx.ModelProto) -> int:
    """Undo `accurate_norms`, in place: mixed and bfloat16 keep the single operation in float32, not its many parts.

    Returns:
        How many were rewritten.
    """
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = ".norm.mean_pooled"
    sources = {n.output[0].removesuffix(first): n.input[0] for n in graph.node if n.output[0].endswith(first)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        (output,) = node.output
        if output in sources:
            parts = [f"{output}.norm.{kind}" for kind in ("scale", "bias")]
            for part in parts:
                graph.initializer.append(numpy_helper.from_array(weights[part].reshape(-1), f"{part}.single"))
            inputs = [sources[output], *(f"{part}.single" for part in parts)]
            epsilon = float(weights[f"{output}.norm.epsilon"])
            nodes.append(helper.make_node("InstanceNormalization", inputs, [output], epsilon=epsilon))
        elif output.rpartition(".norm.")[0] not in sources:
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    _drop_unused_weights(graph)
    return len(sources)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    graph = shape_inference.infer_shapes(model).graph
    return {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }


def _decomposed(
    graph: onnx.GraphProto, node: onnx.NodeProto, spatial: list[int], weights: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """y = (x - mean) · (scale / sqrt(variance + epsilon)) + bias, means taken in two steps."""
    source, scale, bias = node.input
    name = f"{node.output[0]}.norm"
    per_channel = (1, -1, *[1] * len(spatial))
    epsilon = helper.get_node_attr_value(node, "epsilon")

    def constant(kind: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{name}.{kind}"))
        return f"{name}.{kind}"

    def step(operation: str, inputs: list[str], kind: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(operation, inputs, [f"{name}.{kind}"], **attributes)

    windows, slices, padded_part = _pooling(spatial)
    axes = constant("axes", np.arange(2, 2 + len(spatial), dtype=np.int64))
    # Padding adds zeros to the sums and voxels to the count; this takes the voxels out again.
    correction = constant("correction", np.array(padded_part, np.float32))

    def mean(value: str, kind: str) -> list[onnx.NodeProto]:
        return [
            step("AveragePool", [value], f"{kind}_pooled", **windows),
            step("AveragePool", [f"{name}.{kind}_pooled"], f"{kind}_slices", **slices),
            step("ReduceMean", [f"{name}.{kind}_slices", axes], f"{kind}_padded", keepdims=1),
            step("Mul", [f"{name}.{kind}_padded", correction], kind),
        ]

    return [
        *mean(source, "mean"),
        step("Sub", [source, f"{name}.mean"], "centred"),
        step("Mul", [f"{name}.centred", f"{name}.centred"], "squared"),
        *mean(f"{name}.squared", "variance"),
        step("Add", [f"{name}.variance", constant("epsilon", np.array(epsilon, np.float32))], "positive"),
        step("Sqrt", [f"{name}.positive"], "deviation"),
        step("Div", [constant("scale", weights[scale].reshape(per_channel)), f"{name}.deviation"], "gain"),
        step("Mul", [f"{name}.centred", f"{name}.gain"], "scaled"),
        helper.make_node(
            "Add", [f"{name}.scaled", constant("bias", weights[bias].reshape(per_channel))], list(node.output)
        ),
    ]


def _pooling(spatial: list[int]) -> tuple[dict[str, object], dict[str, object], float]:
    """Attributes of the AveragePool of windows and of that of what is left of a slice, and padded voxels over voxels.

    A window lies in one slice, which then holds about as many windows as a window voxels: no sum is long.
    """
    window = [1 if len(spatial) == 3 and axis == 0 else _window(size) for axis, size in enumerate(spatial)]
    rest = [-size % width for size, width in zip(spatial, window, strict=True)]
    windows: dict[str, object] = {"kernel_shape": window, "strides": window}
    if any(rest):
        windows |= {"pads": [*[0] * len(rest), *rest], "count_include_pad": 1}
    padded = [size + extra for size, extra in zip(spatial, rest, strict=True)]
    in_slice = [1, *(size // width for size, width in zip(padded[1:], window[1:], strict=True))]
    slices: dict[str, object] = {"kernel_shape": in_slice, "strides": in_slice}
    return windows, slices, math.prod(padded) / math.prod(spatial)


def _window(size: int) -> int:
    """About the square root of the size, so that sums over windows and of windows are equally short.

    A divisor where there is one within a factor of two, else (primes) windows of which the last one is padded.
    """
    root = math.sqrt(size)
    divisors = [width for width in range(1, size + 1) if size % width == 0 and root / 2 <= width <= root * 2]
    return min(divisors, key=lambda width: max(width, size // width), default=math.ceil(root))


def _drop_unused_weights(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(copies)
