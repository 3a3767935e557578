"""The native TensorRT session with host memory in place of the device's.

Only a GPU can run the real thing (test_gpu_devices). What can be seen without one: that buffers, addresses, sizes,
copies, errors and the order of calls are right. `HostCuda` has the calls of cuda.bindings.runtime with their results
and keeps count of what is allocated; `Context` computes with ONNX Runtime what stands at the addresses it was given.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest

from scanside.runtime.backends.guard import Guarded
from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.trt_session import TensorRtSession
from scanside.runtime.errors import BackendError, DeviceMemoryError
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import SessionTests, model, tiles

real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
OK = real.cudaError_t.cudaSuccess
MIB = 1 << 20


class HostCuda:
    """The calls that the session makes, on host memory of limited size."""

    cudaError_t = real.cudaError_t
    cudaMemcpyKind = real.cudaMemcpyKind

    def __init__(self, room: int = 1 << 30, free: int | None = None) -> None:
        self.room, self.free = room, room if free is None else free
        self.device: dict[int, Any] = {}
        self.host: dict[int, Any] = {}
        self.streams = 0
        self.allocations = 0

    def cudaStreamCreate(self) -> tuple[Any, int]:
        self.streams += 1
        return OK, 77

    def cudaStreamDestroy(self, stream: int) -> tuple[Any]:
        self.streams -= 1
        return (OK,)

    def cudaMemGetInfo(self) -> tuple[Any, int, int]:
        return OK, self.free, self.room

    def cudaMalloc(self, size: int) -> tuple[Any, int | None]:
        if sum(len(buffer) for buffer in self.device.values()) + size > self.room:
            return real.cudaError_t.cudaErrorMemoryAllocation, None
        return OK, self._new(self.device, size)

    def cudaMallocHost(self, size: int) -> tuple[Any, int]:
        return OK, self._new(self.host, size)

    def cudaFree(self, pointer: int) -> tuple[Any]:
        del self.device[pointer]
        return (OK,)

    def cudaFreeHost(self, pointer: int) -> tuple[Any]:
        del self.host[pointer]
        return (OK,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any]:
        down = kind == self.cudaMemcpyKind.cudaMemcpyDeviceToHost
        assert len((self.host if down else self.device)[to]) == size
        assert len((self.device if down else self.host)[source]) == size and stream == 77
        ctypes.memmove(to, source, size)
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any]:
        return (OK,)

    def _new(self, where: dict[int, Any], size: int) -> int:
        self.allocations += 1
        buffer = ctypes.create_string_buffer(size)
        where[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)


class Context:
    """IExecutionContext: reads and writes the addresses it was given."""

    device_memory = 0

    def __init__(self, session: Any, a_tile: int) -> None:
        self.session, self.a_tile = session, a_tile
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return name == "image" and 1 <= shape[0] <= 8

    def update_device_memory_size_for_shapes(self) -> int:
        return self.a_tile * self.shape[0]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert self.device_memory and stream == 77
        count = int(np.prod(self.shape))
        given = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses["image"]))
        output = self.session.run(None, {"image": given.reshape(self.shape)})[0]
        ctypes.memmove(self.addresses["logits"], output.ctypes.data, output.nbytes)
        return True


class Library:
    """The names of the `tensorrt` module that the session uses."""

    class TensorIOMode:
        INPUT, OUTPUT = "in", "out"

    class ExecutionContextAllocationStrategy:
        USER_MANAGED = "user"


class Engine:
    """ICudaEngine of a network."""

    num_io_tensors = 2

    def __init__(self, network: bytes, a_tile: int = MIB) -> None:
        self.session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self.a_tile = a_tile

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "image" else "out"

    def get_tensor_shape(self, name: str) -> list[int]:
        place = self.session.get_inputs() if name == "image" else self.session.get_outputs()
        return [-1, *place[0].shape[1:]]

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        rest = self.get_tensor_shape(name)[1:]
        return [[1, *rest], [1, *rest], [8, *rest]]

    def create_execution_context(self, strategy: str) -> Context:
        assert strategy == "user"
        return Context(self.session, self.a_tile)


def opened(host: HostCuda, name: str = "3d", a_tile: int = MIB) -> TensorRtSession:
    network = model(name, "fp32")
    refuse_foreign(network)
    return TensorRtSession(Library, Engine(network, a_tile), "tensorrt", "fp32", "e" * 64, host)


class TestOnHostMemory(SessionTests):
    device = "tensorrt"
    tolerance = 1e-5

    def open(self, name: str) -> Session:
        return Guarded(opened(HostCuda(), name))

    def test_a_damaged_model_is_refused(self) -> None:  # type: ignore[override]
        """The builder refuses it: test_trt_build."""


@pytest.fixture
def host() -> Iterator[HostCuda]:
    made = HostCuda()
    yield made
    assert not made.device and not made.host and not made.streams  # whatever happened, nothing is left


def test_buffers_are_allocated_once_a_batch_size_and_freed(host: HostCuda) -> None:
    with opened(host) as session:
        session.run(tiles("3d", 2))
        once = host.allocations
        for seed in range(3):
            session.run(tiles("3d", 2, seed=seed))
        assert host.allocations == once == 5  # input, output, what lies between; two of pinned memory
        session.run(tiles("3d", 1))
        assert host.allocations == 2 * once and len(host.device) == 3 and len(host.host) == 2


def test_the_batch_is_what_the_free_memory_holds() -> None:
    for free, batch in ((1 << 30, 8), (6 * MIB, 4), (3 * MIB, 2), (MIB, 1)):
        with opened(HostCuda(free=free)) as session:
            assert session.spec.batch == batch
            assert session.spec.memory is not None and MIB * batch < session.spec.memory < 2 * MIB * batch


def test_lack_of_memory_names_what_is_needed_and_leaves_nothing(host: HostCuda) -> None:
    host.room = 3 * MIB
    with opened(host) as session:
        with pytest.raises(DeviceMemoryError, match=r"needs 0\.01 GiB of device memory for a batch of 8"):
            session.run(tiles("3d", 8))
        assert not host.device and not host.host
        session.run(tiles("3d", 1))


def test_an_address_that_the_context_refuses_is_no_silence(host: HostCuda) -> None:
    """Running then would read or write where another batch's tiles were."""
    with opened(host) as session:
        session._context.set_tensor_address = lambda name, address: name != "logits"
        with pytest.raises(BackendError) as caught:
            session.run(tiles("3d", 1))
        assert_one_sentence(str(caught.value), "logits", "doctor")
        assert not host.device and not host.host


def test_the_guard_finds_the_batch_that_fits(host: HostCuda) -> None:
    host.free, host.room = 1 << 30, 5 * MIB  # another program took the memory meanwhile
    given = tiles("3d", 8)
    with Guarded(opened(host)) as session, Guarded(opened(HostCuda())) as roomy:
        np.testing.assert_array_equal(session.run(given), roomy.run(given))


def test_a_failing_call_is_named(host: HostCuda) -> None:
    with opened(host) as session:
        host.cudaStreamSynchronize = lambda stream: (real.cudaError_t.cudaErrorIllegalAddress,)  # type: ignore[method-assign]
        host.cudaStreamSynchronize.__name__ = "cudaStreamSynchronize"
        with pytest.raises(BackendError, match=r"cudaStreamSynchronize \(cudaErrorIllegalAddress\)"):
            session.run(tiles("3d", 1))


def test_every_call_exists_in_the_real_module() -> None:
    """The names, and for TensorRT-RTX those of the context and engine, are those of the installed libraries."""
    for name in vars(HostCuda):
        if name.startswith("cuda"):
            assert hasattr(real, name)
    library = pytest.importorskip("tensorrt_rtx_bindings")
    for own, theirs in ((Engine, library.ICudaEngine), (Context, library.IExecutionContext)):
        for name in vars(own):
            assert name.startswith("__") or hasattr(theirs, name), name
    assert library.ExecutionContextAllocationStrategy.USER_MANAGED is not None
    assert library.DynamicShapesKernelSpecializationStrategy.EAGER is not None
    for name in (
        "set_execution_context_allocation_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
    ):
        assert hasattr(library.IRuntimeConfig, name)
    assert hasattr(library.ICudaEngine, "create_runtime_config")
