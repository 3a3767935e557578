from pathlib import Path
from typing import Any

import pytest

from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
from tests.support.shared_data import shared_models
from tests.support.tiny_models import Tiny, write_model


@pytest.fixture(scope="session")
def hippocampus() -> Any:
    """The results folder of a real model."""
    return shared_models("hippocampus", "nnUNetTrainer__nnUNetPlans__3d_fullres")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The results folder of a small model."""
    return write_model(tmp_path, Tiny())
