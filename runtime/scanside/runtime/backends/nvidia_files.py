"""The files of NVIDIA's CUDA and cuDNN wheels: found on all of Python's path, loaded, and named where one is missing.

ONNX Runtime looks for them beside its own folder alone, so that those in another one (`pip install --target`, a
virtual environment over the system's packages, PYTHONPATH) are not found, and prints on stdout what it lacks. What lies
on LD_LIBRARY_PATH or among the system's libraries the loader of the operating system finds by itself.
"""

import ctypes
import importlib.util
import re
from pathlib import Path

from scanside.runtime.extras import package_command

CUDNN = "libcudnn.so.9"
_OF_CUDA = ("libcudart.so.{}", "libnvrtc.so.{}", "libcublasLt.so.{}", "libcublas.so.{}")
_OF_THEIR_OWN = ("libcurand.so.10", "libcufft.so.1[12]", "libcudnn*.so.9")
_PACKAGES = {
    "libcublas": "cublas",
    "libcudnn": "cudnn",
    "libcurand": "curand",
    "libcufft": "cufft",
    "libcudart": "cuda-runtime",
    "libnvrtc": "cuda-nvrtc",
}
"""How a file's name begins → its package. From CUDA 13 on only that of cuDNN has the CUDA version in its name."""
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


def folders() -> list[Path]:
    """Folders of libraries of all of NVIDIA's wheels on Python's path."""
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    return [folder for root in roots for folder in sorted(Path(root).glob("*/lib"))]


def load(major: int) -> None:
    """Load the libraries of a CUDA version from the wheels; what loads needs them then finds them.

    One that does not load is left to whoever needs it: its error names the file that is missing.
    """
    patterns = [*(name.format(major) for name in _OF_CUDA), *_OF_THEIR_OWN]
    waiting = [path for pattern in patterns for folder in folders() for path in sorted(folder.glob(pattern))]
    while waiting:  # they need one another
        left = [path for path in waiting if not _loads(path)]
        if len(left) == len(waiting):
            return
        waiting = left


def missing_in(text: str) -> str | None:
    """The file that an error of the operating system's loader says is missing, or None."""
    found = _MISSING.search(text)
    return found.group(1) if found else None


def command_for(file: str, major: int, beside: str) -> str:
    """The command that brings a file of CUDA or cuDNN.

    Args:
        file: Such as `libcublasLt.so.13`.
        major: CUDA version of the package that needs it.
        beside: That package.
    """
    name = next((package for start, package in _PACKAGES.items() if file.startswith(start)), None)
    if name is None:
        return f"install the package that holds {file} (`apt-file search {file}`)"
    old = major < 13 or name == "cudnn"
    return package_command(f"nvidia-{name}{f'-cu{major}' if old else ''}", beside=beside)


def _loads(path: Path) -> bool:
    try:
        ctypes.CDLL(str(path))
    except OSError:
        return False
    return True
