"""The exported graph: known operations, fixed patch, free batch, one file, nothing of the exporting machine."""

import getpass
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

import scanside.export
from scanside.export import onnx_graph
from scanside.export.onnx_graph import ALLOWED, INPUT, OPSET, OUTPUT, check_operations, with_weights
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth
from tests.support.tiny_models import OLD_TRAINER, Tiny, make_network

NETWORKS = {
    "plain": Tiny(),
    "residual": Tiny(architecture="residual"),
    "2d": Tiny(patch=(32, 24), spacing=(1.0, 1.0)),
    "batch normalisation": Tiny(trainer="nnUNetTrainerBN"),
    "relu": Tiny(trainer=OLD_TRAINER),
}


@cache
def exported(name: str) -> onnx.ModelProto:
    return to_onnx(make_network(NETWORKS[name], 2), 2, NETWORKS[name].patch)


@pytest.mark.parametrize("name", NETWORKS)
def test_operations(name: str) -> None:
    counts = check_operations(exported(name))
    assert set(counts) <= ALLOWED
    assert counts["Conv"] >= 3 and counts["ConvTranspose"] == 1 and counts["Concat"] == 1
    # Batch normalisation may be folded into the convolution before it, instance normalisation never.
    assert ("InstanceNormalization" in counts) is (name != "batch normalisation")
    assert not any(node.domain for node in exported(name).graph.node), "only operations of the ONNX standard"


@pytest.mark.parametrize("name", NETWORKS)
def test_fixed_patch_and_free_batch(name: str) -> None:
    model, tiny = exported(name), NETWORKS[name]
    assert [(i.domain, i.version) for i in model.opset_import] == [("", OPSET)]
    [given], [output] = model.graph.input, model.graph.output
    assert (given.name, output.name) == (INPUT, OUTPUT)
    for value, channels in ((given, 2), (output, tiny.heads)):
        batch, *rest = value.type.tensor_type.shape.dim
        assert batch.dim_param and not batch.HasField("dim_value")
        assert tuple(size.dim_value for size in rest) == (channels, *tiny.patch)
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_the_network_computes(name: str, count: int) -> None:
    network, tiny = make_network(NETWORKS[name], 2), NETWORKS[name]
    tiles = np.stack([smooth((2, *tiny.patch), seed) for seed in range(count)])
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles)).numpy()
    session = ort.InferenceSession(exported(name).SerializeToString(), providers=["CPUExecutionProvider"])
    [output] = session.run([OUTPUT], {INPUT: tiles})
    np.testing.assert_allclose(output, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_one_file_with_the_weights_in_it(name: str) -> None:
    for tensor in exported(name).graph.initializer:
        assert tensor.data_location == TensorProto.DEFAULT and not tensor.external_data


def test_weights_are_not_stored_twice() -> None:
    """The state dict names every weight several times; the graph must not."""
    network = make_network(NETWORKS["plain"], 2)
    stored = sum(int(np.prod(tensor.dims)) for tensor in exported("plain").graph.initializer)
    assert stored <= sum(p.numel() for p in network.parameters()) + 64


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_of_this_machine(name: str) -> None:
    content = exported(name).SerializeToString()
    places = {
        sys.prefix, sys.base_prefix, str(Path.cwd()), str(Path.home()), str(Path(scanside.export.__file__).parents[3]),
        "site-packages", "dynamic_network_architectures", "Traceback", "pkg.torch",
    }  # fmt: skip
    for place in places - {"/"}:
        assert place.encode() not in content, place
    assert not re.search(rb"/[A-Za-z0-9_.]+/[A-Za-z0-9_.]+/[A-Za-z0-9_./]+\.py", content)
    user = getpass.getuser()
    assert len(user) < 5 or user.encode() not in content


def test_exporting_twice_gives_the_same_bytes() -> None:
    name = "batch normalisation"
    again = onnx_graph.to_onnx(make_network(NETWORKS[name], 2), 2, NETWORKS[name].patch)
    assert again.SerializeToString() == exported(name).SerializeToString()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "batch normalisation"])
def test_other_weights_in_a_graph_are_the_graph_of_the_other_network(name: str) -> None:
    """To the byte what an export of the other one gives."""
    before, network = make_network(NETWORKS[name], 2).state_dict(), make_network(NETWORKS[name], 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    made = with_weights(exported(name), before, network.state_dict())
    assert made is not None and made.SerializeToString() != exported(name).SerializeToString()
    again = onnx_graph.to_onnx(network, 2, NETWORKS[name].patch)
    assert again.SerializeToString() == made.SerializeToString()


def test_weights_alone_do_not_make_a_graph_that_lacks_something() -> None:
    """Batch normalisation was folded into the convolution; a bias of zeros was left out."""
    for name in ("batch normalisation", "plain"):
        network = make_network(NETWORKS[name], 2)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1)
        assert with_weights(exported(name), before, network.state_dict()) is None
        assert (with_weights(exported(name), before, before) is None) is (name == "batch normalisation")
