"""CuPy's arrays: one pool of the GPU's memory and one stream for a whole process. Never yet run on a GPU."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.device.arrays import Array
from scanside.runtime.errors import BackendError, DeviceMemoryError, ScansideError
from scanside.runtime.extras import package_command

_PART_OF_FREE = 0.9
"""Of the memory that is free: the rest is for what libraries take for themselves, and for other programs."""
_GAPS = 1.1
"""What a pool may hold of what was asked for: blocks of different sizes leave gaps."""


class GpuArrays:
    """See `arrays.Arrays`."""

    def __init__(self) -> None:
        """Open the first GPU.

        Raises:
            BackendError: If CuPy does not load or finds no GPU.
        """
        try:
            import cupy

            self.xp: Any = cupy
            self._pool = cupy.cuda.MemoryPool()
            self._stream = cupy.cuda.Stream(non_blocking=True)
        except (ImportError, OSError, RuntimeError) as error:
            raise _failed(error) from error

    def synchronize(self) -> None:
        """See `Arrays.synchronize`."""
        self._stream.synchronize()

    def free(self) -> int | None:
        """See `Arrays.free`: what is free on the GPU now, less a tenth."""
        with self.work():
            free, _ = self.xp.cuda.runtime.memGetInfo()
            return int(_PART_OF_FREE * (free + self._pool.free_bytes()))

    @contextmanager
    def work(self, limit: int | None = None) -> Iterator[None]:
        """See `Arrays.work`; the limit is beside what is held already, such as the networks' weights."""
        before = self._pool.get_limit()
        if limit is not None:
            self._pool.set_limit(size=self._pool.used_bytes() + int(_GAPS * limit))
        try:
            with self.xp.cuda.using_allocator(self._pool.malloc), self._stream:
                yield
                self._stream.synchronize()
        except ScansideError:
            raise
        except MemoryError as error:
            raise DeviceMemoryError("The GPU is out of memory.") from error
        except Exception as error:
            if isinstance(error, RuntimeError | ImportError | OSError) or _of_cupy(error):
                raise _failed(error) from error
            raise
        finally:
            self._pool.set_limit(size=before)
            self._pool.free_all_blocks()

    def block(self, size: int) -> tuple[int, object]:
        """See `Arrays.block`."""
        pointer = self._pool.malloc(size)
        return int(pointer.ptr), pointer

    def release(self) -> None:
        """See `Arrays.release`."""
        self._pool.free_all_blocks()

    def upload(self, values: npt.NDArray[Any]) -> Array:
        """See `Arrays.upload`."""
        return self.xp.asarray(np.ascontiguousarray(values))

    def download(self, values: Array) -> npt.NDArray[Any]:
        """See `Arrays.download`."""
        copied: npt.NDArray[Any] = values.get()
        return copied


def missing() -> tuple[str, str] | None:
    """Why there is no CuPy and how to get it, or None."""
    if importlib.util.find_spec("cupy"):
        return None
    return "CuPy is not installed", package_command("cupy-cuda13x[ctk]")


@cache
def gpu_arrays() -> GpuArrays:
    """The process's own."""
    return GpuArrays()


def _of_cupy(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends")


def _failed(error: Exception) -> BackendError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return BackendError(f"CuPy failed on the GPU ({lines[0][:300].rstrip('. ')}); run `scanside doctor`.")
