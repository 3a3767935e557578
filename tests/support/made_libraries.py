"""Shared libraries that are compiled by a test, to stand where a machine has NVIDIA's."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

DRIVER = """
#ifndef INIT
#define INIT 0
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef VERSION
#define VERSION 13010
#endif
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA GeForce RTX 4090", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 25757220864ULL; return 0; }
int cuDeviceGetAttribute(int *value, int what, int device) { *value = what == 75 ? 8 : what == 76 ? 9 : -1; return 0; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
"""
"""The driver, libcuda.so.1, of an RTX 4090 whose newest CUDA is VERSION."""


def compiled(library: Path, source: str, *flags: str, needs: Sequence[Path] = ()) -> Path:
    """A shared library of a C source, whose name inside is its file's; skips the test where there is no compiler.

    Args:
        needs: Libraries that it needs, by their names alone.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    library.parent.mkdir(parents=True, exist_ok=True)
    code = library.with_name(f"{library.name}.c")
    code.write_text(source)
    name = f"-Wl,-soname,{library.name},--no-as-needed"
    command = [compiler, "-shared", "-fPIC", *flags, name, "-o", library, code, *needs]
    subprocess.run([str(word) for word in command], check=True)
    return library
