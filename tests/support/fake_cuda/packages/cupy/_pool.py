"""The card's memory as CuPy gives it out: units of 512 bytes, the smallest free chunk that fits, split and joined."""

import bisect
import ctypes
import gc
from dataclasses import dataclass

card = ctypes.CDLL("libcudart.so.13")
_UNIT = 512


class CUDARuntimeError(RuntimeError):
    """As CuPy's own: its module begins with cupy."""


class OutOfMemoryError(MemoryError):
    """As CuPy's own."""


def check(name: str, *given: object) -> None:
    """Call CUDA."""
    code = getattr(card, name)(*given)
    if code:
        card.cudaGetLastError()  # nobody else is to find it
        raise CUDARuntimeError(f"cudaError{code}: a failure made up by a test, in {name}")


@dataclass(eq=False)
class Chunk:
    """A part of a block of the card; its neighbours in the same block."""

    ptr: int
    size: int
    before: "Chunk | None" = None
    after: "Chunk | None" = None
    used: bool = False


class MemoryPointer:
    """A chunk that goes back to its pool with the last that knows it."""

    def __init__(self, pool: "MemoryPool", chunk: Chunk) -> None:
        self.ptr, self._pool, self._chunk = chunk.ptr, pool, chunk

    def __del__(self) -> None:
        self._pool._back(self._chunk)


class MemoryPool:
    """CuPy's, on one device and one stream."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int, Chunk]] = []
        self._limit = self._total = self._used = 0

    def malloc(self, size: int) -> MemoryPointer:
        wanted = -(-max(size, 1) // _UNIT) * _UNIT
        at = bisect.bisect_left(self._free, (wanted, 0))
        chunk = self._free.pop(at)[2] if at < len(self._free) else self._new(wanted)
        if chunk.size > wanted:
            rest = Chunk(chunk.ptr + wanted, chunk.size - wanted, chunk, chunk.after)
            if chunk.after is not None:
                chunk.after.before = rest
            chunk.size, chunk.after = wanted, rest
            self._keep(rest)
        chunk.used = True
        self._used += chunk.size
        return MemoryPointer(self, chunk)

    def get_limit(self) -> int:
        return self._limit

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        assert size is not None and fraction is None
        self._limit = size

    def used_bytes(self) -> int:
        return self._used

    def free_bytes(self) -> int:
        return self._total - self._used

    def total_bytes(self) -> int:
        return self._total

    def free_all_blocks(self, stream: object = None) -> None:
        whole = [entry for entry in self._free if entry[2].before is None and entry[2].after is None]
        self._free = [entry for entry in self._free if entry not in whole]
        for size, ptr, _ in whole:
            card.cudaFree(ctypes.c_void_p(ptr))
            self._total -= size

    def _new(self, size: int) -> Chunk:
        for clean in (lambda: None, self.free_all_blocks, lambda: (gc.collect(), self.free_all_blocks())):
            clean()
            ptr = ctypes.c_void_p()
            if self._limit and self._total + size > self._limit:
                continue
            code = card.cudaMalloc(ctypes.byref(ptr), ctypes.c_size_t(size))
            if code == 0:
                self._total += size
                return Chunk(ptr.value or 0, size)
            card.cudaGetLastError()
            if code != 2:
                raise CUDARuntimeError(f"cudaError{code}: a failure made up by a test, in cudaMalloc")
        raise OutOfMemoryError(
            f"Out of memory allocating {size} bytes (allocated so far: {self._total} bytes)."
        )

    def _keep(self, chunk: Chunk) -> None:
        bisect.insort(self._free, (chunk.size, chunk.ptr, chunk))

    def _back(self, chunk: Chunk) -> None:
        chunk.used = False
        self._used -= chunk.size
        for first, second in ((chunk, chunk.after), (chunk.before, chunk)):
            if first is None or second is None or first.used or second.used:
                continue
            for one in (first, second):
                if one is not chunk:
                    self._free.remove((one.size, one.ptr, one))
            first.size, first.after = first.size + second.size, second.after
            if second.after is not None:
                second.after.before = first
            chunk = first
        self._keep(chunk)
