"""Where a case's arrays live: numpy in the tests, CuPy on a GPU. One code, and every line of it runs without a GPU.

What the code of this folder takes from the module, with one meaning in numpy and CuPy: `empty`, `zeros`,
`ascontiguousarray`, `moveaxis`, `matmul`, `maximum`, `minimum`, `where`, `stack`, `take`; and arrays' own operators,
slices, masks, `reshape`, `astype`, `min`, `max`, `sum`, `mean`, `any`. The tests allow no other name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import DeviceMemoryError

Array = Any
"""An array of the device: `numpy.ndarray` or `cupy.ndarray`."""


class Arrays(Protocol):
    """The arrays of one device.

    Attributes:
        xp: The module: numpy or cupy.
    """

    xp: Any

    def synchronize(self) -> None:
        """Wait until everything asked for is done: before a library works on a stream of its own."""

    def free(self) -> int | None:
        """Bytes that a case may take now; None where nothing limits it."""

    def work(self, limit: int | None = None) -> Any:
        """A context in which everything on the device is done; what it took, at most `limit`, is given back after.

        Raises:
            DeviceMemoryError: Where something inside finds no memory.
            BackendError: Where the device fails otherwise.
        """

    def block(self, size: int) -> tuple[int, object]:
        """So many bytes of the device: their address, and what keeps them alive. For libraries that ask by address.

        Raises:
            MemoryError: If the device has not so many.
        """

    def release(self) -> None:
        """Give back to the device what nothing holds any more: after networks were freed."""

    def upload(self, values: npt.NDArray[Any]) -> Array:
        """A copy on the device, C-contiguous."""

    def download(self, values: Array) -> npt.NDArray[Any]:
        """A copy on the host."""


class HostArrays:
    """numpy: what stands in for a device in the tests."""

    def __init__(self, free: int | None = None) -> None:
        self.xp: Any = np
        self._free = free

    def synchronize(self) -> None:
        """See `Arrays.synchronize`."""

    def free(self) -> int | None:
        """See `Arrays.free`."""
        return self._free

    @contextmanager
    def work(self, limit: int | None = None) -> Iterator[None]:
        """See `Arrays.work`; the limit is not enforced, the tests measure instead."""
        try:
            yield
        except MemoryError as error:
            raise DeviceMemoryError("The device is out of memory.") from error

    def block(self, size: int) -> tuple[int, object]:
        """See `Arrays.block`."""
        held = np.empty(max(size, 1), np.uint8)
        return address(held), held

    def release(self) -> None:
        """See `Arrays.release`."""

    def upload(self, values: npt.NDArray[Any]) -> Array:
        """See `Arrays.upload`."""
        return np.array(values, order="C")

    def download(self, values: Array) -> npt.NDArray[Any]:
        """See `Arrays.download`."""
        return np.array(values)


def address(values: Array) -> int:
    """Address of a C-contiguous array's first value, in the memory of its own device."""
    on_gpu = getattr(values, "__cuda_array_interface__", None)
    return int((on_gpu or values.__array_interface__)["data"][0])
