"""fp32 ONNX → `mixed`: convolutions and what lies between them in float16, normalisations in float32.

nnU-Net itself runs this way under autocast on a GPU. A normalisation that takes its mean and variance in float16
overflows, which is the well-known all-black mask of fp16 engines (nnUNet issues 2874, 3026).
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT_IN_FLOAT32 = {"InstanceNormalization", "BatchNormalization"}


def to_mixed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in mixed precision; inputs and outputs stay float32."""
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    graph = mixed.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kind = {value.name: TensorProto.FLOAT for value in graph.input}
    half_weights: dict[str, onnx.TensorProto] = {}
    casts: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []

    def as_type(name: str, wanted: int) -> str:
        """The tensor in the wanted type: itself, a converted weight, or behind one shared Cast."""
        if name in weights:
            if wanted == TensorProto.FLOAT or weights[name].data_type != TensorProto.FLOAT:
                return name
            array = numpy_helper.to_array(weights[name]).astype(np.float16)
            half_weights.setdefault(name, numpy_helper.from_array(array, f"{name}.fp16"))
            return f"{name}.fp16"
        if kind[name] == wanted:
            return name
        if (name, wanted) not in casts:
            casts[name, wanted] = f"{name}.{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}"
            nodes.append(helper.make_node("Cast", [name], [casts[name, wanted]], to=wanted))
        return casts[name, wanted]

    for node in graph.node:
        wanted = TensorProto.FLOAT if node.op_type in KEPT_IN_FLOAT32 else TensorProto.FLOAT16
        inputs = [as_type(name, wanted) if name else name for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        nodes.append(node)
        kind.update(dict.fromkeys(node.output, wanted))

    output = graph.output[0].name
    if kind[output] != TensorProto.FLOAT:
        for node in nodes:
            node.output[:] = [f"{output}.half" if name == output else name for name in node.output]
            node.input[:] = [f"{output}.half" if name == output else name for name in node.input]
        nodes.append(helper.make_node("Cast", [f"{output}.half"], [output], to=TensorProto.FLOAT))
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in (*weights.values(), *half_weights.values()) if tensor.name in used]
    for field, values in ((graph.node, nodes), (graph.initializer, kept)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    del graph.value_info[:]
    onnx.checker.check_model(mixed, full_check=True)
    return mixed
