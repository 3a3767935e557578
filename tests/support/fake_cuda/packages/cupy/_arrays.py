"""Arrays of the card: numpy's, in memory of the pool; what CuPy would allocate is allocated, and launches are counted.

With FAKE_CUPY_STILL=1 nothing is computed, and memory that is not looked at is not touched: a card may then be larger
than the host, and what remains of a case's time is the host's.
"""

import ctypes
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy._pool import MemoryPointer, check

_STILL = os.environ.get("FAKE_CUPY_STILL") == "1"
_SMALL = 4096
"""Bytes up to which a new array is zeros although nothing is computed: single values, which the host reads."""
allocator: list[Callable[[int], MemoryPointer]] = []
"""The one in use stands last."""
moved = [0]
"""Bytes that kernels read and write."""


class _Memory:
    def __init__(self, size: int) -> None:
        self.pointer = allocator[-1](size)
        place = {"shape": (size,), "typestr": "|u1", "data": (self.pointer.ptr, False), "version": 3}
        self.__array_interface__ = place


class ndarray(np.ndarray):
    """Of the card; refuses to meet one of the host."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        assert method == "__call__", f"{ufunc.__name__}.{method}"
        given = options.pop("out", None)
        of_the_card(*inputs, *(given or ()))
        out = given[0] if given else new(*_result(ufunc, inputs))
        kernel(lambda: ufunc(*map(plain, inputs), out=plain(out), **options), *inputs, out)
        return out

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} of a device's array")

    def __setitem__(self, where: Any, value: Any) -> None:
        masked = isinstance(where, np.ndarray)
        of_the_card(value, where)
        place = self if masked else self[where]
        if isinstance(value, np.ndarray):
            assert np.broadcast_shapes(place.shape, value.shape) == place.shape
            if place.size and place.ctypes.data == value.ctypes.data and place.strides == value.strides:
                return  # the last step of `a[...] += b`
        at = plain(where) if masked else Ellipsis
        kernel(lambda: plain(place).__setitem__(at, plain(value)), place, value)

    def reshape(self, *shape: Any) -> "ndarray":  # type: ignore[override]
        try:
            return plain(self).reshape(*shape, copy=False).view(ndarray)
        except ValueError:  # CuPy copies as well
            return contiguous(self).reshape(*shape)

    def astype(self, dtype: Any, copy: bool = True) -> "ndarray":  # type: ignore[override]
        if not copy and self.dtype == dtype:
            return self
        made = new(self.shape, dtype)
        kernel(lambda: plain(made).__setitem__(Ellipsis, plain(self)), self, made)
        return made

    def _reduced(self, name: str, axis: Any, kind: Any, keepdims: bool) -> "ndarray":
        gone = range(self.ndim) if axis is None else [one % self.ndim for one in np.atleast_1d(axis)]
        shape = [
            1 if at in gone else size for at, size in enumerate(self.shape) if keepdims or at not in gone
        ]
        made = new(tuple(shape), kind or self.dtype)
        told = {} if name in ("min", "max") else {"dtype": kind}
        kernel(
            lambda: getattr(plain(self), name)(axis=axis, keepdims=keepdims, out=plain(made), **told),
            self,
            made,
        )
        return made

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False) -> "ndarray":  # type: ignore[override]
        return self._reduced("min", axis, None, keepdims)

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> "ndarray":  # type: ignore[override]
        return self._reduced("max", axis, None, keepdims)

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False) -> "ndarray":  # type: ignore[override]
        return self._reduced("max", axis, None, keepdims)

    def sum(self, axis: Any = None, dtype: Any = None) -> "ndarray":  # type: ignore[override]
        return self._reduced("sum", axis, dtype or ("int64" if self.dtype == bool else None), False)

    def mean(self, axis: Any = None, dtype: Any = None) -> "ndarray":  # type: ignore[override]
        return self._reduced("mean", axis, dtype, False)

    def get(self, stream: object = None) -> np.ndarray:
        """On the host."""
        given = contiguous(self)
        made = np.empty(given.shape, given.dtype)
        _copy(made.ctypes.data, given.ctypes.data, made.nbytes, 2)
        return made

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())


def new(shape: tuple[int, ...], dtype: Any) -> ndarray:
    """An array in memory of the pool."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    made = np.asarray(_Memory(max(size, 1)))[:size].view(kind).reshape(shape).view(ndarray)
    if _STILL and (size <= _SMALL or kind.kind == "u"):  # labels are looked at as well
        plain(made)[...] = 0
    return made


def asarray(values: np.ndarray) -> ndarray:
    """A copy of the host's."""
    assert not isinstance(values, ndarray) and values.flags.c_contiguous
    made = new(values.shape, values.dtype)
    _copy(made.ctypes.data, values.ctypes.data, values.nbytes, 1)
    return made


def contiguous(a: ndarray) -> ndarray:
    """Itself, or a copy."""
    if a.flags.c_contiguous:
        return a
    made = new(a.shape, a.dtype)
    kernel(lambda: np.copyto(plain(made), plain(a)), a, made)
    return made


def plain(value: Any) -> Any:
    """What numpy computes with."""
    return value.view(np.ndarray) if isinstance(value, ndarray) else value


def of_the_card(*given: Any) -> None:
    """Refuse an array of the host."""
    for one in given:
        if isinstance(one, np.ndarray) and not isinstance(one, ndarray):
            raise TypeError("an array of the host meets one of the device")


def kernel(compute: Callable[[], object], *given: Any) -> None:
    """One launch."""
    moved[0] += sum(one.nbytes for one in given if isinstance(one, np.ndarray))
    check("cudaLaunchKernel", None)
    if not _STILL:
        compute()


def _copy(to: int, source: int, size: int, kind: int) -> None:
    check("cudaMemcpy", ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size), kind)


def _result(ufunc: Any, inputs: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype."""
    if ufunc is np.matmul:
        a, b = (one.shape for one in inputs)
        assert a[-1] == b[-2]
        return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]), inputs[0].dtype
    ones = [np.ones(1, one.dtype) if isinstance(one, np.ndarray) else one for one in inputs]
    return np.broadcast_shapes(*(getattr(one, "shape", ()) for one in inputs)), ufunc(*ones).dtype
