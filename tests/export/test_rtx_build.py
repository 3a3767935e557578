"""Every graph that a device is given, through the real TensorRT-RTX, for GPUs that are not here.

That it builds shows that TensorRT takes it; the numerics are compared on a CPU, in `test_bf16.py`, `test_mixed.py` and
`tests/runtime/device`, and here for the network of 31 M parameters. Nothing here is run on a GPU.
"""

import itertools
import math
import os
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from benchmarks.scripts.rtx_build import LARGE_PATCH, Float32, graphs, numerics, of_bundle
from scanside.benchmarks.models import SMALL_PATCH, at_patch, large
from scanside.export.convert import in_precisions
from scanside.runtime.backends import engines, gpu, trt_build
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import DeviceMemoryError
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, make_network

DEMO = Path(__file__).parents[2] / "training/scanside/training/data/pancreas-phantom.bundle"
CAPABILITIES = ("8.6", "8.9", "12.0")
TYPED: tuple[FilePrecision, ...] = ("fp32", "mixed", "bf16")
Network = tuple[onnx.ModelProto, Float32]
if not trt_build.installed("tensorrt-rtx") and os.environ.get("CI_REQUIRE_PEERS") != "1":
    pytest.skip("tensorrt-rtx is not installed: pip install 'scanside[rtx]'", allow_module_level=True)


@pytest.fixture(scope="module")
def default_network() -> Network:
    """nnU-Net's default network of 31 M parameters: exported once, which costs more than all of its engines."""
    return large(SMALL_PATCH)[1:]


def built(graph: onnx.ModelProto, batch: int = 1) -> int:
    """Bytes of the smallest plan."""
    content = graph.SerializeToString()
    return min(
        len(trt_build.build(content, "tensorrt-rtx", batch=batch, capability=capability))
        for capability in CAPABILITIES
    )


def test_demonstration() -> None:
    _, network, tile = next(of_bundle(DEMO))
    for precision, graph in graphs(network, tile, TYPED).items():
        weights = sum(numpy_helper.to_array(tensor).nbytes for tensor in graph.graph.initializer)
        assert built(graph, batch=8) > weights / 4, precision


def test_int8() -> None:
    """The calibrated graph with its QuantizeLinear and DequantizeLinear, as a bundle holds it."""
    pytest.importorskip("nncf")
    tiny = Tiny(features=(4, 8, 16), patch=(16, 32, 32))
    network = to_onnx(make_network(tiny, 1), 1, tiny.patch)
    assert built(graphs(network, smooth((1, 1, *tiny.patch), 0), ("int8",))["int8"], batch=2) > 10_000


@pytest.mark.parametrize(
    "patch", [LARGE_PATCH, pytest.param((128, 128, 128), marks=pytest.mark.slow)], ids=str
)
def test_default_network_builds_for_the_batch_that_is_run(
    patch: tuple[int, ...], default_network: Network
) -> None:
    """Each precision for a generation of its own, as a card of 16 GiB builds it: all mirror variants at once."""
    network, _ = default_network
    assert sum(math.prod(tensor.dims) for tensor in network.graph.initializer) > 30e6
    builds(network, patch, tuple(zip(TYPED, CAPABILITIES, strict=True)))


@pytest.mark.slow
def test_default_network_builds_in_every_precision_for_every_generation(default_network: Network) -> None:
    builds(default_network[0], LARGE_PATCH, tuple(itertools.product(TYPED, CAPABILITIES)))


def builds(
    network: onnx.ModelProto, patch: tuple[int, ...], pairs: tuple[tuple[FilePrecision, str], ...]
) -> None:
    graphs = in_precisions(at_patch(network, patch), TYPED)
    for precision, capability in pairs:
        made = as_opened(graphs[precision], capability, 16)
        assert (made.batch, made.remark) == (gpu.LARGEST_BATCH, None), (precision, capability)
        assert len(made.plan) > 50e6


def test_a_smaller_card_takes_fewer_tiles_at_once_and_says_why(default_network: Network) -> None:
    """Float32: TensorRT-RTX asks for 10 GB of scratch memory for eight tiles."""
    graph = in_precisions(at_patch(default_network[0], LARGE_PATCH), ("fp32",))["fp32"]
    made = as_opened(graph, "8.6", 8)
    assert made.batch == 4 and made.remark is not None
    assert "4 tile(s) at once instead of 8" in made.remark and "OutOfMemory" in made.remark
    with pytest.raises(DeviceMemoryError) as caught:  # not even one
        as_opened(graph, "8.6", 0.5)
    assert_one_sentence(str(caught.value), "1 tile(s)", "0.4 GiB", "--device cpu")


def as_opened(graph: onnx.ModelProto, capability: str, gib: float) -> engines.Built:
    """As a session builds it on a card of this memory."""
    return trt_build.build_largest(
        graph.SerializeToString(), "tensorrt-rtx", gpu.LARGEST_BATCH, int(gib * 2**30), capability=capability
    )


def test_numerics_of_the_default_network(default_network: Network) -> None:
    """Same weights, a smaller tile; the results folder has the large one."""
    judge(*default_network)


@pytest.mark.slow
def test_numerics_of_the_default_network_at_its_own_patch() -> None:
    judge(*large(LARGE_PATCH)[1:])


def judge(network: onnx.ModelProto, tile: Float32) -> None:
    made = graphs(network, tile, TYPED)
    for precision, rms, labels in (("mixed", 5e-3, 2e-3), ("bf16", 3e-2, 1e-2)):
        difference = numerics(made["fp32"], made[precision], tile)  # type: ignore[index]
        assert 0 < difference["relative_rms"] < rms
        assert difference["labels_differing"] < labels
