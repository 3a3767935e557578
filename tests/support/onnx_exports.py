"""Networks as ONNX graphs, each exported once in a run: PyTorch takes two or three seconds of processor time for each.

Equal networks occur in many tests. Those of `onnx_graph.py` itself export anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import onnx
import pytest
from torch import nn
from torch.onnx._internal.exporter import _registration

import tests.support.calm  # noqa: F401
from scanside.export import nnunet, onnx_graph
from tests.support import once

PACKAGES = ("torch", "onnx", "onnxscript", "dynamic_network_architectures", "numpy")
_FROM_TORCHLIB = _registration.ONNXRegistry.from_torchlib


def to_onnx(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> onnx.ModelProto:
    """As `onnx_graph.to_onnx`; the graph is the caller's own."""

    def make() -> bytes:
        with _one_table_of_operations():
            return bytes(onnx_graph.to_onnx(network, input_channels, patch).SerializeToString())

    return onnx.load_from_string(once.kept(_key(network, input_channels, patch), make))


def _key(network: nn.Module, input_channels: int, patch: tuple[int, ...]) -> str:
    supervised = getattr(getattr(network, "decoder", None), "deep_supervision", None)
    parts = [f"{type(network)} {network} {network.training} {supervised} {input_channels} {patch}".encode()]
    for name, tensor in (*network.state_dict().items(), *network.named_buffers()):
        parts += [f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), tensor.numpy().tobytes()]
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
