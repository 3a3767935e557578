import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import onnx
import pytest

import tests.support.calm  # noqa: F401
from scanside.export import nnunet
from scanside.export.onnx_graph import to_onnx
from tests.support.shared_data import shared_models


@pytest.fixture(scope="session", autouse=True)
def share_onnx_exports() -> Iterator[None]:
    """Many recipes here have one network in common; torch.onnx.export takes seconds, so each is exported once."""
    kept: dict[str, onnx.ModelProto] = {}

    def shared(network: Any, input_channels: int, patch: tuple[int, ...]) -> onnx.ModelProto:
        digest = hashlib.sha256(f"{network} {input_channels} {patch}".encode())
        for name, tensor in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in kept:
            kept[key] = to_onnx(network, input_channels, patch)
        return copy.deepcopy(kept[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnunet, "to_onnx", shared)
        yield


@pytest.fixture(scope="session")
def hippocampus() -> Any:
    """The results folder of a real model."""
    return shared_models("hippocampus", "nnUNetTrainer__nnUNetPlans__3d_fullres")
