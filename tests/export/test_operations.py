"""Networks of operations that no test stands for are refused, and leave nothing behind."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from scanside.export import nnunet
from scanside.export.onnx_graph import check_operations, to_onnx
from scanside.runtime.errors import InputError
from tests.export.refusing import refused


class Attentive(nn.Module):
    """What a transformer such as Primus brings."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.embed = nn.Conv3d(1, 8, 4, stride=4)
        self.head = nn.ConvTranspose3d(8, 3, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x)
        flat = tokens.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(flat, flat, flat, need_weights=False)
        output: torch.Tensor = self.head(mixed.transpose(1, 2).reshape(tokens.shape))
        return output


class TwoOutputs(nn.Module):
    """Deep supervision left on."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x * 3


class TrainingNorm(nn.Module):
    """Batch statistics at inference: `track_running_stats` off, or a module left in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(1, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.norm(x)
        return output


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Attentive(), ("MatMul", "Softmax")),
        (TwoOutputs(), ("2 outputs",)),
        (TrainingNorm(), ("does not support",)),
    ],
    ids=["transformer", "two outputs", "batch statistics"],
)
def test_operations_without_a_test_of_their_own(network: nn.Module, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        to_onnx(network, 1, (8, 8, 8))
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_batch_normalisation_in_training_mode() -> None:
    model = to_onnx(nn.Sequential(nn.BatchNorm3d(1), nn.ReLU()).eval(), 1, (8, 8, 8))
    [norm] = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    check_operations(model)
    norm.attribute.append(onnx.helper.make_attribute("training_mode", 1))
    with pytest.raises(InputError, match="training mode"):
        check_operations(model)


def test_an_unsupported_network_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are known only after the export, when a temporary folder exists."""
    monkeypatch.setattr(nnunet, "to_onnx", lambda *_: to_onnx(Attentive(), 1, (8, 8, 8)))
    refused(folder, "does not support")
    assert not list((folder.parents[1] / "out").iterdir())
