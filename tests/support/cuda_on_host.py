"""The CUDA device on the memory of a CPU: ONNX Runtime's CPU provider and numpy in the place of the GPU's.

Sessions, memory, choice, golden check and everything around the networks are those of `backends/cuda.py`; arrays are as
strict as CuPy's.
"""

from collections.abc import Sequence

import onnxruntime
import pytest

from scanside.runtime.backends import cuda, table
from scanside.runtime.backends.device_io import Allocator
from scanside.runtime.backends.session import Session
from scanside.runtime.bundle import Bundle
from scanside.runtime.device.case import Device
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained, Segmenter
from tests.support.strict_arrays import StrictArrays


class CudaOnHost:
    """See `backends.table.Backend`."""

    NAME, TITLE, FILES = cuda.NAME, cuda.TITLE, cuda.FILES
    ON_TRIAL, kept = cuda.ON_TRIAL, cuda.kept

    def __init__(self) -> None:
        self.arrays = StrictArrays()
        self.allocator = Allocator(self.arrays)

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return "onnxruntime on the host"

    def open_session(self, model: bytes, precision: str, threads: int | None = None) -> Session:
        session = cuda.create(onnxruntime, model, ["CPUExecutionProvider"])
        return cuda.BoundSession(session, self.NAME, precision, 8, self.arrays, self.allocator, memory="cpu")

    def on_device(self, networks: Sequence[Session]) -> Device:
        return cuda.lend(networks, self.arrays)


def put_in_place(patch: pytest.MonkeyPatch) -> CudaOnHost:
    """Let the device `cuda` be this one."""
    backend = CudaOnHost()
    patch.setattr(table, "HOST", backend, raising=False)
    patch.setitem(table.MODULES, "cuda", f"{table.__name__}:HOST")
    return backend


def unproven(bundle: Bundle, precision: str, role: str | None = None) -> Segmenter:
    """A segmenter on it without its golden cases, for tests that judge the labels themselves."""
    options = Options(device="cuda", precision=precision, role=role)
    return LocalSegmenter(bundle, options, Obtained("cuda", "cuda", "a test", precision))
