"""What would overflow in float16: the largest value of every tensor of a network, over tiles of real images.

Float16 ends at 65 504; beyond it is infinity, then NaN, then the all-black mask. Every operation that reads or writes
something near that stays in float32. The audit is as good as its images: a network may still see larger values later,
which the runtime notices (a result that is not finite is an error, not a mask).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from scanside.export.mixed import KEPT_IN_FLOAT32

LIMIT = 3e4
"""Less than half of what float16 holds: images of tomorrow are not those of the audit."""


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes.

    Attributes:
        tiles: How many tiles were seen.
        largest: Tensor → largest |value|, weights included.
        kept: Nodes, by their first output, that must stay in float32.
    """

    tiles: int
    largest: dict[str, float]
    kept: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """For the bundle's parity.json."""
        name = max(self.largest, key=lambda tensor: self.largest[tensor])
        return {
            "tiles": self.tiles,
            "limit": LIMIT,
            "largest": {"tensor": name, "value": self.largest[name]},
            "kept_in_float32": list(self.kept),
        }


def audit(
    model: onnx.ModelProto, tiles: Iterable[npt.NDArray[np.float32]], threads: int | None = None
) -> Ranges:
    """Run the float32 network over tiles and note the range of every tensor.

    Only two numbers a tensor leave the run, so that memory is that of an ordinary run.

    Args:
        tiles: (1, C, *patch) float32 each.
    """
    import onnxruntime as ort

    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    names = [graph.input[0].name, *(output for node in model.graph.node for output in node.output)]
    for name in names:
        for operation in ("ReduceMax", "ReduceMin"):
            graph.node.append(helper.make_node(operation, [name], [f"{name}.{operation}"], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(f"{name}.{operation}", TensorProto.FLOAT, []))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # every tensor is to exist
    if threads:
        options.intra_op_num_threads = threads
    session = ort.InferenceSession(measured.SerializeToString(), options, providers=["CPUExecutionProvider"])
    asked = [value.name for value in graph.output[1:]]
    extremes, count = np.zeros(len(asked)), 0
    for tile in tiles:
        found = np.abs(np.array(session.run(asked, {graph.input[0].name: tile}), dtype=np.float64))
        extremes, count = np.maximum(extremes, found), count + 1  # a NaN stays one
    largest = {name: float(value) for name, value in zip(names, extremes.reshape(-1, 2).max(1), strict=True)}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            largest[tensor.name] = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
    return Ranges(count, largest, _too_large(model, largest))


def _too_large(model: onnx.ModelProto, largest: dict[str, float]) -> tuple[str, ...]:
    return tuple(
        node.output[0]
        for node in model.graph.node
        if node.op_type not in KEPT_IN_FLOAT32
        and not all(largest.get(name, 0.0) < LIMIT for name in (*node.input, *node.output))
    )
