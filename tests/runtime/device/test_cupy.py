"""The real CuPy, which imports without a GPU: its names, beside what our code calls and what stands in for it."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_cuda import HERE
from tests.support.strict_arrays import STATED
from tests.support.wheels import unpacked

VERSION = "14.2.0"
TELL = """
import cupy, inspect, json
def told(owner):
    found = {name: getattr(owner, name, None) for name in dir(owner) if not name.startswith("__")}
    return {name: getattr(member, "__doc__", None) or "" for name, member in found.items()}
print(json.dumps({
    "version": cupy.__version__, "cupy": told(cupy), "ndarray": told(cupy.ndarray), "cuda": told(cupy.cuda),
    "MemoryPool": told(cupy.cuda.MemoryPool), "Stream": told(cupy.cuda.Stream),
    "MemoryPointer": told(cupy.cuda.MemoryPointer),
    "runtime": told(cupy.cuda.runtime), "dunders": dir(cupy.ndarray),
    "no memory": [kind.__name__ for kind in cupy.cuda.memory.OutOfMemoryError.__mro__],
    "failure": [kind.__name__ for kind in cupy.cuda.runtime.CUDARuntimeError.__mro__],
    "arguments": {name: list(inspect.signature(getattr(cupy, name)).parameters)
                  for name in ("empty", "zeros", "ascontiguousarray", "moveaxis", "where", "stack", "take")},
}))
"""


@pytest.fixture(scope="module")
def real() -> dict[str, dict[str, str]]:
    pytest.importorskip("cuda.pathfinder", reason="cuda-pathfinder, which CuPy needs, is not installed")
    folder = unpacked("cupy-cuda13x", VERSION, "cupy")
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    document: dict[str, dict[str, str]] = json.loads(done.stdout)
    return document


def test_what_the_code_of_the_device_takes_is_there(real: dict[str, dict[str, str]]) -> None:
    """The functions that `device/arrays.py` states, arrays' own, and the attributes that numpy's have as well."""
    functions = STATED & set(real["cupy"])
    assert STATED - functions <= {
        "reshape",
        "astype",
        "min",
        "max",
        "sum",
        "mean",
        "any",
    }  # which are arrays' own
    assert STATED - functions <= set(real["ndarray"])
    assert {"__cuda_array_interface__", "__matmul__", "__iter__"} <= set(real["dunders"])
    for call, wanted in (("min", "keepdims"), ("mean", "dtype"), ("sum", "dtype")):
        assert wanted in real["ndarray"][call].split("\n")[0]


def test_what_the_memory_of_the_process_is_made_of_is_there(real: dict[str, dict[str, str]]) -> None:
    """Every name of `device/gpu_arrays.py`, which no test can run on the real one."""
    source = (HERE.parents[2] / "runtime/scanside/runtime/device/gpu_arrays.py").read_text()
    called = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert {name for name in called if name.endswith(("_bytes", "_limit"))} <= set(real["MemoryPool"])
    assert {"malloc", "free_all_blocks", "set_limit", "used_bytes", "free_bytes"} <= set(real["MemoryPool"])
    assert "size" in real["MemoryPool"]["set_limit"].split("\n")[0]
    assert {"MemoryPool", "Stream", "using_allocator", "runtime"} <= set(real["cuda"])
    assert {"synchronize"} <= set(real["Stream"]) and "ptr" in real["MemoryPointer"]
    assert "memGetInfo" in real["runtime"]
    assert "MemoryError" in real["no memory"] and "RuntimeError" in real["failure"]
    assert {"asarray", "get"} <= set(real["cupy"]) | set(real["ndarray"])


def test_the_stand_in_has_no_name_and_no_argument_of_its_own(real: dict[str, dict[str, str]]) -> None:
    for file, owner in (("__init__", "cupy"), ("_pool", "MemoryPool"), ("_arrays", "ndarray")):
        tree = ast.parse((HERE / "packages" / "cupy" / f"{file}.py").read_text())
        inside = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        body = tree.body if owner == "cupy" else inside[owner].body
        for node in body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            assert node.name in {**real[owner], **real["cuda"]}, f"CuPy has no {owner}.{node.name}"
            if node.name in real["arguments"]:
                theirs = list(real["arguments"][node.name])
                assert [argument.arg for argument in node.args.args] == theirs[: len(node.args.args)]


def test_the_version_is_one_that_the_extras_ask_for(real: dict[str, dict[str, str]]) -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    lowest = re.findall(r"cupy-cuda13x(?:\[ctk\])?>=(\d+)", text)
    assert lowest and all(VERSION.split(".")[0] == major for major in lowest)
