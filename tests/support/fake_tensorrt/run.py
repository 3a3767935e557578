"""The half of the stand-in that runs plans."""

import ctypes
import json
from enum import IntEnum
from typing import Any

import numpy as np
import onnxruntime


class TensorIOMode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(IntEnum):
    STATIC = 0
    USER_MANAGED = 2


class DynamicShapesKernelSpecializationStrategy(IntEnum):
    """Of TensorRT-RTX alone, whose default runs stand-in kernels."""

    LAZY = 0
    EAGER = 1


class IRuntimeCache:
    """Kernels of TensorRT-RTX: those of another GPU are refused."""

    def __init__(self, gpu: bytes) -> None:
        self.gpu, self.kernels = gpu, b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(self.gpu):
            return False
        self.kernels = blob
        return True

    def serialize(self) -> bytes:
        return self.kernels

    def compile(self, batch: int) -> None:
        """Kernels for a shape that is new."""
        kernel = b"%s:%d;" % (self.gpu, batch)
        if kernel not in self.kernels:
            self.kernels += kernel


class IExecutionContext:
    """Reads and writes the addresses it was given; whatever the product forgets to say is an error here."""

    device_memory = 0

    def __init__(self, library: Any, engine: "ICudaEngine", cache: IRuntimeCache | None = None) -> None:
        self.library, self.engine, self.cache = library, engine, cache
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.known = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        wanted = self.engine.get_tensor_shape(name)[1:]
        right = name == "image" and 1 <= shape[0] <= self.engine.batch and list(shape[1:]) == wanted
        if self.library.fails("set_input_shape") or not right:
            return False
        self.shape, self.known = shape, 0
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        assert self.shape
        self.known = int(self.library.a_tile * self.shape[0])
        return self.known

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int) and name in ("image", "logits")
        if self.library.fails("set_tensor_address"):
            return False
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self.known and self.device_memory and self.device_memory % 256 == 0 and stream_handle == 77
        if self.library.fails("execute_async_v3") or set(self.addresses) != {"image", "logits"}:
            return False
        count = int(np.prod(self.shape))
        given = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses["image"]))
        output = self.engine.session.run(None, {"image": given.reshape(self.shape)})[0]
        ctypes.memset(self.device_memory, 0xFF, self.known)  # NaN for whoever else thinks that it has it
        ctypes.memmove(self.addresses["logits"], output.ctypes.data, output.nbytes)
        if self.cache is not None:
            self.cache.compile(self.shape[0])
        return True


class IRuntimeConfig:
    """Of TensorRT-RTX alone, as far as the product uses it."""

    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY
    _cache: IRuntimeCache | None = None

    def __init__(self, library: Any) -> None:
        self.library = library
        self._strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self._strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self.library.gpu)

    def set_runtime_cache(self, cache: Any) -> bool:
        if self.library.fails("set_runtime_cache"):
            return False
        self._cache = cache
        return True


class ICudaEngine:
    num_io_tensors = 2

    def __init__(self, library: Any, network: bytes, batch: int) -> None:
        self.session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self.library, self.batch = library, batch

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> list[int]:
        place = self.session.get_inputs() if name == "image" else self.session.get_outputs()
        return [-1, *place[0].shape[1:]]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        rest = self.get_tensor_shape(name)[1:]
        return [[1, *rest], [1, *rest], [self.batch, *rest]]

    def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
        """Of a strategy, or of TensorRT-RTX's configuration."""
        cache = None
        if isinstance(strategy, IRuntimeConfig):
            eager = DynamicShapesKernelSpecializationStrategy.EAGER
            assert strategy.dynamic_shapes_kernel_specialization_strategy is eager
            strategy, cache = strategy._strategy, strategy._cache
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        if self.library.fails("create_execution_context"):
            return None
        return IExecutionContext(self.library, self, cache)


class RtxCudaEngine(ICudaEngine):
    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self.library)


def names(library: Any) -> dict[str, Any]:
    """The module's names, bound to one library."""

    engine_kind = RtxCudaEngine if library.rtx else ICudaEngine

    class Runtime:
        def __init__(self, logger: Any) -> None:
            if library.fails("Runtime"):
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            """None for a plan of another library or GPU."""
            head, _, network = serialized_engine.partition(b"\n")
            if library.fails("deserialize_cuda_engine"):
                return None
            made = json.loads(head)
            if (made["library"], made["gpu"].encode()) != (library.version, library.gpu):
                return None
            return engine_kind(library, network, made["batch"])

    every = [TensorIOMode, ExecutionContextAllocationStrategy, IExecutionContext, Runtime]
    every += [DynamicShapesKernelSpecializationStrategy] if library.rtx else []
    every += [IRuntimeCache, IRuntimeConfig] if library.rtx else []
    made: dict[str, Any] = {kind.__name__: kind for kind in every}
    return {**made, "ICudaEngine": engine_kind}
