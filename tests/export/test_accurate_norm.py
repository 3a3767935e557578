"""Instance normalisation over large tiles: as accurate as PyTorch on every backend."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from scanside.export.accurate_norm import LEAST_VOXELS, _window, accurate_norms, single_norms
from scanside.runtime.backends.table import open_session

CHANNELS = 4


def norm_model(shape: tuple[int, ...]) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {
        "scale": random.uniform(0.5, 2, CHANNELS).astype(np.float32),
        "bias": random.normal(size=CHANNELS).astype(np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("InstanceNormalization", ["image", "scale", "bias"], ["logits"], epsilon=1e-5)],
        "norm",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", CHANNELS, *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CHANNELS, *shape])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def exact(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    scale, bias = (numpy_helper.to_array(t).astype(float) for t in model.graph.initializer)
    axes = tuple(range(2, image.ndim))
    per_channel = (1, -1, *[1] * len(axes))
    wide = image.astype(float)
    centred = wide - wide.mean(axes, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)
    return normal * scale.reshape(per_channel) + bias.reshape(per_channel)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("shape", [(28, 160, 192), (512, 384), (17, 131, 101)])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_as_accurate_as_pytorch(device: str, shape: tuple[int, ...], offset: float) -> None:
    model = norm_model(shape)
    image = (np.random.default_rng(1).standard_normal((1, CHANNELS, *shape)) + offset).astype(np.float32)
    wanted = exact(model, image)
    scale, bias = (torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer)
    torch_error = np.abs(
        torch.nn.functional.instance_norm(torch.from_numpy(image), weight=scale, bias=bias).numpy() - wanted
    )
    assert accurate_norms(model) == 1
    onnx.checker.check_model(model, full_check=True)
    with open_session(device, model.SerializeToString(), "fp32") as session:
        error = np.abs(session.run(image) - wanted)
    assert error.max() < max(2e-5, 4 * float(torch_error.max()))


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("shape", [(28, 160, 192), (14, 40, 48), (20, 28, 20)])
def test_as_accurate_where_a_third_of_the_tile_is_empty(device: str, shape: tuple[int, ...]) -> None:
    """Summed one after the other this costs up to 4e-4 of a standard deviation."""
    model = norm_model(shape)
    image = np.random.default_rng(3).standard_normal((1, CHANNELS, *shape)).astype(np.float32) * 0.3 + 2
    image[:, :, -shape[0] // 3 :] = 0
    wanted = exact(model, image)
    assert accurate_norms(model) == 1
    with open_session(device, model.SerializeToString(), "fp32") as session:
        assert np.abs(session.run(image) - wanted).max() < 1e-5


def test_windows_and_their_number_are_about_equally_many() -> None:
    for size in range(1, 600):
        width = _window(size)
        assert max(width, -(-size // width)) <= 2 * size**0.5 + 1, size


def test_small_normalisations_stay_one_operation() -> None:
    model = norm_model((18, 18, 18))
    before = model.SerializeToString()
    assert LEAST_VOXELS > 18**3 and accurate_norms(model) == 0
    assert model.SerializeToString() == before


def test_the_batch_stays_free() -> None:
    model = norm_model((400, 300))
    accurate_norms(model)
    image = np.random.default_rng(2).standard_normal((3, CHANNELS, 400, 300)).astype(np.float32)
    with open_session("cpu", model.SerializeToString(), "fp32") as session:
        together = session.run(image)
        alone = np.concatenate([session.run(one[None]) for one in image])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 40, 40), (250, 230)])
def test_the_single_operation_comes_back(shape: tuple[int, ...]) -> None:
    model = norm_model(shape)
    written_out = onnx.ModelProto()
    written_out.CopyFrom(model)
    assert accurate_norms(written_out) == 1 == single_norms(written_out)
    assert single_norms(written_out) == 0
    (node,), (before,) = written_out.graph.node, model.graph.node
    assert node.op_type == "InstanceNormalization" and node.attribute == before.attribute
    assert (node.input[0], node.output[0]) == ("image", "logits")
    for made, given in zip(written_out.graph.initializer, model.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(made), numpy_helper.to_array(given))
    onnx.checker.check_model(written_out, full_check=True)
