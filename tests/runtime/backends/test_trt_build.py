"""Plans of the real library, built for GPUs that are not here. Whether they run well only a GPU can tell."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scanside.runtime.backends import trt_build
from scanside.runtime.errors import BackendError
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import model

pytestmark = pytest.mark.skipif(
    not trt_build.installed("tensorrt-rtx"),
    reason="tensorrt-rtx is not installed: pip install 'scanside[rtx]'",
)


@pytest.mark.parametrize("capability", ["8.6", "8.9", "12.0"])
@pytest.mark.parametrize(
    ("name", "precision"), [("3d", "fp32"), ("3d", "mixed"), ("2d", "fp32"), ("2d", "mixed")]
)
def test_networks_build_for_every_target(name: str, precision: str, capability: str) -> None:
    plan = trt_build.build(model(name, precision), "tensorrt-rtx", batch=4, capability=capability)
    assert len(plan) > 100_000


def test_the_same_network_gives_the_same_plan_and_another_target_another() -> None:
    network = model("3d", "fp32")
    first = trt_build.build(network, "tensorrt-rtx", capability="8.9")
    assert trt_build.build(network, "tensorrt-rtx", capability="8.9") == first
    assert trt_build.build(network, "tensorrt-rtx", capability="12.0") != first
    assert trt_build.build(network, "tensorrt-rtx", batch=2, capability="8.9") != first


def test_mixed_precision_is_in_the_plan() -> None:
    sizes = [
        len(trt_build.build(model("3d", p), "tensorrt-rtx", capability="8.9")) for p in ("mixed", "fp32")
    ]
    assert sizes[0] < sizes[1]  # float16 weights


def test_progress_rises_to_the_end() -> None:
    told: list[float] = []
    trt_build.build(model("3d", "fp32"), "tensorrt-rtx", capability="8.9", progress=told.append)
    assert len(told) > 5 and told == sorted(told)
    assert told[0] < 0.2 and told[-1] == 1 and all(0 <= part <= 1 for part in told)


def test_jetson_is_no_target_of_rtx() -> None:
    assert {"8.6", "8.9", "12.0"} <= set(trt_build.capabilities("tensorrt-rtx"))
    with pytest.raises(BackendError) as caught:
        trt_build.build(model("3d", "fp32"), "tensorrt-rtx", capability="8.7")
    assert_one_sentence(str(caught.value), "8.7", "8.9")


@pytest.mark.parametrize("damage", [b"", b"garbage" * 50, "half"])
def test_a_damaged_network_is_refused(damage: bytes | str) -> None:
    whole = model("3d", "fp32")
    with pytest.raises(BackendError) as caught:
        trt_build.build(whole[: len(whole) // 2] if damage == "half" else bytes(damage), "tensorrt-rtx")  # type: ignore[arg-type]
    assert_one_sentence(str(caught.value), "re-export")


def test_a_free_spatial_axis_is_refused() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "z", 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "z", 4, 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(whole)
    with pytest.raises(BackendError, match="no fixed shape"):
        trt_build.build(whole.SerializeToString(), "tensorrt-rtx", capability="8.9")


def test_a_plan_holds_no_float16_overflow_of_its_own_making() -> None:
    """A weight that float16 cannot hold survives in an fp32 network: nothing is narrowed in silence."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1, 1], np.array([1e6], np.float32))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 4, 4, 4])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g", [value], [result], [weights]
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    plan = trt_build.build(whole.SerializeToString(), "tensorrt-rtx", capability="8.9")
    assert np.float32(1e6).tobytes() in plan


def test_a_flavour_that_is_not_installed() -> None:
    if trt_build.installed("tensorrt"):
        pytest.skip("tensorrt is installed here")
    with pytest.raises(BackendError) as caught:
        trt_build.build(b"", "tensorrt")
    assert_one_sentence(str(caught.value), "tensorrt", "doctor")
