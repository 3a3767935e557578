"""The real onnxruntime-gpu, unpacked outside the repository: its CUDA provider loads, or says why not, without a GPU.

It must never be installed beside `onnxruntime`, whose files it overwrites. 256 MB: CI downloads it, a developer's
machine uses it where it has been, or where SCANSIDE_TEST_ONNXRUNTIME_GPU names a folder with it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

VERSION = "1.31.1"


def onnxruntime_gpu() -> Path:
    """The folder to put on PYTHONPATH; skips the test, saying so, where there is none."""
    given = os.environ.get("SCANSIDE_TEST_ONNXRUNTIME_GPU")
    name = f"onnxruntime-gpu-{VERSION}-{sys.implementation.cache_tag}"
    folder = Path(given) if given else Path.home() / ".cache" / "scanside-tests" / name
    if (folder / "onnxruntime").is_dir():
        return folder
    if os.environ.get("CI_REQUIRE_PEERS") != "1":
        pytest.skip(
            f"onnxruntime-gpu {VERSION} is not in {folder}: "
            f"pip download --no-deps onnxruntime-gpu=={VERSION}, and unzip it there"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary,
             f"onnxruntime-gpu=={VERSION}"],
            check=True,
        )  # fmt: skip
        unpacked = Path(temporary) / name
        with zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
            wheel.extractall(unpacked)
        if not folder.exists():  # another worker may have been quicker
            shutil.move(unpacked, folder)
    return folder
