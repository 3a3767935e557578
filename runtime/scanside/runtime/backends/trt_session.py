"""A deserialised TensorRT engine: buffers allocated once, copied through pinned memory. Never yet run on a GPU.

Nothing clever lives here, since only a machine with a GPU can execute it: of CUDA it needs cuda-python alone. Graph
capture is left out: a patch takes milliseconds and its hundred kernel launches together half of one.
"""

import ctypes
from typing import Any

import numpy as np

from scanside.runtime.backends.session import Closing, Float, SessionSpec
from scanside.runtime.backends.trt_context import prepare
from scanside.runtime.errors import BackendError, DeviceMemoryError

_PART_OF_FREE_MEMORY = 0.9


class TensorRtSession(Closing):
    """One engine with its own stream and its own memory on the device."""

    def __init__(
        self,
        library: Any,
        engine: Any,
        device: str,
        precision: str,
        sha256: str,
        cuda: Any,
        kernels: str | None = None,
    ) -> None:
        """Prepare an engine.

        Args:
            library: The module `tensorrt` or `tensorrt_rtx_bindings`.
            engine: ICudaEngine of one input and one output, batch axis first.
            cuda: The module `cuda.bindings.runtime`.
            kernels: Name in the engine cache of the kernels that TensorRT-RTX compiled for this engine.

        Raises:
            DeviceMemoryError: If the device has not enough memory for one tile.
        """
        self._cuda: Any = cuda
        self._prepared = prepare(library, engine, kernels)
        self._engine, self._context = engine, self._prepared.context
        self._stream: Any = None
        self._device: list[Any] = []
        self._host: list[Any] = []
        self._arrays: tuple[Any, ...] = ()
        self._size = 0
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = [engine.get_tensor_mode(name) == library.TensorIOMode.INPUT for name in names]
        if sorted(is_input) != [False, True]:
            raise BackendError(
                f"The engine has {len(names)} inputs and outputs, not one of each; re-export it."
            )
        self._input, self._output = names[is_input.index(True)], names[is_input.index(False)]
        largest = int(engine.get_tensor_profile_shape(self._input, 0)[2][0])
        shape = tuple(engine.get_tensor_shape(self._input))[1:]
        heads = int(engine.get_tensor_shape(self._output)[1])
        self._stream = self._call(cuda.cudaStreamCreate)
        self.spec = SessionSpec(shape, heads, device, precision, 1, sha256)
        try:
            batch = self._largest_that_fits(largest)
            self.spec = SessionSpec(shape, heads, device, precision, batch, sha256, sum(self._needs(batch)))
        except BaseException:
            self.close()
            raise

    def run(self, tiles: Float) -> Float:
        """See `Session.run`."""
        if self._context is None:
            raise BackendError("The session is closed; open the bundle again.")
        self.check(tiles)
        if len(tiles) != self._size:
            self._bind(len(tiles))
        source, target = self._arrays
        np.copyto(source, tiles)
        kind, copy = self._cuda.cudaMemcpyKind, self._cuda.cudaMemcpyAsync
        self._call(
            copy, self._device[0], self._host[0], source.nbytes, kind.cudaMemcpyHostToDevice, self._stream
        )
        if not self._context.execute_async_v3(int(self._stream)):
            raise BackendError(f"{self.spec.device} failed while running the network; run `scanside doctor`.")
        self._call(
            copy, self._host[1], self._device[1], target.nbytes, kind.cudaMemcpyDeviceToHost, self._stream
        )
        self._call(self._cuda.cudaStreamSynchronize, self._stream)
        self._prepared.keep(len(tiles))
        return target.copy()

    def close(self) -> None:
        """Free the network, its stream and all memory."""
        self._free()
        self._prepared.close()
        self._context = self._engine = None  # in this order: a context needs its engine
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _largest_that_fits(self, largest: int) -> int:
        """The largest batch whose memory, which the engine states, is free now."""
        free = self._call(self._cuda.cudaMemGetInfo)[0] * _PART_OF_FREE_MEMORY
        batch = largest
        while batch > 1 and sum(self._needs(batch)) > free:
            batch //= 2
        return batch

    def _needs(self, batch: int) -> tuple[int, int, int]:
        """Bytes on the device of input, output and everything between them."""
        shape = (batch, *self.spec.input_shape)
        if not self._context.set_input_shape(self._input, shape):
            raise BackendError(
                f"The engine takes no batch of {batch}; give it at most {self.spec.batch} tiles."
            )
        outputs = (batch, self.spec.heads, *self.spec.input_shape[1:])
        between = self._context.update_device_memory_size_for_shapes()
        return 4 * int(np.prod(shape)), 4 * int(np.prod(outputs)), max(1, int(between))

    def _bind(self, batch: int) -> None:
        """Allocate everything that a batch needs, and only that."""
        self._free()
        sizes = self._needs(batch)
        try:
            for size in sizes:
                self._device.append(self._call(self._cuda.cudaMalloc, size))
            for size in sizes[:2]:
                self._host.append(self._call(self._cuda.cudaMallocHost, size))
        except DeviceMemoryError as error:
            self._free()
            raise DeviceMemoryError(
                f"{self.spec.device} needs {sum(sizes) / 2**30:.2f} GiB of device memory for a batch of {batch}, "
                "which is not free."
            ) from error
        shapes = (self.spec.input_shape, (self.spec.heads, *self.spec.input_shape[1:]))
        self._arrays = tuple(
            np.ctypeslib.as_array((ctypes.c_float * (size // 4)).from_address(int(pointer))).reshape(
                batch, *shape
            )
            for pointer, size, shape in zip(self._host, sizes, shapes, strict=False)
        )
        for name, pointer in ((self._input, self._device[0]), (self._output, self._device[1])):
            if not self._context.set_tensor_address(name, int(pointer)):
                self._free()
                raise BackendError(
                    f"{self.spec.device} does not take the memory of '{name}'; run `scanside doctor`."
                )
        self._context.device_memory = int(self._device[2])
        self._size = batch

    def _free(self) -> None:
        self._arrays = ()
        self._size = 0
        while self._device:
            self._cuda.cudaFree(self._device.pop())
        while self._host:
            self._cuda.cudaFreeHost(self._host.pop())

    def _call(self, function: Any, *arguments: Any) -> Any:
        """Call CUDA; its result, or the error that it reports."""
        code, *results = function(*arguments)
        errors = self._cuda.cudaError_t
        if code == errors.cudaErrorMemoryAllocation:
            raise DeviceMemoryError("The device is out of memory.")
        if code != errors.cudaSuccess:
            raise BackendError(f"CUDA failed in {function.__name__} ({code.name}); run `scanside doctor`.")
        return results[0] if len(results) == 1 else results
