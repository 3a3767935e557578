"""ONNX Runtime on an NVIDIA GPU: the same networks as on the CPU, without building anything. Never yet run on a GPU."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from scanside.runtime.backends import cuda_ready, gpu
from scanside.runtime.backends.device_io import Allocator, Lending, device, measured
from scanside.runtime.backends.ort_errors import ort_error
from scanside.runtime.backends.session import Session, SessionSpec
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.device import gpu_arrays
from scanside.runtime.device.arrays import Array, Arrays, address
from scanside.runtime.device.case import Device
from scanside.runtime.errors import BackendError, ProviderMismatchError

NAME = "cuda"
TITLE = "ONNX Runtime, NVIDIA GPU"
FILES: dict[str, FilePrecision] = {"fp32": "fp32", "mixed": "mixed"}
ON_TRIAL = True
kept = None
PROVIDER = "CUDAExecutionProvider"
SETTINGS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",  # one shape, thousands of runs: trying every algorithm pays
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # on by default: ten bits of mantissa are not float32
    # never fuse_conv_bias: cuDNN refuses transposed convolutions with it
}


def missing() -> tuple[str, str] | None:
    """What is missing and how to get it: driver and GPU, packages, and what loading them for real says."""
    return cuda_ready.missing()


def version() -> str:
    """Version of ONNX Runtime and the GPU it runs on."""
    return f"onnxruntime-gpu {cuda_ready.version()} on {gpu.gpu()}"


def open_session(model: bytes, precision: str, threads: int | None = None) -> Session:
    """Open an ONNX model with every node on the GPU.

    Args:
        model: The ONNX file's bytes, already verified.
        precision: `fp32` or `mixed`; for `mixed` the model itself holds the float16 parts.
        threads: Not used: the network runs on the GPU.
    """
    ort = cuda_ready.load()
    arrays, allocator = gpu_arrays.gpu_arrays(), _allocator()
    allocate, release, empty = allocator.addresses
    own = {"gpu_external_alloc": allocate, "gpu_external_free": release, "gpu_external_empty_cache": empty}
    settings = {**SETTINGS, **{key: str(call) for key, call in own.items()}}
    with arrays.work():
        session = create(ort, model, [(PROVIDER, settings)], allocator)
    if session.get_providers()[0] != PROVIDER:
        raise ProviderMismatchError(
            f"Asked ONNX Runtime for {PROVIDER}, obtained {', '.join(session.get_providers())}: one of its CUDA "
            "libraries did not load; see `scanside doctor`."
        )
    shape = tuple(session.get_inputs()[0].shape[1:])
    batch = gpu.first_batch(shape, gpu.gpu().memory)
    return BoundSession(session, NAME, precision, batch, arrays, allocator)


def on_device(networks: Sequence[Session]) -> Device:
    """The GPU's memory with a segmenter's networks in it, so that only labels come back.

    Args:
        networks: From `open_session`, one a fold.
    """
    return lend(networks, gpu_arrays.gpu_arrays())


def lend(networks: Sequence[Session], arrays: Arrays) -> Device:
    """The same in any memory; folds are one architecture, so that the first is measured for all."""
    return device(networks, arrays, networks[:1], gpu.LARGEST_BATCH)


@cache
def _allocator() -> Allocator:
    """The process's own: all networks share it, so that folds that run one after the other take the memory of one."""
    return Allocator(gpu_arrays.gpu_arrays())


def create(ort: Any, model: bytes, providers: list[Any], allocator: Allocator | None = None) -> Any:
    """An InferenceSession that fails where a node would fall back to the CPU.

    Args:
        allocator: What the provider allocates with: it knows whether memory lacked.

    Raises:
        DeviceMemoryError: If the weights do not fit.
        BackendError: If it does not open.
    """
    if allocator is not None:
        allocator.lacked = False
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if providers != ["CPUExecutionProvider"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:
        lacked = allocator is not None and allocator.lacked
        raise ort_error("cannot load the network", error, lacked) from error


class BoundSession(Lending):
    """A network in ONNX Runtime between arrays of the device."""

    def __init__(
        self,
        session: Any,
        device: str,
        precision: str,
        batch: int,
        arrays: Arrays,
        allocator: Allocator,
        memory: str = "cuda",
    ) -> None:
        """Wrap an InferenceSession.

        Args:
            allocator: What the session's provider allocates with.
            memory: Where the arrays are: ONNX Runtime's name of the device.
        """
        self.arrays, self._allocator, self._session, self._memory = arrays, allocator, session, memory
        self._a_tile: int | None = None
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        self._input, self._output = source.name, target.name
        self.spec = SessionSpec(tuple(source.shape[1:]), int(target.shape[1]), device, precision, batch)

    def between(self, image: Array, logits: Array) -> None:
        """See `session.LentSession`."""
        if self._session is None:
            raise BackendError("The session is closed; open the bundle again.")
        self._allocator.lacked = False
        self.arrays.synchronize()  # ONNX Runtime takes no stream of others beside an allocator of others
        try:
            bound = self._session.io_binding()
            for bind, name, values in (
                (bound.bind_input, self._input, image),
                (bound.bind_output, self._output, logits),
            ):
                bind(name, self._memory, 0, np.float32, values.shape, address(values))
            self._session.run_with_iobinding(bound)
        except Exception as error:
            raise ort_error(
                f"failed while running {len(image)} tile(s)", error, self._allocator.lacked
            ) from error

    def scratch(self, batch: int) -> int:
        """See `session.LentSession`: measured with one tile, at the first question."""
        if self._a_tile is None:
            self._a_tile = measured(self, self._allocator)
        return batch * self._a_tile

    def close(self) -> None:
        """Free the network and its weights."""
        self._session = None
        self.arrays.release()
