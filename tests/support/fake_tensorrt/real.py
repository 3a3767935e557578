"""NVIDIA's own Python bindings of TensorRT, from PyPI, on libraries that are compiled here and do nothing.

They import with them, so that names and arguments can be read. 1.2 MB each.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.made_libraries import compiled
from tests.support.wheels import unpacked

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
    return unpacked(f"tensorrt-{PACKAGES[version]}-bindings", version, "tensorrt_bindings")


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
