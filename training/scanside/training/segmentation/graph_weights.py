"""The weights of an exported network, given back to the network that PyTorch trains.

An exported graph keeps the names of nnU-Net's weights, but for the scale and shift of an instance norm that export
writes as elementary operations: these are found by the convolution before them. The heads of deep supervision are not
in a graph, which computes the full resolution alone.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from scanside.runtime.errors import InputError

_CONVOLUTION, _NORM = ".all_modules.0.weight", ".all_modules.1."
"""Where nnU-Net's block of convolution and norm keeps them."""
_PARTS = {".norm.scale": "weight", ".norm.bias": "bias"}
_HEADS = "seg_layers."


def load_graph_weights(network: torch.nn.Module, file: Path) -> tuple[str, ...]:
    """Give a network the weights of an exported float32 graph of the same architecture.

    Args:
        network: nnU-Net's, as its trainer builds it.
        file: A graph of a bundle, such as `segmenters/dwi/0.onnx`.

    Returns:
        Names of the weights that the graph does not hold and that stay as they were: heads of deep supervision.

    Raises:
        InputError: If names or shapes do not fit, or a weight is neither in the graph nor such a head.
    """
    try:
        graph = onnx.load(str(file)).graph
    except Exception as error:  # protobuf's errors share no base class
        raise InputError(f"{file} cannot be read as an ONNX graph; copy the bundle again.") from error
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    target = dict(network.named_parameters(remove_duplicate=False))
    given: dict[int, str] = {}
    with torch.no_grad():
        for name, source in [*((name, name) for name in held if name in target), *_norms(graph)]:
            weight = target.get(name)
            value = held[source]
            if weight is None or value.dtype != "float32" or value.size != weight.numel():
                raise InputError(
                    f"The weight {source} of {file} does not fit the network that this plan builds; "
                    "take the plans and the float32 graph that it was exported with."
                )
            weight.copy_(torch.from_numpy(value.copy()).reshape(weight.shape))
            given[id(weight)] = name
    left = tuple(name for name, weight in network.named_parameters() if id(weight) not in given)
    lost = [name for name in left if _HEADS not in name]
    if lost or not given:
        raise InputError(
            f"{file} holds no weights for {', '.join(lost[:3])} of the network that this plan builds."
        )
    return left


def _norms(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Names of nnU-Net's norm weights, and of the initializers that hold them under export's own names."""
    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        for name in node.input:
            part = next((word for end, word in _PARTS.items() if name.endswith(end)), None)
            if part:
                yield _convolution_before(node, made_by) + _NORM + part, name


def _convolution_before(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto]) -> str:
    """Name of the block whose convolution's result an elementary operation of a norm works on."""
    waiting = [node]
    while waiting:
        node = waiting.pop(0)
        if node.op_type == "Conv":
            return node.input[1].removesuffix(_CONVOLUTION)
        waiting += [made_by[name] for name in node.input if name in made_by]
    return ""
