"""A TensorRT engine between two arrays, with host memory in place of the device's and a stand-in for the library.

Only a GPU can run the real thing (test_gpu_devices). What can be seen without one: that buffers, addresses, sizes,
copies, errors and the order of calls are right, with every version of the library that is supported.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import onnxruntime
import pytest

from scanside.runtime.backends import cuda
from scanside.runtime.backends.device_io import Allocator
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.trt import FULL
from scanside.runtime.backends.trt_session import TensorRtSession
from scanside.runtime.device import gpu_arrays
from scanside.runtime.device.case import How, label_case
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.stages.crop import crop
from tests.support.fake_tensorrt import TILE, VERSIONS, Library
from tests.support.fake_tensorrt.host import HostCuda, Memory
from tests.support.phantoms import volume
from tests.support.plans import ZSCORE, labels, plan
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import SessionTests, model, tiles
from tests.support.strict_arrays import StrictArrays


def opened(memory: Memory, name: str = "3d", library: Library | None = None) -> TensorRtSession:
    library = library or Library()
    module = library.module()
    engine = module.Runtime(None).deserialize_cuda_engine(library.plan(model(name, "fp32"), 8))
    device = "tensorrt-rtx" if library.rtx else "tensorrt"
    return TensorRtSession(module, engine, device, "fp32", "e" * 64, HostCuda(), memory)


class TestOnHostMemory(SessionTests):
    device = "tensorrt"
    tolerance = 1e-5

    def open(self, name: str) -> Session:
        return Guarded(opened(Memory(), name))

    def test_a_damaged_model_is_refused(self) -> None:  # type: ignore[override]
        """The builder refuses it: test_trt_build."""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same(version: str) -> None:
    with opened(Memory(), library=Library(version)) as session, opened(Memory()) as other:
        np.testing.assert_array_equal(session.run(tiles("3d", 3)), other.run(tiles("3d", 3)))
        assert session.spec.batch == 8 and session.scratch(4) == 4 * TILE


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
    assert found[0].need.network == 8 * TILE and len(np.unique(found[0].labels)) > 1


def test_the_batch_is_what_the_free_memory_holds() -> None:
    for free, batch in ((1 << 30, 8), (6 * TILE, 4), (3 * TILE, 2), (TILE, 1)):
        with opened(Memory(free=free)) as session:
            assert session.spec.batch == batch and session.scratch(batch) == TILE * batch
            assert session.spec.memory is not None and TILE * batch < session.spec.memory < 2 * TILE * batch


def test_lack_of_memory_names_what_is_needed_and_leaves_nothing(memory: Memory) -> None:
    memory.room = 3 * TILE
    with opened(memory) as session:
        with pytest.raises(DeviceMemoryError, match=r"needs 0\.01 GiB of device memory for a batch of 8"):
            session.run(tiles("3d", 8))
        assert not memory.alive
        session.run(tiles("3d", 1))


def test_an_address_that_the_context_refuses_is_no_silence(memory: Memory) -> None:
    """Running then would read or write where another batch's tiles were."""
    library = Library()
    with opened(memory, library=library) as session:
        library.failing = {"set_tensor_address"}
        with pytest.raises(BackendError) as caught:
            session.run(tiles("3d", 1))
        assert_one_sentence(str(caught.value), "does not take the memory", "doctor")
        assert not memory.alive


def test_the_guard_finds_the_batch_that_fits(memory: Memory) -> None:
    memory.room = 5 * TILE  # another program took the memory meanwhile
    given = tiles("3d", 8)
    with Guarded(opened(memory)) as session, Guarded(opened(Memory())) as roomy:
        np.testing.assert_array_equal(session.run(given), roomy.run(given))


def test_a_failing_call_is_named(memory: Memory) -> None:
    with opened(memory) as session:
        host = session._cuda
        host.failing["cudaStreamSynchronize"] = host.cudaError_t.cudaErrorIllegalAddress
        with pytest.raises(BackendError, match=r"cudaStreamSynchronize \(cudaErrorIllegalAddress\)"):
            session.run(tiles("3d", 1))
        assert not memory.alive


@pytest.mark.parametrize("call", ["set_input_shape", "execute_async_v3"])
def test_what_the_library_refuses_is_an_error(memory: Memory, call: str) -> None:
    """Its answer is False, not an exception: who does not look has the last batch's logits."""
    library = Library()
    with opened(memory, library=library) as session:
        session.run(tiles("3d", 1))
        library.failing = {call}
        with pytest.raises(BackendError) as caught:
            session.run(tiles("3d", 1, seed=3))
        assert_one_sentence(str(caught.value))
        assert caught.value.exit_code == 4 and not memory.alive


def test_an_engine_that_gives_no_context_is_refused() -> None:
    with pytest.raises(BackendError) as caught:
        opened(Memory(), library=Library(failing={"create_execution_context"}))
    assert_one_sentence(str(caught.value), "cannot be prepared", "doctor")
