"""fp32 ONNX → `mixed`: convolutions and what lies between them in float16, normalisations in float32.

nnU-Net itself runs this way under autocast on a GPU. A normalisation that takes its mean and variance in float16
overflows, which is the well-known all-black mask of fp16 engines (nnUNet issues 2874, 3026). The same conversion to
bfloat16 serves `bf16.py`.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT_IN_FLOAT32 = {"InstanceNormalization", "BatchNormalization"}
_SUFFIX = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


def to_mixed(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of the model in mixed precision; inputs and outputs stay float32.

    Args:
        kept: Nodes, by their first output, that stay in float32: those that `ranges.py` finds too large for float16.
    """
    return in_type(model, TensorProto.FLOAT16, kept)


def in_type(model: onnx.ModelProto, low: int, kept: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of the model with everything in `low` but normalisations, `kept`, inputs and outputs.

    Args:
        low: `TensorProto.FLOAT16` or `TensorProto.BFLOAT16`.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    graph = typed.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kind = {value.name: TensorProto.FLOAT for value in graph.input}
    low_weights: dict[str, onnx.TensorProto] = {}
    casts: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []

    def as_type(name: str, wanted: int) -> str:
        """The tensor in the wanted type: itself, a converted weight, or behind one shared Cast."""
        if name in weights:
            if wanted == TensorProto.FLOAT or weights[name].data_type != TensorProto.FLOAT:
                return name
            converted = f"{name}.{_SUFFIX[low]}"
            low_weights.setdefault(name, _tensor(numpy_helper.to_array(weights[name]), converted, low))
            return converted
        if kind[name] == wanted:
            return name
        if (name, wanted) not in casts:
            casts[name, wanted] = f"{name}.{_SUFFIX[wanted]}"
            nodes.append(helper.make_node("Cast", [name], [casts[name, wanted]], to=wanted))
        return casts[name, wanted]

    for node in graph.node:
        wide = node.op_type in KEPT_IN_FLOAT32 or node.output[0] in kept
        wanted = TensorProto.FLOAT if wide else low
        inputs = [as_type(name, wanted) if name else name for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        nodes.append(node)
        kind.update(dict.fromkeys(node.output, wanted))

    output = graph.output[0].name
    if kind[output] != TensorProto.FLOAT:
        inner = f"{output}.{_SUFFIX[low]}"
        for node in nodes:
            node.output[:] = [inner if name == output else name for name in node.output]
            node.input[:] = [inner if name == output else name for name in node.input]
        nodes.append(helper.make_node("Cast", [inner], [output], to=TensorProto.FLOAT))
    used = {name for node in nodes for name in node.input}
    kept_weights = [tensor for tensor in (*weights.values(), *low_weights.values()) if tensor.name in used]
    for field, values in ((graph.node, nodes), (graph.initializer, kept_weights)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    del graph.value_info[:]
    if low == TensorProto.BFLOAT16:
        _raise_opset(typed, 22)  # the first in which a convolution may be bfloat16
    onnx.checker.check_model(typed, full_check=True)
    return typed


def round_to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Bits of the nearest bfloat16 (ties to even) of finite float32 values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _tensor(array: npt.NDArray[np.float32], name: str, low: int) -> onnx.TensorProto:
    if low == TensorProto.FLOAT16:
        return numpy_helper.from_array(array.astype(np.float16), name)
    raw = round_to_bfloat16(array).tobytes()
    return helper.make_tensor(name, TensorProto.BFLOAT16, array.shape, raw, raw=True)


def _raise_opset(model: onnx.ModelProto, version: int) -> None:
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, version)
