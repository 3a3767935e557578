"""A network that would bring in code or data from elsewhere is refused before any library sees it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scanside.runtime.backends import table
from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.errors import BackendError
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import model

pytestmark = pytest.mark.requirement("no-code-in-models")


def graph(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    return helper.make_graph(list(nodes), "g", [value], [result], list(weights))


def context() -> onnx.NodeProto:
    return helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context=b"\x7fELF", embed_mode=1
    )


def external() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def inside_a_branch(node: onnx.NodeProto) -> onnx.NodeProto:
    branch = helper.make_graph(
        [node], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    )
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def in_a_function(node: onnx.NodeProto) -> onnx.ModelProto:
    whole = helper.make_model(graph(helper.make_node("F", ["x"], ["y"], domain="own")))
    opset = [helper.make_opsetid("", 20)]
    whole.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], opset))
    return whole


ADD = helper.make_node("Add", ["x", "w"], ["y"])
CONSTANT = helper.make_node("Constant", [], ["y"], value=external())


@pytest.mark.parametrize("name", ["3d", "2d"])
@pytest.mark.parametrize("precision", ["fp32", "mixed"])
def test_exported_networks_pass(name: str, precision: str) -> None:
    refuse_foreign(model(name, precision))


@pytest.mark.parametrize(
    "whole",
    [
        helper.make_model(graph(context())),
        helper.make_model(graph(inside_a_branch(context()))),
        in_a_function(context()),
    ],
    ids=["graph", "branch", "function"],
)
def test_a_compiled_engine_is_refused_wherever_it_hides(whole: onnx.ModelProto) -> None:
    with pytest.raises(BackendError) as caught:
        refuse_foreign(whole.SerializeToString())
    assert_one_sentence(str(caught.value), "EPContext", "native code")


@pytest.mark.parametrize(
    "whole",
    [
        helper.make_model(graph(ADD, weights=(external(),))),
        helper.make_model(graph(CONSTANT)),
        helper.make_model(graph(inside_a_branch(CONSTANT))),
        in_a_function(CONSTANT),
    ],
    ids=["initializer", "attribute", "branch", "function"],
)
def test_external_data_is_refused_wherever_it_hides(whole: onnx.ModelProto) -> None:
    with pytest.raises(BackendError) as caught:
        refuse_foreign(whole.SerializeToString())
    assert_one_sentence(str(caught.value), "external data")


def test_the_location_alone_is_enough() -> None:
    tensor = external()
    del tensor.external_data[:]
    with pytest.raises(BackendError, match="external data"):
        refuse_foreign(helper.make_model(graph(ADD, weights=(tensor,))).SerializeToString())


def test_weights_that_spell_epcontext_are_weights() -> None:
    weights = numpy_helper.from_array(np.frombuffer(b"\x22\x09EPContext" * 4, np.uint8), "w")
    refuse_foreign(helper.make_model(graph(ADD, weights=(weights,))).SerializeToString())


def test_every_truncation_is_refused_or_harmless() -> None:
    whole = helper.make_model(graph(context())).SerializeToString()
    for size in range(len(whole)):
        with pytest.raises(BackendError):
            refuse_foreign(whole[:size])


def test_a_deep_nest_is_refused() -> None:
    message = b""
    for _ in range(5000):  # attribute.g → graph.node → node.attribute, without end
        for tag in (b"\x2a", b"\x0a", b"\x32"):
            size, digits = len(message), b""
            while size > 127:
                digits, size = digits + bytes([size & 127 | 128]), size >> 7
            message = tag + digits + bytes([size]) + message
    with pytest.raises(BackendError, match="damaged"):
        refuse_foreign(b"\x3a" + message)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_every_device_refuses_it(device: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="EPContext"):
        table.open_session(device, helper.make_model(graph(context())).SerializeToString(), "fp32")
