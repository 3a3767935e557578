"""Wheels that no environment of ours installs, unpacked outside the repository: what they hold is looked at, or run.

CI downloads them; a developer's machine uses them where they have been, and skips, saying how to get them, elsewhere.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest


def unpacked(package: str, version: str, holds: str, given: str | None = None) -> Path:
    """The folder to put on PYTHONPATH; skips the test where there is none.

    Args:
        holds: A folder in it.
        given: Another folder that a person named.
    """
    name = f"{package}-{version}-{sys.implementation.cache_tag}"
    folder = Path(given) if given else Path.home() / ".cache" / "scanside-tests" / name
    if (folder / holds).is_dir():
        return folder
    asked = f"{package}=={version}"
    if os.environ.get("CI_REQUIRE_PEERS") != "1":
        pytest.skip(f"{package} {version} is not in {folder}: pip download --no-deps {asked}, unzip it there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            temporary,
            asked,
        ]
        subprocess.run(command, check=True)
        unpacking = Path(temporary) / name
        with zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
            wheel.extractall(unpacking)
        if not folder.exists():  # another worker may have been quicker
            shutil.move(unpacking, folder)
    return folder
