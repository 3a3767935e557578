"""A deserialised TensorRT engine between two arrays of the device. Never yet run on a GPU.

Nothing clever lives here, since only a machine with a GPU can execute it: of CUDA it needs cuda-python alone. Graph
capture is left out: a patch takes milliseconds and its hundred kernel launches together half of one.
"""

import math
from typing import Any

from scanside.runtime.backends.device_io import Lending
from scanside.runtime.backends.session import SessionSpec
from scanside.runtime.backends.trt_context import prepare
from scanside.runtime.device.arrays import Array, Arrays, address
from scanside.runtime.errors import BackendError, DeviceMemoryError


class TensorRtSession(Lending):
    """One engine with its own stream; what lies between input and output is lent to it for each run."""

    def __init__(
        self,
        library: Any,
        engine: Any,
        device: str,
        precision: str,
        sha256: str,
        cuda: Any,
        arrays: Arrays,
        kernels: str | None = None,
    ) -> None:
        """Prepare an engine.

        Args:
            library: The module `tensorrt` or `tensorrt_rtx_bindings`.
            engine: ICudaEngine of one input and one output, batch axis first.
            cuda: The module `cuda.bindings.runtime`.
            arrays: Of the device; all engines share its memory.
            kernels: Name in the engine cache of the kernels that TensorRT-RTX compiled for this engine.

        Raises:
            DeviceMemoryError: If the device has not enough memory for one tile.
        """
        self._cuda: Any = cuda
        self.arrays = arrays
        self._prepared = prepare(library, engine, kernels)
        self._engine, self._context = engine, self._prepared.context
        self._stream: Any = None
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
        self.spec = SessionSpec(shape, heads, device, precision, 1, sha256)
        batch = self._largest_that_fits(largest)
        self.spec = SessionSpec(shape, heads, device, precision, batch, sha256, self._needs(batch))
        self._stream = self._call(cuda.cudaStreamCreate)

    def between(self, image: Array, logits: Array) -> None:
        """See `session.LentSession`."""
        if self._context is None:
            raise BackendError("The session is closed; open the bundle again.")
        size = self.scratch(len(image))
        try:
            self._context.device_memory, held = self.arrays.block(size)
        except MemoryError as error:
            raise DeviceMemoryError(
                f"{self.spec.device} needs {self._needs(len(image)) / 2**30:.2f} GiB of device memory for a batch of "
                f"{len(image)}, which is not free."
            ) from error
        try:
            self._execute(image, logits)
        finally:
            del held  # not before the network is done, nor later, whatever keeps an error and its frames
        self._prepared.keep(len(image))

    def _execute(self, image: Array, logits: Array) -> None:
        for name, values in ((self._input, image), (self._output, logits)):
            if not self._context.set_tensor_address(name, address(values)):
                raise BackendError(
                    f"{self.spec.device} does not take the memory of '{name}'; run `scanside doctor`."
                )
        self.arrays.synchronize()
        if not self._context.execute_async_v3(int(self._stream)):
            raise BackendError(f"{self.spec.device} failed while running the network; run `scanside doctor`.")
        self._call(self._cuda.cudaStreamSynchronize, self._stream)

    def scratch(self, batch: int) -> int:
        """See `session.LentSession`: as the engine states it. The context then has the shape of such a batch."""
        if not self._context.set_input_shape(self._input, (batch, *self.spec.input_shape)):
            raise BackendError(
                f"The engine takes no batch of {batch}; give it at most {self.spec.batch} tiles."
            )
        return max(1, int(self._context.update_device_memory_size_for_shapes()))

    def close(self) -> None:
        """Free the network and its stream."""
        self._prepared.close()
        self._context = self._engine = None  # in this order: a context needs its engine
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _largest_that_fits(self, largest: int) -> int:
        """The largest batch whose memory, which the engine states, is free now."""
        free, batch = self.arrays.free(), largest
        while batch > 1 and free is not None and self._needs(batch) > free:
            batch //= 2
        return batch

    def _needs(self, batch: int) -> int:
        """Bytes on the device of input, output and everything between them."""
        patch = math.prod(self.spec.input_shape[1:])
        return 4 * batch * patch * (self.spec.input_shape[0] + self.spec.heads) + self.scratch(batch)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """Call CUDA; its result, or the error that it reports."""
        code, *results = function(*arguments)
        errors = self._cuda.cudaError_t
        if code == errors.cudaErrorMemoryAllocation:
            raise DeviceMemoryError("The device is out of memory.")
        if code != errors.cudaSuccess:
            raise BackendError(f"CUDA failed in {function.__name__} ({code.name}); run `scanside doctor`.")
        return results[0] if len(results) == 1 else results
