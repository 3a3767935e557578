"""The public server and client of Siemens' authors (MIT), and OpenRecon's schema: found in
~/.cache/scanside-tests, never in the repository.

- github.com/kspaceKelvin/python-ismrmrd-server, or where SCANSIDE_TEST_MRD_SERVER says
- github.com/neurodesk/openrecon, or where SCANSIDE_TEST_OPENRECON says

Neither is on a package registry, so that CI skips what needs them, and says so.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

_CACHE = Path.home() / ".cache" / "scanside-tests"


def reference_folder() -> Path:
    """The folder with `client.py`; skips the test, saying so, where there is none."""
    return _found("SCANSIDE_TEST_MRD_SERVER", "python-ismrmrd-server", "client.py")


def openrecon_schema() -> Path:
    """OpenRecon's schema of labels, version 1.1.0; skips the test, saying so, where there is none."""
    return _found("SCANSIDE_TEST_OPENRECON", "openrecon", "recipes/OpenReconSchema_1.1.0.json") / (
        "recipes/OpenReconSchema_1.1.0.json"
    )


def reference_server(module: str) -> ModuleType:
    """One of its modules."""
    path = reference_folder() / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"reference_{module}", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(path.parent))
    return loaded


def _found(variable: str, name: str, inside: str) -> Path:
    folder = Path(os.environ.get(variable) or _CACHE / name)
    if not (folder / inside).is_file():
        pytest.skip(f"NOT TESTED: there is no {folder / inside}; clone it there, or set {variable}")
    return folder
