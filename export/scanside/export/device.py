"""What surrounds the network on a device, as ONNX graphs: mirror variants, weighted sums, resampling, labels.

Three small graphs a segmenter, driven by `runtime/device/slide.py`. They are ordinary float32 ONNX, so the very graphs
that run on a GPU are tested on a CPU against the runtime's own stages. Only labels (uint8) come back from the device.

    mirror  tile (1, C, *patch), flags (N, axes)          → variants (N, C, *patch)
    add     sums (K+1, D, Y, X), logits (N, K, *patch), flags, weights, share (pz, py, px), place (8)
                                                          → added (K+1, D, Y, X)
    finish  sums, along_z (R, D), along_y (y, Y), along_x (x, X), shift (8)
                                                          → labels (R, y, x), energy (), kept (K+1, D, Y, X)

The sums are those of the D rows at hand; their last channel is the sum of the weights. Resampling is one matrix an
axis: rows of weights that also cut the padding off.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scanside.export.onnx_graph import OPSET
from scanside.runtime.plan import Plan
from scanside.runtime.stages.decide import REGION_THRESHOLD

_LEAST_WEIGHT = np.float32(2.0**-60)
"""Below every sum of weights of a finished row; rows that no tile has reached yet are 0 / this, not NaN."""
_IR_VERSION = 10


def device_graphs(plan: Plan) -> dict[str, onnx.ModelProto] | None:
    """The graphs of a segmenter; `mirror` only where the plan allows mirroring. None if labels do not fit in uint8."""
    if plan.labels.mask_dtype != "uint8":
        return None
    graphs = {"add": _add(plan), "finish": _finish(plan)}
    return {"mirror": _mirror(plan), **graphs} if plan.mirror_axes else graphs


Values = Mapping[str, tuple[int, Sequence[object]]]


class _Graph:
    """A graph in the making: `node` appends one and returns its output's name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operation: str, *inputs: str, output: str = "", **attributes: object) -> str:
        name = output or f"{operation}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def constant(self, values: object, dtype: type = np.int64) -> str:
        name = f"constant.{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def flipped(self, tiles: str, flags: str, plan: Plan) -> str:
        """(1 or N, C, *patch), reversed along each mirror axis where its flag (N, axes) says so."""
        for index, axis in enumerate(plan.mirror_axes):
            column = self.node("Slice", flags, *map(self.constant, ([index], [index + 1], [1])))
            wanted = self.node("Reshape", column, self.constant([-1, 1, *[1] * plan.dimension]))
            ends = self.constant([np.iinfo(np.int64).min])
            backward = self.node(
                "Slice", tiles, self.constant([-1]), ends, *map(self.constant, ([axis + 2], [-1]))
            )
            tiles = self.node("Where", wanted, backward, tiles)
        return tiles

    def model(
        self,
        name: str,
        inputs: Values,
        outputs: Values,
    ) -> onnx.ModelProto:
        values = [
            [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in side.items()]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, name, *values, self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _mirror(plan: Plan) -> onnx.ModelProto:
    graph, patch = _Graph(), list(plan.patch_size)
    graph.node("Identity", graph.flipped("tile", "flags", plan), output="variants")
    return graph.model(
        "mirror",
        {
            "tile": (TensorProto.FLOAT, [1, plan.input_channels, *patch]),
            "flags": (TensorProto.BOOL, ["N", len(plan.mirror_axes)]),
        },
        {"variants": (TensorProto.FLOAT, ["N", plan.input_channels, *patch])},
    )


def _add(plan: Plan) -> onnx.ModelProto:
    graph, heads = _Graph(), plan.labels.heads
    patch = [1] * (3 - plan.dimension) + list(plan.patch_size)
    logits = graph.flipped("logits", "flags", plan)
    total = graph.node("ReduceSum", logits, graph.constant([0]), keepdims=0)
    if plan.dimension == 2:
        total = graph.node("Unsqueeze", total, graph.constant([1]))
    weighted = graph.node("Mul", total, "weights")
    share = graph.node("Unsqueeze", "share", graph.constant([0]))
    tile = graph.node("Concat", weighted, share, axis=0)
    graph.node("Add", "sums", graph.node("Pad", tile, "place"), output="added")
    sums = (TensorProto.FLOAT, [heads + 1, "D", "Y", "X"])
    flags = {"flags": (TensorProto.BOOL, ["N", len(plan.mirror_axes)])} if plan.mirror_axes else {}
    return graph.model(
        "add",
        {
            "sums": sums,
            "logits": (TensorProto.FLOAT, ["N", heads, *plan.patch_size]),
            **flags,
            "weights": (TensorProto.FLOAT, patch),
            "share": (TensorProto.FLOAT, patch),
            "place": (TensorProto.INT64, [8]),
        },
        {"added": sums},
    )


def _finish(plan: Plan) -> onnx.ModelProto:
    graph, heads = _Graph(), plan.labels.heads
    first, last, axis = graph.constant([0]), graph.constant([heads]), graph.constant([0])
    values = graph.node("Slice", "sums", first, last, axis)
    weights = graph.node("Slice", "sums", last, graph.constant([heads + 1]), axis)
    weights = graph.node("Max", weights, graph.constant(_LEAST_WEIGHT, np.float32))
    mean = graph.node("Div", values, weights)
    # Finite if, and only if, every mean is (or its square leaves float32, which no usable logit does).
    graph.node("ReduceSumSquare", mean, output="energy", keepdims=0)
    flat = graph.node("Reshape", mean, graph.constant([0, 0, -1]))
    rows = graph.node("MatMul", "along_z", flat)
    size = graph.node("Shape", "sums", start=2)
    count = graph.node("Shape", "along_z", end=1)
    whole = graph.node("Reshape", rows, graph.node("Concat", last, count, size, axis=0))
    columns = graph.node("MatMul", "along_y", whole)
    logits = graph.node("MatMul", columns, graph.node("Transpose", "along_x", perm=[1, 0]))
    graph.node("Cast", _decided(graph, logits, plan), output="labels", to=TensorProto.UINT8)
    graph.node("Pad", "sums", "shift", output="kept")
    sums = (TensorProto.FLOAT, [heads + 1, "D", "Y", "X"])
    return graph.model(
        "finish",
        {
            "sums": sums,
            "along_z": (TensorProto.FLOAT, ["R", "D"]),
            "along_y": (TensorProto.FLOAT, ["y", "Y"]),
            "along_x": (TensorProto.FLOAT, ["x", "X"]),
            "shift": (TensorProto.INT64, [8]),
        },
        {
            "labels": (TensorProto.UINT8, ["R", "y", "x"]),
            "energy": (TensorProto.FLOAT, []),
            "kept": sums,
        },
    )


def _decided(graph: _Graph, logits: str, plan: Plan) -> str:
    """As `stages.decide.decide`: the first of the largest, or the last region above its threshold."""
    if plan.labels.regions_class_order is None:
        return graph.node("ArgMax", logits, axis=0, keepdims=0)
    label = graph.constant(0)
    threshold = graph.constant(REGION_THRESHOLD, np.float32)
    for index, value in enumerate(plan.labels.regions_class_order):
        channel = graph.node("Gather", logits, graph.constant(index), axis=0)
        inside = graph.node("Greater", channel, threshold)
        label = graph.node("Where", inside, graph.constant(value), label)
    return label
