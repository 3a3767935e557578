"""The real onnxruntime-gpu: its CUDA provider loads, or says why not, without a GPU.

It must never be installed beside `onnxruntime`, whose files it overwrites. 256 MB.
"""

import os
from pathlib import Path

from tests.support.wheels import unpacked

VERSION = "1.31.1"


def onnxruntime_gpu() -> Path:
    """The folder to put on PYTHONPATH; SCANSIDE_TEST_ONNXRUNTIME_GPU names another."""
    given = os.environ.get("SCANSIDE_TEST_ONNXRUNTIME_GPU")
    return unpacked("onnxruntime-gpu", VERSION, "onnxruntime", given)
