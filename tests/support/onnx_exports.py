"""Networks as ONNX graphs, each exported once in a run: PyTorch takes two or three seconds of processor time for each.

Networks of one architecture occur in many tests, and their graphs differ in the weights. The tests of `onnx_graph.py`
itself export anew.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import onnx
import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter import _registration

import tests.support.calm  # noqa: F401
from scanside.export import nnunet, onnx_graph
from tests.support import once

PACKAGES = ("torch", "onnx", "onnxscript", "dynamic_network_architectures", "numpy")
_FROM_TORCHLIB = _registration.ONNXRegistry.from_torchlib


def to_onnx(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> onnx.ModelProto:
    """As `onnx_graph.to_onnx`; the graph is the caller's own."""
    weights = {name: tensor.detach() for name, tensor in network.state_dict().items()}

    def make() -> bytes:
        with _one_table_of_operations():
            graph = onnx_graph.to_onnx(network, input_channels, patch).SerializeToString()
        with io.BytesIO() as buffer:
            torch.save({"graph": graph, "weights": weights}, buffer)
            return buffer.getvalue()

    def read(key: str) -> tuple[onnx.ModelProto, onnx_graph.Weights]:
        found = torch.load(io.BytesIO(once.kept(key, make)), weights_only=False)
        return onnx.load_from_string(found["graph"]), found["weights"]

    parts = [_architecture(network, input_channels, patch)]
    like = onnx_graph.with_weights(*read(_key(parts)), weights)
    if like is not None:
        return like
    return read(_key([*parts, *(tensor.numpy().tobytes() for tensor in weights.values())]))[0]


def _architecture(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> bytes:
    """What a graph depends on, but for weights."""
    supervised = getattr(getattr(network, "decoder", None), "deep_supervision", None)
    buffers = [(name, tensor.tolist()) for name, tensor in network.named_buffers()]
    shapes = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    how = (type(network), network.training, supervised, input_channels, patch)
    return f"{how} {network} {shapes} {buffers}".encode()


def _key(parts: list[bytes]) -> str:
    return once.key("export", PACKAGES, *parts)


@contextmanager
def _one_table_of_operations() -> Iterator[None]:
    """PyTorch reads the sources of 497 operations for each export; here it does so for the first one alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(_table))
        yield


@cache
def _table(opset_version: int) -> _registration.ONNXRegistry:
    return _FROM_TORCHLIB(opset_version=opset_version)


@contextmanager
def shared() -> Iterator[None]:
    """`export nnunet` takes its networks from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnunet, "to_onnx", to_onnx)
        yield


@pytest.fixture(scope="session", autouse=True)
def share_onnx_exports() -> Iterator[None]:
    """For the files that import this fixture, and the folders whose conftest.py does."""
    with shared():
        yield
