"""The bound session of the CUDA device, run for real on the memory of a CPU; and how its lacks are named.

ONNX Runtime's IO binding is the same object for every device: here input and output are bound to host memory.
"""

import ctypes

import numpy as np
import onnxruntime
import pytest

from scanside.runtime.backends import cuda
from scanside.runtime.backends.device_io import Allocator
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.backends.ort_errors import ort_error
from scanside.runtime.backends.session import Session
from scanside.runtime.errors import BackendError, DeviceMemoryError
from tests.support.session_contract import SessionTests, model, tiles
from tests.support.strict_arrays import StrictArrays


def bound(network: bytes, precision: str, batch: int = 2) -> cuda.BoundSession:
    arrays = StrictArrays()
    session = cuda.create(onnxruntime, network, ["CPUExecutionProvider"])
    return cuda.BoundSession(session, "cuda", precision, batch, arrays, Allocator(arrays), memory="cpu")


class TestBound(SessionTests):
    device = "cuda"
    tolerance = 1e-5

    def open(self, name: str) -> Session:
        return Guarded(bound(model(name, "fp32"), "fp32"))

    @pytest.mark.parametrize("damage", ["garbage", "empty", "truncated"])
    def test_a_damaged_model_is_refused(self, damage: str) -> None:
        whole = model("3d", "fp32")
        given = {"garbage": b"not a network" * 50, "empty": b"", "truncated": whole[: len(whole) // 2]}[
            damage
        ]
        with pytest.raises(BackendError):
            refuse_foreign(given)
            bound(given, "fp32")


def test_between_two_arrays_nothing_is_copied() -> None:
    session = bound(model("3d", "fp32"), "fp32")
    arrays = session.arrays
    assert isinstance(arrays, StrictArrays)
    expected, image = session.run(tiles("3d", 2)), arrays.upload(tiles("3d", 2))
    logits = arrays.xp.zeros(expected.shape, "float32")
    arrays.up = arrays.down = 0
    session.between(image, logits)
    np.testing.assert_array_equal(np.asarray(logits), expected)
    assert arrays.up == arrays.down == 0


def test_the_allocator_lends_and_counts() -> None:
    """As ONNX Runtime calls it: by address, from C."""
    allocator = Allocator(StrictArrays())
    allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(allocator.addresses[0])
    release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(allocator.addresses[1])
    first, second = allocate(1000), allocate(24)
    assert first and second and (allocator.held, allocator.peak) == (1024, 1024)
    ctypes.memset(first, 7, 1000)
    release(first)
    release(None)
    assert (allocator.held, allocator.peak) == (24, 1024) and not allocator.lacked
    assert allocate(1 << 60) is None and allocator.lacked and allocator.held == 24


@pytest.mark.parametrize(
    "message",
    [
        "Non-zero status code returned while running Conv node. Name:'conv' Status Message: "
        "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for requested "
        "buffer of size 8589934592",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUDNN failure 4002: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_lack_of_memory_is_told_apart(message: str) -> None:
    """Messages as ONNX Runtime words them; the guard then tries a smaller batch."""
    error = ort_error("failed while running 4 tile(s)", RuntimeError(message))
    assert isinstance(error, DeviceMemoryError)
    assert not isinstance(
        ort_error("failed", RuntimeError("no kernel image is available")), DeviceMemoryError
    )


def test_after_a_failure_the_session_still_works() -> None:
    session = bound(model("3d", "fp32"), "fp32")
    first = session.run(tiles("3d", 1))
    run = session._session.run_with_iobinding
    session._session.run_with_iobinding = lambda binding: (_ for _ in ()).throw(RuntimeError("out of memory"))
    with pytest.raises(DeviceMemoryError):
        session.run(tiles("3d", 1))
    session._session.run_with_iobinding = run
    np.testing.assert_array_equal(session.run(tiles("3d", 1)), first)


def test_a_node_that_would_fall_back_to_the_cpu_does_not_open() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(BackendError):
        cuda.create(onnxruntime, model("3d", "fp32"), [("CUDAExecutionProvider", cuda.SETTINGS)])


def test_nothing_is_measured_in_less_than_float32() -> None:
    assert "fuse_conv_bias" not in cuda.SETTINGS  # it breaks transposed convolutions
    assert cuda.SETTINGS["use_tf32"] == "0" and cuda.SETTINGS["cudnn_conv_algo_search"] == "EXHAUSTIVE"


def test_parity_with_the_plain_cpu_session() -> None:
    from scanside.runtime.backends import ort

    network = model("3d", "mixed")
    with ort.open_session(network, "mixed") as plain:
        expected = plain.run(tiles("3d", 3))
    output = bound(network, "mixed").run(tiles("3d", 3))
    assert np.abs(output - expected).max() <= 1e-3 * np.abs(expected).max()
