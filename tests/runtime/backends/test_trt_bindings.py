"""NVIDIA's own bindings of three versions of TensorRT and of TensorRT-RTX, beside the stand-in that our tests run.

Nothing of the library itself can run here: its functions give null pointers. So this shows that the names exist, that
what we give has the arguments' names, and what a machine says where the library gives nothing.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_tensorrt import VERSIONS, Library
from tests.support.fake_tensorrt.real import bindings, libraries, told
from tests.support.made_libraries import DRIVER, compiled
from tests.support.sentences import assert_one_sentence

FULL = [version for version, name in VERSIONS.items() if name == "tensorrt"]


OWN = {"compile"}
"""What the stand-in alone has."""


def compare(library: Library, real: dict[str, dict[str, str]]) -> None:
    """Every name of the stand-in exists in the library, and its methods take arguments of the same names."""
    compared = 0
    for kind, own in vars(library.module()).items():
        for name in dir(own) if inspect.isclass(own) else ():
            if name.startswith("_") or name in OWN or name in dir(IntEnum):
                continue
            member = getattr(own, name)
            assert name in real[kind], f"{library.version} has no {kind}.{name}"
            if inspect.isfunction(member) and not issubclass(own, IntEnum):
                compared += same_arguments(member, real[kind][name])
    assert compared > 20


def same_arguments(member: Any, signatures: str) -> int:
    """Those of one overload, in order; what has a default may be left out. Returns 1 where there was one to see."""
    ours = [name for name in inspect.signature(member).parameters if name != "self"]
    calls = re.findall(rf"\b{member.__name__}\((self: .*)\) ->", signatures)
    theirs = [re.findall(r"(?:^|, )(\w+): ", call)[1:] for call in calls]
    assert not theirs or any(names[: len(ours)] == ours for names in theirs), (member, theirs)
    return bool(theirs)


@pytest.mark.parametrize("version", FULL)
def test_names_and_arguments_are_those_of_the_library(version: str, tmp_path: Path) -> None:
    real = told("tensorrt_bindings", bindings(version), libraries(tmp_path, version))
    assert real["__version__"] == version  # type: ignore[comparison-overlap]
    compare(Library(version), real)


def test_names_and_arguments_are_those_of_rtx() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    compare(Library("1.7.1.116"), told("tensorrt_rtx_bindings"))


def machine(
    tmp_path: Path, *words: str, libraries: Path | None, path: Path
) -> subprocess.CompletedProcess[str]:
    """The program with the library on a machine whose driver answers as an RTX 4090 would."""
    driver = compiled(tmp_path / "driver/libcuda.so.1", DRIVER)
    (tmp_path / "tensorrt.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
    )
    found = os.pathsep.join(map(str, (driver.parent, *([libraries] if libraries else []))))
    given = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{path}", "LD_LIBRARY_PATH": found}
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )


def finding(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    document = json.loads(done.stdout)
    found = next(one for one in document["backends"] if one["name"] == "tensorrt")
    assert not found["available"]
    return found["reason"], found["fix"]


DOCTOR = ("-m", "scanside.runtime.cli.main", "doctor", "--json")


def test_a_library_without_its_files_is_named_by_doctor(tmp_path: Path) -> None:
    reason, fix = finding(machine(tmp_path, *DOCTOR, libraries=None, path=bindings(FULL[-1])))
    assert re.fullmatch(r"tensorrt does not load: libnv\w+\.so\.11 is missing", reason)
    assert "install tensorrt again" in fix and "apt-file" not in fix


BUILD = """
from scanside.runtime.backends import trt_build
for call in (lambda: trt_build.build(b"", "tensorrt"), lambda: trt_build.deserialise(b"", "tensorrt")):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error.exit_code, error)
"""


@pytest.mark.parametrize("version", FULL)
def test_a_library_that_gives_nothing_is_one_sentence(version: str, tmp_path: Path) -> None:
    """A null pointer for builder or runtime is a TypeError of the bindings, not an answer."""
    stubs = libraries(tmp_path / "stubs", version)
    done = machine(tmp_path, "-c", BUILD, libraries=stubs, path=bindings(version))
    lines = done.stdout.splitlines()
    assert [line[:14] for line in lines] == ["BackendError 4"] * 2, done.stderr
    for line in lines:
        assert_one_sentence(line[15:], "doctor")
