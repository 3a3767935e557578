"""What is particular to Primus, nnU-Net's transformer; its labels beside nnU-Net's are in test_matrix.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scanside.runtime.backends.table import open_session
from scanside.runtime.cli.main import run
from tests.support.kinds import PRIMUS_PATCH, SMALL, primus_importable, write_primus
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth
from tests.support.sentences import assert_one_sentence


def test_lower_precisions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before anything is computed, and with the way out."""
    primus_importable(tmp_path, monkeypatch)
    folder = write_primus(tmp_path, SMALL)
    assert run(["export", "nnunet", str(folder), "-o", str(tmp_path / "bundle")]) == 5
    error = capfd.readouterr().err.strip()
    assert "add --precision fp32" in error and not (tmp_path / "bundle").exists()
    assert_one_sentence(error)


@pytest.mark.parametrize("width", [792, pytest.param(864, marks=pytest.mark.slow)], ids=["B", "M"])
def test_twelve_heads(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer of Primus-B and M. OpenVINO's logits were 1 % off before the batch was left open."""
    primus_importable(tmp_path, monkeypatch)
    from dynamic_network_architectures.architectures.primus import Primus

    torch.manual_seed(1)
    network = Primus(
        1, width, (8, 8, 8), 3, 1, 12, PRIMUS_PATCH, scale_attn_inner=True, init_values=0.1
    ).eval()
    tiles = np.stack([smooth((1, *PRIMUS_PATCH), seed).astype(np.float32) for seed in range(2)])
    with torch.no_grad():
        expected = network(torch.from_numpy(tiles)).numpy()
        model = to_onnx(network, 1, PRIMUS_PATCH).SerializeToString()
    for device in ("cpu", "openvino"):
        with open_session(device, model, "fp32") as session:
            assert session.spec.input_shape == (1, *PRIMUS_PATCH) and session.spec.heads == 3
            np.testing.assert_allclose(session.run(tiles), expected, atol=1e-4 * expected.std())
