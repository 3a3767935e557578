"""PyTorch network → ONNX: fixed patch, dynamic batch, one file, and only operations that are known to be right."""

import logging
import warnings
from collections.abc import Mapping, Set

import onnx
import torch
from torch import nn

from scanside.export.graph_names import INPUT, OUTPUT
from scanside.export.network import is_primus
from scanside.runtime.errors import InputError

OPSET = 20
Weights = Mapping[str, torch.Tensor]
"""A state dict: the weights of a network by name."""
ALLOWED = {
    "Add", "AveragePool", "BatchNormalization", "Cast", "Concat", "Conv", "ConvTranspose", "Identity",
    "InstanceNormalization", "LeakyRelu", "MaxPool", "Mul", "Relu", "Sigmoid",
}  # fmt: skip
"""What nnU-Net's convolutional networks need. Anything else is refused until it has a test of its own."""


TRANSFORMER = {
    "Div", "Gelu", "LayerNormalization", "MatMul", "Neg", "Pow", "ReduceMean", "Reshape", "Shape", "Slice", "Softmax",
    "Split", "Sqrt", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
"""What Primus needs besides, and nothing else may have; compared with nnunetv2 in tests/export/test_matrix.py."""


def to_onnx(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> onnx.ModelProto:
    """Export a network.

    Args:
        patch: Spatial input shape, fixed in the graph; the batch axis is free.

    Raises:
        InputError: If the graph holds an operation that the network's kind may not have, or batch normalisation in
            training mode.
    """
    example = torch.zeros((2, input_channels, *patch))
    with torch.no_grad(), warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # only dynamo=False returns nothing
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    for record in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        # Names of Python modules and source lines: they would tie the bundle to the exporting machine.
        del record.metadata_props[:]
        record.doc_string = ""
    check_operations(model, ALLOWED | TRANSFORMER if is_primus(network) else ALLOWED)
    onnx.checker.check_model(model, full_check=True)
    return model


def with_weights(model: onnx.ModelProto, before: Weights, after: Weights) -> onnx.ModelProto | None:
    """The graph of another network of the same architecture, without exporting it: the weights are put in.

    Args:
        model: Graph of the network that has the weights `before`.
        after: Weights of the other network, by the same names.

    Returns:
        A new graph, or None where weights alone do not make it: the exporter has folded some into others (batch
        normalisation), or left something out for its values (a bias of zeros) that the other network has.
    """
    there = {tensor.name for tensor in model.graph.initializer}
    left_out = (name for name, value in before.items() if name not in there and _is_one_value(value))
    if any(not torch.equal(before[name], after[name]) for name in left_out):
        return None
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        if tensor.name not in before or tensor.raw_data != before[tensor.name].numpy().tobytes():
            return None
        tensor.raw_data = after[tensor.name].numpy().tobytes()
    return other


def _is_one_value(weights: torch.Tensor) -> bool:
    return bool((weights == weights.flatten()[:1]).all())


def check_operations(model: onnx.ModelProto, allowed: Set[str] = ALLOWED) -> dict[str, int]:
    """Count the operations and refuse those that are not allowed.

    Returns:
        Operation → count.
    """
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        training = [a.i for a in node.attribute if a.name == "training_mode"]
        if node.op_type == "BatchNormalization" and any(training):
            raise InputError(
                "The network exports batch normalisation in training mode; its statistics would drift."
            )
    unknown = sorted(set(counts) - allowed)
    if unknown or len(model.graph.output) != 1:
        what = f"the operation {', '.join(unknown)}" if unknown else f"{len(model.graph.output)} outputs"
        raise InputError(f"The network has {what}, which scanside does not support.")
    return counts


class _quiet:
    """Keep the exporter's progress log off the terminal."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._level)
