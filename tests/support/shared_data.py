"""Real scans and models that are not part of the repository: found beside it, or named by the environment."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


def shared_data(*parts: str) -> Path:
    """A file or folder of the test data (SCANSIDE_TEST_DATA, or ../shared/data); skips when it is absent."""
    return _found("SCANSIDE_TEST_DATA", "data", parts)


def shared_models(*parts: str) -> Path:
    """A file or folder of the test models (SCANSIDE_TEST_MODELS, or ../shared/models); skips when absent."""
    return _found("SCANSIDE_TEST_MODELS", "models", parts)


def _found(variable: str, folder: str, parts: tuple[str, ...]) -> Path:
    root = Path(os.environ.get(variable) or _REPOSITORY.parent / "shared" / folder)
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"NOT TESTED: there is no {path}; set {variable} to the folder that holds it")
    return path
