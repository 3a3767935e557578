"""Floating-point operations of an ONNX network: those of its convolutions, which are nearly all."""

import math


def convolution_flops(model: bytes) -> float:
    """Operations (a multiplication and an addition are two) of all convolutions for one tile.

    Args:
        model: A float32 ONNX model whose spatial sizes are fixed.

    Source: a convolution multiplies and adds once for each output element, input channel of its group and kernel
    element; a transposed one once for each input element and output channel of its group.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    shapes = {
        value.name: [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0.0
    for node in graph.node:
        if node.op_type == "Conv":  # weights (M, C / group, *kernel)
            total += 2.0 * math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":  # weights (C, M / group, *kernel)
            total += 2.0 * math.prod(shapes[node.input[0]]) * math.prod(weights[node.input[1]][1:])
    return total
