"""Transposed convolutions whose kernel is their stride, as pointwise convolutions and a rearrangement.

Such a convolution places a block of its stride's size for every voxel, and blocks never overlap: a block's values are
the channels of a 1×1×1 convolution (depth to space; NVIDIA's MLPerf submissions do the same). Products and sums stay
what they were, and TensorRT has bfloat16 kernels for the one but not for the other.
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference


def without_transposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model with every ConvTranspose whose kernel is its stride rewritten; others stay.

    Spatial sizes must be fixed in the graph; the batch axis is free.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*shape_inference.infer_shapes(model).graph.value_info, *model.graph.input)
    }
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "ConvTranspose" and _is_blocks(node, weights[node.input[1]]):
            nodes += _pointwise(graph, node, shapes[node.input[0]][2:], weights)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    for field, values in (
        (graph.node, nodes),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
    ):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    del graph.value_info[:]
    onnx.checker.check_model(rewritten, full_check=True)
    return rewritten


def _is_blocks(node: onnx.NodeProto, weight: np.ndarray) -> bool:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel = list(weight.shape[2:])
    plain = (
        attributes.get("group", 1) == 1
        and not any(attributes.get("pads", ()))
        and not any(attributes.get("output_padding", ()))
        and all(step == 1 for step in attributes.get("dilations", ()))
        and "output_shape" not in attributes
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    )
    return plain and list(attributes.get("strides", [1] * len(kernel))) == kernel


def _pointwise(
    graph: onnx.GraphProto, node: onnx.NodeProto, spatial: list[int], weights: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """(N, I, *s) → Conv → (N, O·b, *s) → (N, O, *b, *s) → (N, O, s0, b0, s1, b1, …) → (N, O, *(s·b)).

    Axes with a block of 1 get none of their own: TensorRT takes eight axes, and two-dimensional blocks fewer.
    """
    weight = weights[node.input[1]]
    channels, block = weight.shape[1], weight.shape[2:]
    name, ones = f"{node.output[0]}.blocks", [1] * len(block)

    def constant(kind: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{name}.{kind}"))
        return f"{name}.{kind}"

    kernel = np.moveaxis(weight, 0, -1).reshape(channels * math.prod(block), weight.shape[0], *ones)
    inputs = [node.input[0], constant("weight", kernel)]
    if len(node.input) > 2:
        inputs.append(constant("bias", np.repeat(weights[node.input[2]], math.prod(block))))
    real = [axis for axis, size in enumerate(block) if size > 1]
    apart = np.array([0, channels, *(block[axis] for axis in real), *spatial], np.int64)
    order = [0, 1]
    for axis in range(len(block)):
        order.append(2 + len(real) + axis)
        if axis in real:
            order.append(2 + real.index(axis))
    together = np.array([0, channels, *(s * b for s, b in zip(spatial, block, strict=True))], np.int64)
    return [
        helper.make_node("Conv", inputs, [f"{name}.conv"], kernel_shape=ones),
        helper.make_node("Reshape", [f"{name}.conv", constant("apart", apart)], [f"{name}.apart_"]),
        helper.make_node("Transpose", [f"{name}.apart_"], [f"{name}.woven"], perm=order),
        helper.make_node("Reshape", [f"{name}.woven", constant("together", together)], list(node.output)),
    ]
