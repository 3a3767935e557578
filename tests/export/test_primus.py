"""What Primus, nnU-Net's transformer, is refused; its labels beside nnU-Net's are in test_matrix.py."""

from pathlib import Path

import pytest

from scanside.runtime.cli.main import run
from tests.support.kinds import SMALL, primus_importable, write_primus
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
