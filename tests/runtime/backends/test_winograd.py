"""Convolutions with fewer multiplications: equal to convolutions, as exact as float32, and only where they pay."""

from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset13 as op

from scanside.runtime.backends import openvino, winograd
from scanside.runtime.backends.winograd import FILTER, axes_worth, axis

Float = npt.NDArray[np.float32]


@given(st.integers(1, 70))
def test_the_transforms_along_an_axis_are_a_filter_of_three_taps(n: int) -> None:
    generator = np.random.default_rng(n)
    values, taps = generator.standard_normal(n), generator.standard_normal(3)
    transforms = axis(n)
    points = np.repeat(FILTER @ taps, transforms.tiles)
    result = transforms.outputs @ (points * (transforms.inputs @ values))
    np.testing.assert_allclose(result, np.correlate(np.pad(values, 1), taps), atol=1e-12)


def _network(weights: Float, shape: tuple[int, ...], **changes: Any) -> ov.Model:
    given = {"strides": [1, 1, 1], "pads_begin": [1, 1, 1], "pads_end": [1, 1, 1], "dilations": [1, 1, 1]}
    image = op.parameter([1, weights.shape[1], *shape], np.float32, name="image")
    return ov.Model([op.convolution(image, op.constant(weights), **(given | changes))], [image])


def _run(network: ov.Model, image: Float) -> Float:
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: Float = compiled(image)[0]
    return result


@pytest.mark.parametrize(
    ("co", "ci", "shape", "axes"),
    [
        (64, 64, (28, 80, 24), 1),
        (64, 128, (16, 72, 18), 1),
        (128, 128, (14, 40, 12), 2),
        (128, 128, (11, 19, 23), 2),
        (256, 128, (7, 21, 22), 2),
    ],
)
def test_a_rewritten_convolution_is_as_exact_as_float32(
    co: int, ci: int, shape: tuple[int, int, int], axes: int
) -> None:
    generator = np.random.default_rng(co + ci)
    weights = (generator.standard_normal((co, ci, 3, 3, 3)) / np.sqrt(27 * ci)).astype(np.float32)
    image = generator.standard_normal((1, ci, *shape)).astype(np.float32)
    network = _network(weights, shape)
    assert axes_worth(co, ci, shape) == axes
    assert winograd.rewrite(network) == 1

    result = _run(network, image)

    exact = torch.nn.functional.conv3d(
        torch.from_numpy(image).double(), torch.from_numpy(weights).double(), padding=1
    )
    error = result - exact.numpy()
    # Outputs have a deviation of one; a plain float32 sum of as many terms errs by 2e-7 to 1e-6.
    assert np.sqrt(np.mean(error**2)) < 5e-6 * axes
    assert np.abs(error).max() < 1e-4 * axes


@pytest.mark.parametrize(
    ("kernel", "changes"),
    [
        ((3, 3, 3), {"strides": [1, 2, 2]}),
        ((3, 3, 3), {"pads_begin": [0, 1, 1], "pads_end": [0, 1, 1]}),
        ((3, 3, 3), {"dilations": [2, 1, 1], "pads_begin": [2, 1, 1], "pads_end": [2, 1, 1]}),
        ((1, 3, 3), {"pads_begin": [0, 1, 1], "pads_end": [0, 1, 1]}),
    ],
)
def test_other_convolutions_stay_as_they_are(kernel: tuple[int, ...], changes: dict[str, Any]) -> None:
    assert winograd.rewrite(_network(np.ones((64, 64, *kernel), np.float32), (16, 24, 24), **changes)) == 0


@pytest.mark.parametrize(
    ("co", "ci", "shape"), [(32, 32, (64, 64, 64)), (64, 1, (64, 64, 64)), (320, 320, (7, 5, 6))]
)
def test_few_channels_and_few_voxels_do_not_pay(co: int, ci: int, shape: tuple[int, int, int]) -> None:
    assert axes_worth(co, ci, shape) == 0


def _model_file(weights: Float, shape: tuple[int, ...]) -> bytes:
    """The same convolution, as the bytes of an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, *shape])

    node = helper.make_node("Conv", ["image", "w"], ["logits"], kernel_shape=[3, 3, 3], pads=[1] * 6)
    co, ci = weights.shape[:2]
    graph = helper.make_graph(
        [node], "one", [value("image", ci)], [value("logits", co)], [numpy_helper.from_array(weights, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("innermost", [True, False])
def test_a_session_rewrites_only_where_the_compiler_keeps_channels_innermost(
    innermost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3, 3)).astype(np.float32)
    image = np.random.default_rng(1).standard_normal((1, 64, 8, 40, 12)).astype(np.float32)
    monkeypatch.setattr(winograd, "channels_innermost", lambda compiled: innermost)

    with openvino.open_session(_model_file(weights, image.shape[2:]), "fp32") as session:
        result = session.run(image)

    plain = _run(_network(weights, image.shape[2:]), image)
    assert np.array_equal(result, plain) is not innermost
    np.testing.assert_allclose(result, plain, atol=1e-4 * plain.std())


def test_where_the_compiler_keeps_channels_innermost_the_way_into_the_next_layer_is_free() -> None:
    """Between convolutions nothing is transposed; the last transposition is to the order of the network's output."""
    weights = op.constant(np.ones((64, 64, 3, 3, 3), np.float32))
    settings = ([1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1])
    image = op.parameter([1, 64, 8, 40, 12], np.float32, name="image")
    network = ov.Model(
        [op.convolution(op.convolution(op.relu(image), weights, *settings), weights, *settings)], [image]
    )
    assert winograd.rewrite(network) == 2

    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    if not winograd.channels_innermost(compiled):
        pytest.skip("NOT TESTED: this processor's convolutions do not keep channels innermost")
    layers = [operation.get_rt_info()["layerType"] for operation in compiled.get_runtime_model().get_ops()]
    assert sum(layer == "Transpose" for layer in layers) <= 2  # from and to the image's order
