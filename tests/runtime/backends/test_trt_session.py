"""The native TensorRT session with host memory in place of the device's.

Only a GPU can run the real thing (test_gpu_devices). What can be seen without one: that buffers, addresses, sizes,
copies, errors and the order of calls are right. `HostCuda` has the calls of cuda.bindings.runtime with their results
and keeps count of what is allocated; `Context` computes with ONNX Runtime what stands at the addresses it was given.
"""

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnxruntime
import pytest

from scanside.runtime.backends import cuda
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.backends.lending import Allocator
from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.trt import FULL
from scanside.runtime.backends.trt_session import TensorRtSession
from scanside.runtime.device import gpu_arrays
from scanside.runtime.device.case import How, label_case
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.stages.crop import crop
from tests.support.phantoms import volume
from tests.support.plans import ZSCORE, labels, plan
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import SessionTests, model, tiles
from tests.support.strict_arrays import StrictArrays

real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
OK = real.cudaError_t.cudaSuccess
MIB = 1 << 20


class HostCuda:
    """The calls that the session makes."""

    cudaError_t = real.cudaError_t

    def __init__(self) -> None:
        self.streams = 0

    def cudaStreamCreate(self) -> tuple[Any, int]:
        self.streams += 1
        return OK, 77

    def cudaStreamDestroy(self, stream: int) -> tuple[Any]:
        self.streams -= 1
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any]:
        return (OK,)


class Memory(StrictArrays):
    """The device's memory; keeps account of what is lent to the engines."""

    def __init__(self, free: int = 1 << 30, room: int = 1 << 30) -> None:
        super().__init__(free)
        self.room = room
        self.lent: dict[int, Any] = {}

    def block(self, size: int) -> tuple[int, object]:
        if size > self.room:
            raise MemoryError
        at, held = super().block(size)
        self.lent[at] = weakref.ref(held)  # type: ignore[arg-type]
        return at, held

    @property
    def alive(self) -> int:
        return sum(held() is not None for held in self.lent.values())


class Context:
    """IExecutionContext: reads and writes the addresses it was given."""

    device_memory = 0

    memory: Memory

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
        assert self.memory.lent[self.device_memory]() is not None and stream == 77
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


def opened(memory: Memory, name: str = "3d", a_tile: int = MIB) -> TensorRtSession:
    network = model(name, "fp32")
    refuse_foreign(network)
    engine = Engine(network, a_tile)
    session = TensorRtSession(Library, engine, "tensorrt", "fp32", "e" * 64, HostCuda(), memory)
    session._context.memory = memory
    return session


class TestOnHostMemory(SessionTests):
    device = "tensorrt"
    tolerance = 1e-5

    def open(self, name: str) -> Session:
        return Guarded(opened(Memory(), name))

    def test_a_damaged_model_is_refused(self) -> None:  # type: ignore[override]
        """The builder refuses it: test_trt_build."""


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    assert not made.alive  # whatever happened, nothing is left


def test_memory_is_lent_for_a_run_alone(memory: Memory) -> None:
    with opened(memory) as one, opened(memory) as other:
        for session in (one, other):
            session.run(tiles("3d", 2))
            assert not memory.alive
        assert len(memory.lent) >= 1
        assert session._cuda.streams == 1
    assert session._cuda.streams == 0


def test_between_two_arrays_nothing_is_copied(memory: Memory) -> None:
    with opened(memory) as session:
        expected, image = session.run(tiles("3d", 2)), memory.upload(tiles("3d", 2))
        logits = memory.xp.zeros(expected.shape, "float32")
        memory.up = memory.down = 0
        session.between(image, logits)
        np.testing.assert_array_equal(np.asarray(logits), expected)
        assert memory.up == memory.down == 0


def test_a_case_gives_the_labels_of_the_cuda_device(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One path for both: the very code around two backends that both compute with ONNX Runtime here."""
    monkeypatch.setattr(gpu_arrays, "gpu_arrays", lambda: memory)
    how = How(0.5, True, lambda name: nullcontext(), lambda done, total: None)
    arrays, found = StrictArrays(), []
    session = cuda.create(onnxruntime, model("3d", "fp32"), ["CPUExecutionProvider"])
    bound = cuda.BoundSession(session, "cuda", "fp32", 8, arrays, Allocator(arrays), memory="cpu")
    with Guarded(opened(memory)) as engine, Guarded(bound) as other:
        shape, heads = engine.spec.input_shape[1:], engine.spec.heads
        recipe = plan(channels=(ZSCORE, ZSCORE), patch_size=shape, labels=labels(heads), mirror_axes=(1, 2))
        given = volume((20, 40, 50), (1.2, 0.9, 1.1), channels=2)
        for lent in (FULL.on_device([engine]), cuda.lend([other], arrays)):
            labelled = label_case(crop(given, recipe), recipe, lent, how)
            assert labelled is not None and labelled.need.batch == 8
            found.append(labelled)
    np.testing.assert_array_equal(found[0].labels, found[1].labels)
    assert found[0].need.network == 8 * MIB and len(np.unique(found[0].labels)) > 1


def test_the_batch_is_what_the_free_memory_holds() -> None:
    for free, batch in ((1 << 30, 8), (6 * MIB, 4), (3 * MIB, 2), (MIB, 1)):
        with opened(Memory(free=free)) as session:
            assert session.spec.batch == batch and session.scratch(batch) == MIB * batch
            assert session.spec.memory is not None and MIB * batch < session.spec.memory < 2 * MIB * batch


def test_lack_of_memory_names_what_is_needed_and_leaves_nothing(memory: Memory) -> None:
    memory.room = 3 * MIB
    with opened(memory) as session:
        with pytest.raises(DeviceMemoryError, match=r"needs 0\.01 GiB of device memory for a batch of 8"):
            session.run(tiles("3d", 8))
        assert not memory.alive
        session.run(tiles("3d", 1))


def test_an_address_that_the_context_refuses_is_no_silence(memory: Memory) -> None:
    """Running then would read or write where another batch's tiles were."""
    with opened(memory) as session:
        session._context.set_tensor_address = lambda name, address: name != "logits"
        with pytest.raises(BackendError) as caught:
            session.run(tiles("3d", 1))
        assert_one_sentence(str(caught.value), "logits", "doctor")
        assert not memory.alive


def test_the_guard_finds_the_batch_that_fits(memory: Memory) -> None:
    memory.room = 5 * MIB  # another program took the memory meanwhile
    given = tiles("3d", 8)
    with Guarded(opened(memory)) as session, Guarded(opened(Memory())) as roomy:
        np.testing.assert_array_equal(session.run(given), roomy.run(given))


def test_a_failing_call_is_named(memory: Memory) -> None:
    with opened(memory) as session:
        host = session._cuda
        host.cudaStreamSynchronize = lambda stream: (real.cudaError_t.cudaErrorIllegalAddress,)
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
