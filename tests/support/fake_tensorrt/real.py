"""NVIDIA's own Python bindings of TensorRT, from PyPI, on libraries that are compiled here and do nothing.

They import with them, so that names and arguments can be read. 1.2 MB each; CI downloads them, a developer's machine
uses them where they have been.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.support.made_libraries import compiled

PACKAGES = {"10.3.0": "cu12", "10.16.1.11": "cu13", "11.4.0.106": "cu13"}
"""Version → CUDA in the name of its wheel."""
_CALLS = (
    *(f"create{name}_INTERNAL" for name in ("InferBuilder", "InferRefitter", "InferRuntime", "NvOnnxParser")),
    *("createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry", "getNvOnnxParserVersion"),
    *("getPluginRegistry", "initLibNvInferPlugins", "getLogger", "getInferLibVersion"),
)
_TELL = """
import inspect, json, sys
library = __import__(sys.argv[1])
told = {"__version__": library.__version__}
for name, kind in vars(library).items():
    if inspect.isclass(kind):
        told[name] = {one: getattr(kind, one).__doc__ or "" for one in dir(kind) if not one.startswith("__")}
        told[name]["__init__"] = kind.__init__.__doc__ or ""
print(json.dumps(told))
"""


def bindings(version: str) -> Path:
    """The folder of a version with `tensorrt_bindings`; skips the test, saying so, where there is none."""
    package = f"tensorrt_{PACKAGES[version]}_bindings"
    folder = Path.home() / ".cache" / "scanside-tests" / f"{package}-{version}-{sys.implementation.cache_tag}"
    if (folder / "tensorrt_bindings").is_dir():
        return folder
    asked = f"{package.replace('_', '-')}=={version}"
    if os.environ.get("CI_REQUIRE_PEERS") != "1":
        pytest.skip(
            f"the bindings of TensorRT are not in {folder}: pip download --no-deps {asked}, unzip it there"
        )
    with tempfile.TemporaryDirectory() as temporary:
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
        with zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
            wheel.extractall(folder)
    return folder


def libraries(folder: Path, version: str) -> Path:
    """libnvinfer and its neighbours, whose every function gives a null pointer; a folder for LD_LIBRARY_PATH."""
    source = "\n".join(f"void *{name}(void) {{ return 0; }}" for name in _CALLS)
    for name in ("nvinfer", "nvonnxparser", "nvinfer_plugin"):
        compiled(folder / f"lib{name}.so.{version.partition('.')[0]}", source)
    return folder


def told(module: str, path: Path | None = None, libraries: Path | None = None) -> dict[str, dict[str, str]]:
    """Every class of the bindings: the names in it, and what each says of itself."""
    given = {"PYTHONPATH": str(path or ""), "LD_LIBRARY_PATH": str(libraries or "")}
    done = subprocess.run(
        [sys.executable, "-c", _TELL, module],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    document: dict[str, dict[str, str]] = json.loads(done.stdout)
    return document
