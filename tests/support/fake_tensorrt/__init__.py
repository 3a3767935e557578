"""TensorRT in Python, for machines that have no GPU: `tensorrt` 10.3, 10.16, 11.4 and TensorRT-RTX 1.7.

It has the names that the product uses and behaves as NVIDIA documents it; a network is computed by ONNX Runtime, in
host memory, at the addresses that the context was given. Every call can be made to fail as the library fails. That
names and arguments are those of the real libraries is compared with their bindings (`real.py`).
"""

import importlib.machinery
import json
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from onnx import TensorProto, helper

from tests.support.fake_tensorrt import build, run

VERSIONS = {
    "10.3.0": "tensorrt",
    "10.16.1.11": "tensorrt",
    "11.4.0.106": "tensorrt",
    "1.7.1.116": "tensorrt_rtx_bindings",
}
"""Version → name of its Python module."""
TILE = 1 << 20


@dataclass
class Library:
    """What one library on one GPU does.

    Attributes:
        gpu: The GPU it runs on, which is written into timings and kernels.
        largest: Most tiles that a network builds for.
        a_tile: Bytes between input and output, a tile.
        failing: Names of calls that fail: they return False, None or a null pointer, as the real ones do.
        calls: Names of the calls that can fail, as they happen.
        typed, workspace: As the last build was told.
    """

    version: str = "11.4.0.106"
    gpu: bytes = b"A4000"
    largest: int = 8
    a_tile: int = TILE
    failing: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    typed: bool = False
    workspace: int = 0

    @property
    def name(self) -> str:
        """Of the Python module."""
        return VERSIONS[self.version]

    @property
    def rtx(self) -> bool:
        """TensorRT-RTX builds without the GPU, times nothing and compiles at the first run."""
        return self.name != "tensorrt"

    def fails(self, name: str) -> bool:
        """Note a call; whether it fails."""
        self.calls.append(name)
        return name in self.failing

    def plan(self, network: bytes, batch: int) -> bytes:
        """A plan for this library on this GPU."""
        head = json.dumps({"library": self.version, "gpu": self.gpu.decode(), "batch": batch})
        return head.encode() + b"\n" + network

    def module(self) -> ModuleType:
        """What `import tensorrt` gives."""
        made = ModuleType(self.name)
        made.__spec__ = importlib.machinery.ModuleSpec(self.name, None)
        names: dict[str, Any] = {"__version__": self.version, **build.names(self), **run.names(self)}
        for name, value in names.items():
            setattr(made, name, value)
        return made


def network() -> bytes:
    """One convolution of one channel to two heads on tiles of 8³."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 1, 1, 1], [1.0, -1.0])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, 8, 8, 8])
    node = helper.make_node("Conv", ["image", "w"], ["logits"])
    graph = helper.make_graph([node], "network", [image], [logits], [weights])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(whole.SerializeToString())
