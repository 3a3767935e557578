"""Graphs in float16 or bfloat16 as float32 graphs with the same roundings: what a GPU computes, shown on a CPU.

ONNX Runtime's CPU provider loads no bfloat16 graph, and in a float16 graph it computes neighbouring operations in
float32 and leaves the roundings between them out, so that what would overflow on a GPU does not overflow there.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that rounds every tensor where the given one holds it in float16 or bfloat16.

    Products are summed in float32 and every result rounded once, as tensor cores do; a GPU that fuses operations
    rounds less often.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    low = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.data_type in _LOW}
    tensors = [_as_float32(tensor) if tensor.name in low else tensor for tensor in graph.initializer]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        kinds = {low[name] for name in node.input if name in low}
        if node.op_type == "Cast":
            target = node.attribute[0].i
            kinds = {target} & set(_LOW)
            node = helper.make_node("Identity", list(node.input), list(node.output))
        nodes.append(node)
        for kind in kinds:
            outputs = list(node.output)
            node.output[:] = [f"{name}.exact" for name in outputs]
            for name in outputs:
                low[name] = kind
                nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.low"], to=kind))
                nodes.append(helper.make_node("Cast", [f"{name}.low"], [name], to=TensorProto.FLOAT))
    for field, values in ((graph.node, nodes), (graph.initializer, tensors)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    del graph.value_info[:]
    onnx.checker.check_model(wide, full_check=True)
    return wide


def _as_float32(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type == TensorProto.FLOAT16:
        return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
    bits = np.frombuffer(tensor.raw_data, np.uint16).astype(np.uint32) << 16
    return numpy_helper.from_array(bits.view(np.float32).reshape(tuple(tensor.dims)), tensor.name)
