"""Host memory in the place of a GPU's, and the calls of cuda-python that the product makes."""

import weakref
from typing import Any

import pytest

from tests.support.strict_arrays import StrictArrays

CALLS = ("cudaMalloc", "cudaFree", "cudaStreamCreate", "cudaStreamDestroy", "cudaStreamSynchronize")


class HostCuda:
    """The module `cuda.bindings.runtime`: results with an error code first; a call in `failing` reports its error."""

    def __init__(self) -> None:
        real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
        self.cudaError_t = real.cudaError_t
        self.failing: dict[str, Any] = {}
        self.calls: list[str] = []
        self.streams = 0

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)

        def call(*given: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            code = self.failing.get(name, self.cudaError_t.cudaSuccess)
            made = {"cudaStreamCreate": (77,), "cudaMalloc": (4096,)}.get(name, ())
            if code == self.cudaError_t.cudaSuccess:
                self.streams += {"cudaStreamCreate": 1, "cudaStreamDestroy": -1}.get(name, 0)
            return (code, *made)

        call.__name__ = name
        return call


class Memory(StrictArrays):
    """The device's memory; keeps account of what is lent to the engines."""

    def __init__(self, free: int = 1 << 30, room: int = 1 << 30) -> None:
        super().__init__(free)
        self.room = room
        self.lent: dict[int, Any] = {}

    def block(self, size: int) -> tuple[int, object]:
        if size > self.room:
            raise MemoryError
        at, held = super().block(size + 255)
        aligned = -(-at // 256) * 256
        self.lent[aligned] = weakref.ref(held)  # type: ignore[arg-type]
        return aligned, held

    @property
    def alive(self) -> int:
        """Blocks that are still lent."""
        return sum(held() is not None for held in self.lent.values())
