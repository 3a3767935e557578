"""Putting a stand-in in the place of the installed library, as a test's fixture does."""

import sys
from functools import cache

import pytest

from scanside.runtime.backends import gpu, trt_build, trt_ready
from scanside.runtime.device import gpu_arrays
from tests.support.fake_tensorrt import Library
from tests.support.fake_tensorrt.host import HostCuda, Memory

A4000 = gpu.Gpu("NVIDIA RTX A4000", "8.6", 16 << 30, "580.65", "13.0")


class Machine:
    """A machine with an A4000 and one TensorRT."""

    def __init__(self, library: Library, patch: pytest.MonkeyPatch) -> None:
        import cuda.bindings

        self.library, self.cuda, self.memory = library, HostCuda(), Memory()
        self.device = "tensorrt-rtx" if library.rtx else "tensorrt"
        patch.setitem(sys.modules, library.name, library.module())
        patch.setattr(cuda.bindings, "runtime", self.cuda)
        patch.setitem(sys.modules, "cuda.bindings.runtime", self.cuda)  # type: ignore[arg-type]
        patch.setattr(trt_build, "installed", lambda flavour: flavour == self.device)
        patch.setattr(gpu, "find", lambda: A4000)
        patch.setattr(gpu_arrays, "gpu_arrays", lambda: self.memory)
        patch.setattr(gpu_arrays, "missing", lambda: None)
        self.restart(patch)

    def restart(self, patch: pytest.MonkeyPatch) -> None:
        """Another process: what is asked once a process is asked again."""
        for module, name in ((trt_build, "_log"), (trt_build, "_runtime"), (trt_ready, "trial")):
            patch.setattr(module, name, cache(getattr(module, name).__wrapped__))
