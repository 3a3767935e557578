"""Every graph that a device is given, through the real TensorRT-RTX, for GPUs that are not here.

That it builds shows that TensorRT takes it; the numerics are compared on a CPU, in `test_bf16.py`, `test_mixed.py` and
`tests/runtime/device`. Nothing here is run on a GPU.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from scanside.export.accurate_norm import accurate_norms
from scanside.export.bf16 import to_bf16
from scanside.export.device import device_graphs
from scanside.export.mixed import to_mixed
from scanside.export.onnx_graph import to_onnx
from scanside.runtime.backends import trt_build
from scanside.runtime.bundle import open_bundle
from scanside.runtime.plan import Plan
from tests.support.phantoms import smooth
from tests.support.plans import REGIONS, plan
from tests.support.tiny_models import Tiny, make_network

DEMO = Path(__file__).parents[2] / "training/scanside/training/data/pancreas-phantom.bundle"
CAPABILITIES = ("8.6", "8.9", "12.0")
if not trt_build.installed("tensorrt-rtx") and os.environ.get("CI_REQUIRE_PEERS") != "1":
    pytest.skip("tensorrt-rtx is not installed: pip install 'scanside[rtx]'", allow_module_level=True)


def in_every_precision(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    accurate = onnx.ModelProto()
    accurate.CopyFrom(model)
    accurate_norms(accurate)
    return {"fp32": accurate, "mixed": to_mixed(model), "bf16": to_bf16(model)}


def test_demonstration() -> None:
    bundle = open_bundle(DEMO)
    network = bundle.read(bundle.manifest.segmenters["t2w"].networks[0].files["fp32"])
    for precision, graph in in_every_precision(onnx.load_from_string(network)).items():
        for capability in CAPABILITIES:
            built = trt_build.build(graph.SerializeToString(), "tensorrt-rtx", batch=8, capability=capability)
            assert len(built) > sum(numpy_helper.to_array(t).nbytes for t in graph.graph.initializer) / 4, (
                precision
            )


def test_int8() -> None:
    """The calibrated graph with its QuantizeLinear and DequantizeLinear, as a bundle holds it."""
    pytest.importorskip("nncf")
    from scanside.export.quantise import to_int8

    tiny = Tiny(features=(4, 8, 16), patch=(16, 32, 32))
    calibration = [smooth((1, 1, *tiny.patch), seed) for seed in range(2)]
    content = to_int8(to_onnx(make_network(tiny, 1), 1, tiny.patch), calibration).SerializeToString()
    for capability in CAPABILITIES:
        assert len(trt_build.build(content, "tensorrt-rtx", batch=2, capability=capability)) > 10_000


@pytest.mark.slow
def test_default_network_of_31_million_parameters() -> None:
    from scanside.benchmarks.rtx_build import graphs, large, numerics

    _, model, tile = large()
    assert sum(int(np.prod(t.dims)) for t in model.graph.initializer) > 30e6
    made = graphs(model, tile)
    for precision, graph in made.items():
        content = graph.SerializeToString()
        for capability in CAPABILITIES:
            assert len(trt_build.build(content, "tensorrt-rtx", capability=capability)) > 50e6
        if precision != "fp32":
            difference = numerics(made["fp32"], graph, tile)
            assert difference["relative_rms"] < {"mixed": 5e-3, "bf16": 3e-2}[precision]
            assert difference["labels_differing"] < {"mixed": 2e-3, "bf16": 1e-2}[precision]


RECIPES = {
    "3d": plan(patch_size=(28, 256, 256), mirror_axes=(0, 1, 2)),
    "2d regions": plan(patch_size=(64, 48), spacing=(1.0, 1.0), mirror_axes=(0, 1), labels=REGIONS),
    "no mirroring": plan(patch_size=(16, 24, 24)),
}


@pytest.mark.parametrize("name", RECIPES)
def test_device_graphs(name: str) -> None:
    """With the ranges of an image's sizes as profile, which one image at a time needs."""
    made = device_graphs(RECIPES[name])
    assert made is not None
    for graph in made.values():
        assert _build(graph, RECIPES[name]) > 10_000


def _build(graph: onnx.ModelProto, recipe: Plan) -> int:
    lib: Any = trt_build.library("tensorrt-rtx")
    log = trt_build._log("tensorrt-rtx")
    builder = lib.Builder(log)
    network = builder.create_network(1 << int(lib.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = lib.OnnxParser(network, log)
    assert parser.parse(graph.SerializeToString()), parser.get_error(0).desc()
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(lib.ComputeCapability.SM89, 0)
    patch = (1,) * (3 - recipe.dimension) + tuple(recipe.patch_size)
    depth = patch[0] + 1
    sizes = {"N": (1, 8), "R": (1, 64), "D": (depth, depth), "Y": (patch[1], 512), "X": (patch[2], 512)}
    sizes |= {"y": (1, 512), "x": (1, 512)}
    for value in graph.graph.input:
        kind = value.type.tensor_type
        shape = [sizes.get(d.dim_param, (d.dim_value,) * 2) for d in kind.shape.dim]
        low, high = ([pair[at] for pair in shape] for at in (0, 1))
        if value.name in ("place", "shift"):  # their values are shapes
            # One that agrees with the smallest sizes, and one with the largest.
            free = [0, 0] if value.name == "shift" else [512 - patch[1], 512 - patch[2]]
            least = [0, -1, 0, 0, 0, 1, 0, 0] if value.name == "shift" else [0, 1, *[0] * 6]
            most = [*least[:6], *free]
            profile.set_shape_input(value.name, least, most, most)
        else:
            profile.set_shape(value.name, low, high, high)
    assert config.add_optimization_profile(profile) >= 0
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, log.errors
    return len(bytes(plan))
