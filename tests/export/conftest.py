from typing import Any

import pytest

from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
from tests.support.shared_data import shared_models


@pytest.fixture(scope="session")
def hippocampus() -> Any:
    """The results folder of a real model."""
    return shared_models("hippocampus", "nnUNetTrainer__nnUNetPlans__3d_fullres")
