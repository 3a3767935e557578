"""A CuPy for the card of host memory: its pool and its arrays' sizes are CuPy's, its kernels are numpy.

On PYTHONPATH of the processes that tests start with that card. `device/gpu_arrays.py` and everything above it run on
it as they are; the names are compared with those of the real CuPy (tests/runtime/device/test_cupy.py).
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from cupy._arrays import allocator, asarray, contiguous, kernel, moved, ndarray, new, of_the_card, plain
from cupy._pool import CUDARuntimeError, MemoryPointer, MemoryPool, card, check

float64 = np.float64
maximum, minimum, matmul = np.maximum, np.minimum, np.matmul


def empty(shape: Any, dtype: Any) -> ndarray:
    return new(tuple(shape), dtype)


def zeros(shape: Any, dtype: Any) -> ndarray:
    made = new(tuple(shape), dtype)
    kernel(lambda: plain(made).fill(0), made)
    return made


def ascontiguousarray(a: ndarray) -> ndarray:
    return contiguous(a)


def moveaxis(a: ndarray, source: int, destination: int) -> ndarray:
    return np.moveaxis(plain(a), source, destination).view(ndarray)


def where(condition: ndarray, x: ndarray, y: ndarray) -> ndarray:
    of_the_card(condition, x, y)
    made = new(np.broadcast_shapes(condition.shape, x.shape, y.shape), x.dtype)
    kernel(lambda: np.copyto(plain(made), np.where(*map(plain, (condition, x, y)))), condition, x, y, made)
    return made


def stack(tup: Sequence[ndarray]) -> ndarray:
    made = new((len(tup), *tup[0].shape), tup[0].dtype)
    kernel(lambda: np.stack([*map(plain, tup)], out=plain(made)), *tup, made)
    return made


def take(a: ndarray, indices: ndarray, axis: int) -> ndarray:
    of_the_card(a, indices)
    made = new((*a.shape[:axis], *indices.shape, *a.shape[axis + 1 :]), a.dtype)
    kernel(lambda: np.take(plain(a), plain(indices), axis, out=plain(made)), made, made)
    return made


class Stream:
    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking
        check("cudaStreamCreate", ctypes.byref(ctypes.c_void_p()))

    def synchronize(self) -> None:
        check("cudaStreamSynchronize", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing: there is one stream."""


@contextmanager
def using_allocator(malloc: Callable[[int], MemoryPointer]) -> Iterator[None]:
    allocator.append(malloc)
    try:
        yield
    finally:
        allocator.pop()


def _mem_get_info() -> tuple[int, int]:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    check("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


cuda = SimpleNamespace(
    MemoryPool=MemoryPool,
    Stream=Stream,
    using_allocator=using_allocator,
    runtime=SimpleNamespace(memGetInfo=_mem_get_info, CUDARuntimeError=CUDARuntimeError),
)
__all__ = ["asarray", "card", "cuda", "moved"]
