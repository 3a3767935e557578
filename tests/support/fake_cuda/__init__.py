"""A CUDA of host memory, with which the real CUDA provider of onnxruntime-gpu runs where there is no GPU.

It loads, places every node, plans and allocates its memory and copies; no kernel computes anything. So results mean
nothing, and this shows placement, memory, copies and what every failing call leads to. Functions without a behaviour of
their own are written here, from the names that the provider's library asks for.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_libraries import DRIVER, compiled

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
_DEFINED = re.compile(r"\b((?:__)?cu\w+)\(", re.MULTILINE)
_CREATING = re.compile("^(cudnn|cublas|cublasLt|curand)Create")
_BLAS_MODE = "int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }"
_BLAS_NAME = 'const char *cublasGetStatus{}(int status) {{ return "CUBLAS_STATUS_MADE_UP"; }}'


def build(folder: Path, onnxruntime: Path) -> Path:
    """Compile the libraries that the provider below `onnxruntime` needs; the folder for LD_LIBRARY_PATH."""
    provider = onnxruntime / "onnxruntime/capi/libonnxruntime_providers_cuda.so"
    wanted = dict(_undefined(provider))
    for name in set(re.findall(rb"\x00(cudnn[A-Z]\w+)(?=\x00)", provider.read_bytes())):
        wanted[name.decode()] = "libcudnn.so.9"
    runtime = _library(folder / "libcudart.so.13", (HERE / "runtime.c").read_text(), wanted)
    driver = DRIVER + "int fake_call(const char *name);"
    _library(folder / "libcuda.so.1", driver, wanted, runtime)
    _library(folder / "libcudnn.so.9", (HERE / "cudnn.c").read_text(), wanted, runtime)
    blas = "\n".join(
        ["int fake_call(const char *name);", _BLAS_MODE, *map(_BLAS_NAME.format, ("Name", "String"))]
    )
    _library(folder / "libcublas.so.13", blas, wanted, runtime)
    _library(folder / "libcublasLt.so.13", "int fake_call(const char *name);", wanted, runtime)
    _library(folder / "libcurand.so.10", "int fake_call(const char *name);", wanted, runtime)
    return folder


def _undefined(provider: Path) -> list[tuple[str, str]]:
    """Names of CUDA that a library asks for, and the library that it asks for each."""
    try:
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", provider], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("there is no nm here: binutils is not installed")
    found = re.findall(r" U ((?:__)?cu\w+)(?:@(\S+))?", listed.stdout)
    return [(name, library or "libcuda.so.1") for name, library in found]


def _library(path: Path, source: str, wanted: dict[str, str], *needs: Path) -> Path:
    """One library: the source, and a function for every other name that is wanted of it."""
    own = set(_DEFINED.findall(source))
    names = sorted(name for name, library in wanted.items() if library == path.name and name not in own)
    lines = []
    for name in names:
        taken, made = ("void **made", "*made = (void *)0x5000; ") if _CREATING.match(name) else ("void", "")
        lines.append(f'int {name}({taken}) {{ {made}return fake_call("{name}"); }}')
    script = path.with_name(f"{path.name}.map")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"{path.name} {{ global: *; }};\n")
    flags = ("-w", "-O1", f"-Wl,--version-script,{script}", "-Wl,-rpath,$ORIGIN")
    return compiled(path, "\n".join([source, *lines]), *flags, needs=needs)


def run(card: Path, onnxruntime: Path, *words: object, **given: str) -> subprocess.CompletedProcess[str]:
    """`case.py` in an environment with the card: the folder that `build` filled."""
    path = os.pathsep.join(map(str, (onnxruntime, HERE / "packages", ROOT)))
    set_up = {
        "PYTHONPATH": path,
        "LD_LIBRARY_PATH": str(card),
        "XDG_CACHE_HOME": str(card / "cache"),
        **given,
    }
    command = [sys.executable, HERE / "case.py", *words]
    return subprocess.run(
        list(map(str, command)), env={**os.environ, **set_up}, capture_output=True, text=True, check=False
    )


def answer(card: Path, onnxruntime: Path, *words: object, memory: int | None = None) -> dict[str, Any]:
    """What `case.py` tells, of a card of so many bytes where nothing is computed."""
    given = {} if memory is None else {"FAKE_GPU_BYTES": str(memory)}
    done = run(card, onnxruntime, *words, FAKE_CUPY_STILL="1", **given)
    assert done.returncode == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document
