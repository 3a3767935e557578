"""A network between two arrays of a device, also for tiles of the host; and memory of the device for its library."""

import ctypes
from collections.abc import Sequence
from typing import cast

from scanside.runtime.arrays import Float32
from scanside.runtime.backends.session import Closing, LentSession, Session
from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.device.case import Device


class Lending(Closing):
    """A session that runs between arrays of its device, in whose memory tiles of the host are brought to it."""

    arrays: Arrays

    def between(self, image: Array, logits: Array) -> None:
        """See `session.LentSession`."""
        raise NotImplementedError

    def run(self, tiles: Float32) -> Float32:
        """See `Session.run`."""
        self.check(tiles)
        with self.arrays.work():
            image = self.arrays.upload(tiles)
            logits = self.arrays.xp.empty((len(tiles), self.spec.heads, *tiles.shape[2:]), "float32")
            self.between(image, logits)
            return self.arrays.download(logits)


class Allocator:
    """Memory of the device for a library that asks by callbacks: one pool for its networks and everything else.

    Attributes:
        held: Bytes that the library has.
        peak: Most that it had since it was last set.
        lacked: A request was refused since it was last set.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.held = self.peak = 0
        self.lacked = False
        self._arrays = arrays
        self._blocks: dict[int, tuple[int, object]] = {}
        ctypes.pythonapi.Py_IncRef(
            ctypes.py_object(self)
        )  # a library may release memory when Python is on its way out
        self._calls = (
            ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(self._allocate),
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._release),
            ctypes.CFUNCTYPE(None)(lambda: None),
        )

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Of the functions that allocate, release, and give everything unused back."""
        allocate, release, empty = (ctypes.cast(call, ctypes.c_void_p).value or 0 for call in self._calls)
        return allocate, release, empty

    def _allocate(self, size: int) -> int | None:
        try:
            address, owner = self._arrays.block(size)
        except (
            Exception
        ):  # the library that called can only be told by a null pointer; it then says so itself
            self.lacked = True
            return None
        self._blocks[address] = size, owner
        self.held += size
        self.peak = max(self.peak, self.held)
        return address

    def _release(self, address: int | None) -> None:
        if address is not None:
            self.held -= self._blocks.pop(address)[0]


def measured(network: Lending, allocator: Allocator) -> int:
    """Bytes that a run of one tile takes between input and output, of whatever its library needs: measured, twice,
    since a library may plan its second run by what it saw in the first. What the first took goes back before the
    second, or its many blocks lie beside the one large block that ONNX Runtime asks for then.

    Raises:
        DeviceMemoryError: If the device has not enough memory for one tile.
    """
    spec, arrays = network.spec, network.arrays
    with arrays.work():
        image = arrays.xp.zeros((1, *spec.input_shape), "float32")
        logits = arrays.xp.empty((1, spec.heads, *spec.input_shape[1:]), "float32")
        before = allocator.peak = allocator.held
        for _ in range(2):
            arrays.release()
            network.between(image, logits)
        return allocator.peak - before


def device(networks: Sequence[Session], arrays: Arrays, asked: Sequence[Session], most: int) -> Device:
    """What a backend lends.

    Args:
        networks: One a fold.
        asked: Those of them whose need of memory is that of all.
        most: Largest batch that they take.
    """
    lent = [cast(LentSession, network).between for network in networks]

    def scratch(batch: int) -> int:
        return max(cast(LentSession, network).scratch(batch) for network in asked)

    return Device(arrays, lent, scratch, most)
