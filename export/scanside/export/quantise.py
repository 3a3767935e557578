"""fp32 ONNX → `int8`: convolutions on 8-bit integers by NNCF's post-training quantisation, everything else in float32.

The result is an ordinary ONNX file with QuantizeLinear and DequantizeLinear around the convolutions (weights
symmetric per output channel, activations symmetric per tensor), which is what OpenVINO and TensorRT both read.
Normalisations stay as they are in the fp32 network: a mean of 8-bit values would be another network's mean. So do the
first convolution, the last and the transposed ones: a few percent of the time, and a third of the error.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

from scanside.export.accurate_norm import accurate_norms
from scanside.export.graph_names import INPUT
from scanside.export.tiles import tiles
from scanside.runtime.errors import InputError
from scanside.runtime.plan import Plan
from scanside.runtime.volume import Volume

Tiles = Sequence[npt.NDArray[np.float32]]
MOST_TILES = 16
"""Calibration runs the network on each with every activation kept, so there is a limit."""


def calibration_tiles(volumes: Sequence[Volume], plan: Plan) -> Tiles:
    """Tiles of the images given for calibration, spread evenly over all tiles of all images.

    Returns:
        At most `MOST_TILES` arrays (1, C, *patch) float32.

    Raises:
        InputError: If there is no image, or the plan is that of a cascade's second stage.
    """
    if not volumes:
        raise InputError(
            "Precision int8 needs images to calibrate on; give some that the model was made for with --calibrate."
        )
    if plan.previous_stage is not None:
        raise InputError("Precision int8 is not offered for a cascade; leave it out of --precision.")
    everything = list(chain.from_iterable(tiles(volume, plan) for volume in volumes))
    chosen = np.unique(np.linspace(0, len(everything) - 1, MOST_TILES).round().astype(int))
    return [everything[index] for index in chosen]


def to_int8(model: onnx.ModelProto, calibration: Tiles) -> onnx.ModelProto:
    """A copy of the model, as PyTorch exports it, with 8-bit convolutions; inputs and outputs stay float32.

    Args:
        calibration: From `calibration_tiles`.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    network = onnx.ModelProto()
    network.CopyFrom(model)
    split_concatenations(network)
    accurate_norms(network)
    nodes, (output,) = network.graph.node, network.graph.output
    ends = [
        node.name
        for node in nodes
        if node.op_type == "Conv" and (node.input[0] == INPUT or node.output[0] == output.name)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars; stdout is for data
        quantised: Any = nncf.quantize(
            network,
            nncf.Dataset([{INPUT: tile} for tile in calibration]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(
                names=ends, types=sorted({node.op_type for node in nodes} - {"Conv"}), validate=False
            ),
        )
    assert isinstance(quantised, onnx.ModelProto)
    return quantised


def split_concatenations(model: onnx.ModelProto) -> int:
    """Rewrite, in place, every convolution of a concatenation as the sum of the convolutions of its parts.

    Each part then has a scale of its own. OpenVINO 2026.4 also computes a quantised concatenation wrongly: on a
    six-stage U-Net its logits differed by 39 % (RMS) from ONNX Runtime's on the same graph, without them by 5 %.

    Returns:
        How many were rewritten.
    """
    graph = model.graph
    channels = {
        value.name: value.type.tensor_type.shape.dim[1].dim_value
        for value in shape_inference.infer_shapes(model).graph.value_info
        if len(value.type.tensor_type.shape.dim) > 1
    }
    weights = {tensor.name: tensor for tensor in graph.initializer}
    concatenations = {node.output[0]: node for node in graph.node if node.op_type == "Concat"}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in graph.node:
        joined = concatenations.get(node.input[0]) if node.op_type == "Conv" else None
        if joined is None:
            nodes.append(node)
            continue
        kernel = numpy_helper.to_array(weights[node.input[1]])
        borders = np.cumsum([channels[name] for name in joined.input])[:-1]
        nodes += _summed(graph, node, joined.input, np.split(kernel, borders, axis=1))
        count += 1
    used = {name for node in nodes for name in node.input}
    _replace(graph.node, (node for node in nodes if node.op_type != "Concat" or node.output[0] in used))
    _replace(graph.initializer, (tensor for tensor in graph.initializer if tensor.name in used))
    return count


def _summed(
    graph: onnx.GraphProto, conv: onnx.NodeProto, parts: Sequence[str], kernels: Sequence[npt.NDArray[Any]]
) -> list[onnx.NodeProto]:
    """Nodes for Σ conv(part, kernel); the bias goes with the first part."""
    nodes, total = [], ""
    for index, (part, kernel) in enumerate(zip(parts, kernels, strict=True)):
        name = f"{conv.output[0]}.part{index}"
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(kernel), f"{name}.weight"))
        convolved = onnx.NodeProto()
        convolved.CopyFrom(conv)
        convolved.name, convolved.output[0] = name, name
        convolved.input[:] = [part, f"{name}.weight", *(conv.input[2:] if index == 0 else ())]
        nodes.append(convolved)
        if total:
            last = index == len(parts) - 1
            nodes.append(helper.make_node("Add", [total, name], [conv.output[0] if last else f"{name}.sum"]))
        total = nodes[-1].output[0]
    return nodes


def _replace(field: Any, content: Iterable[Any]) -> None:
    """Give a repeated field of a graph other content, which may be a part of the old."""
    kept = [type(item).FromString(item.SerializeToString()) for item in content]
    del field[:]
    field.extend(kept)
