"""A clean Python interpreter with this one's import path."""

import subprocess
import sys


def python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run `code`; its output, after success."""
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
