"""NVIDIA's wheels in folders of Python's path, with libraries that are compiled here."""

import subprocess
import sys
from pathlib import Path

import pytest

from scanside.runtime.backends import nvidia_files
from tests.support.made_libraries import compiled

CODE = """
import ctypes, sys
sys.path[:0] = sys.argv[1:]
from scanside.runtime.backends import nvidia_files
nvidia_files.load(13)
for name in ("libcublas.so.13", "libcudnn.so.9"):
    try:
        ctypes.CDLL(name)
        print(name)
    except OSError as error:
        print(nvidia_files.missing_in(str(error)))
"""


def loaded(*folders: Path) -> list[str]:
    command = [sys.executable, "-c", CODE, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_libraries_of_several_folders_load_in_the_order_they_need(tmp_path: Path) -> None:
    """cuDNN from `pip install --target`, CUDA from the system's packages: neither is beside onnxruntime."""
    below = compiled(tmp_path / "b/nvidia/cu13/lib/libcublasLt.so.13", "int a;")
    compiled(tmp_path / "b/nvidia/cu13/lib/libcublas.so.13", "int b;", needs=[below])
    compiled(tmp_path / "a/nvidia/cudnn/lib/libcudnn.so.9", "int c;", needs=[below])
    assert loaded(tmp_path / "a", tmp_path / "b") == ["libcublas.so.13", "libcudnn.so.9"]


def test_the_file_that_lacks_is_the_one_that_is_named(tmp_path: Path) -> None:
    below = compiled(tmp_path / "elsewhere/libcublasLt.so.13", "int a;")
    compiled(tmp_path / "a/nvidia/cu13/lib/libcublas.so.13", "int b;", needs=[below])
    assert loaded(tmp_path / "a") == ["libcublas.so.13", "libcudnn.so.9"]


@pytest.mark.parametrize(
    ("file", "major", "package"),
    [
        ("libcublasLt.so.13", 13, "nvidia-cublas"),
        ("libcublasLt.so.12", 12, "nvidia-cublas-cu12"),
        ("libcudnn_graph.so.9", 13, "nvidia-cudnn-cu13"),
        ("libcudart.so.13", 13, "nvidia-cuda-runtime"),
        ("libnvrtc.so.12", 12, "nvidia-cuda-nvrtc-cu12"),
    ],
)
def test_the_command_names_the_package_of_the_file(file: str, major: int, package: str) -> None:
    assert nvidia_files.command_for(file, major, "pip").split()[-1] == package


def test_a_file_of_no_package_of_nvidia() -> None:
    assert "libfoo.so.1" in nvidia_files.command_for("libfoo.so.1", 13, "numpy")
