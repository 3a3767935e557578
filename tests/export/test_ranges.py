"""The range audit: without it a network that overflows float16 has a black mask, with it the right one."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from scanside.export.mixed import to_mixed
from scanside.export.onnx_graph import INPUT
from scanside.export.ranges import LIMIT, Ranges, audit
from scanside.export.simulated_precision import simulated
from scanside.export.tiles import tiles
from scanside.runtime.plan import Plan
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import volume
from tests.support.tiny_models import Tiny, make_network, write_model
from tests.support.torch_segmenter import load

TINY = Tiny(features=(4, 8, 16))


def network(gain: float) -> nn.Module:
    """The tiny network, its second convolution `gain` times as strong: the normalisation after it takes that back."""
    made = make_network(TINY, 1)
    convolution = [module for module in made.modules() if isinstance(module, nn.Conv3d)][1]
    with torch.no_grad():
        convolution.weight *= gain
        assert convolution.bias is not None
        convolution.bias *= gain
    return made


def recipe(folder: Path) -> Plan:
    return load(write_model(folder, TINY))[1]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return recipe(tmp_path_factory.mktemp("model"))


def audited(model: onnx.ModelProto, plan: Plan) -> Ranges:
    return audit(model, tiles(volume((20, 33, 30), (1.9, 0.9, 1.0), seed=4), plan))


def run(model: onnx.ModelProto, tile: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {INPUT: tile})[0]
    return result


def test_a_network_that_overflows(plan: Plan) -> None:
    model = to_onnx(network(3e4), 1, TINY.patch)
    found = audited(model, plan)
    assert max(found.largest.values()) > 65504
    kept = {node.output[0]: node for node in model.graph.node if node.output[0] in found.kept}
    assert [node.op_type for node in kept.values()] == ["Conv"]
    tile = next(tiles(volume((20, 33, 30), (1.9, 0.9, 1.0), seed=5), plan))
    fp32 = run(model, tile).argmax(1)
    assert len(np.unique(fp32)) == 3
    assert np.isnan(run(simulated(to_mixed(model)), tile)).all(), "the all-black mask"
    safe = run(simulated(to_mixed(model, found.kept)), tile)
    assert np.isfinite(safe).all() and (safe.argmax(1) == fp32).mean() > 0.999
    assert found.report()["kept_in_float32"] == list(kept)
    assert found.report()["largest"]["value"] > LIMIT


def test_a_network_that_fits_keeps_nothing(plan: Plan) -> None:
    model = to_onnx(network(1), 1, TINY.patch)
    found = audited(model, plan)
    assert found.kept == () and found.tiles > 1
    assert to_mixed(model, found.kept) == to_mixed(model)


def test_ranges_are_those_of_pytorch(plan: Plan) -> None:
    made = network(1)
    model = to_onnx(made, 1, TINY.patch)
    seen: dict[str, float] = {}
    for name, module in made.named_modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):

            def note(_: nn.Module, __: object, output: torch.Tensor, name: str = f"{name}.weight") -> None:
                seen[name] = max(seen.get(name, 0.0), float(output.abs().max()))

            module.register_forward_hook(note)
    # The decoder holds the encoder again, and the exporter may take either name.
    modules = {
        id(module.weight): name
        for name, module in made.named_modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    }
    alias = {
        name: f"{modules[id(p)]}.weight"
        for name, p in made.named_parameters(remove_duplicate=False)
        if id(p) in modules
    }
    image = volume((20, 33, 30), (1.9, 0.9, 1.0), seed=4)
    with torch.inference_mode():
        for tile in tiles(image, plan):
            made(torch.from_numpy(tile))
    found = audited(model, plan).largest
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    checked = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert found[node.output[0]] == pytest.approx(seen[alias[node.input[1]]], rel=1e-4)
            assert found[node.input[1]] == np.abs(weights[node.input[1]]).max()
            checked += 1
    assert checked >= 6
