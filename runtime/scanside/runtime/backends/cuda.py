"""ONNX Runtime on an NVIDIA GPU: the same networks as on the CPU, without building anything. Never yet run on a GPU."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from scanside.runtime.backends import cuda_ready, gpu
from scanside.runtime.backends.session import BufferSession, Closing, Float, Session, SessionSpec
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.device.graph import Buffer, OrtGraph, ort_error
from scanside.runtime.device.slide import Device
from scanside.runtime.errors import BackendError, ProviderMismatchError

NAME = "cuda"
TITLE = "ONNX Runtime, NVIDIA GPU"
FILES: dict[str, FilePrecision] = {"fp32": "fp32", "mixed": "mixed"}
PROVIDER = "CUDAExecutionProvider"
SETTINGS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",  # one shape, thousands of runs: trying every algorithm pays
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # on by default: ten bits of mantissa are not float32
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
    session = create(ort, model, [(PROVIDER, SETTINGS)])
    if session.get_providers()[0] != PROVIDER:
        raise ProviderMismatchError(
            f"Asked ONNX Runtime for {PROVIDER}, obtained {', '.join(session.get_providers())}: one of its CUDA "
            "libraries did not load; see `scanside doctor`."
        )
    shape = tuple(session.get_inputs()[0].shape[1:])
    return BoundSession(ort, session, NAME, precision, gpu.first_batch(shape, gpu.gpu().memory))


def on_device(graphs: Mapping[str, bytes], networks: Sequence[Session]) -> Device:
    """The GPU with a segmenter's graphs around its networks, so that only labels come back.

    Args:
        graphs: ONNX bytes of the bundle's device graphs, already verified.
        networks: From `open_session`, one a fold.
    """
    patch = networks[0].spec.input_shape[1:]
    return Device(
        {name: OrtGraph(content, "cuda", SETTINGS) for name, content in graphs.items()},
        [cast(BufferSession, network).between for network in networks],
        "cuda",
        gpu.gpu().memory // 10 * 9,
        math.prod(patch) * gpu.BYTES_A_VOXEL,
    )


def create(ort: Any, model: bytes, providers: list[Any]) -> Any:
    """An InferenceSession that fails where a node would fall back to the CPU.

    Raises:
        BackendError: If it does not open.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if providers != ["CPUExecutionProvider"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise ort_error("cannot load the network", error) from error


class BoundSession(Closing):
    """A network in ONNX Runtime whose input and output stay in memory of the device, allocated once a batch size."""

    def __init__(
        self, ort: Any, session: Any, device: str, precision: str, batch: int, memory: str = "cuda"
    ) -> None:
        """Wrap an InferenceSession.

        Args:
            memory: Where input and output are kept: ONNX Runtime's name of the device.
        """
        self._ort, self._session, self._memory = ort, session, memory
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        self._input, self._output = source.name, target.name
        self.spec = SessionSpec(tuple(source.shape[1:]), int(target.shape[1]), device, precision, batch)
        self._size = 0
        self._bound: Any = None
        self._source: Any = None
        self._target: Any = None

    def run(self, tiles: Float) -> Float:
        """See `Session.run`."""
        if self._session is None:
            raise BackendError("The session is closed; open the bundle again.")
        self.check(tiles)
        try:
            if len(tiles) != self._size:
                self._bind(len(tiles))
            self._source.update_inplace(np.ascontiguousarray(tiles))
            self._session.run_with_iobinding(self._bound)
            return np.array(self._target.numpy())  # a copy: on a CPU the buffer itself would be returned
        except Exception as error:
            self._release()
            raise ort_error(f"failed while running {len(tiles)} tile(s)", error) from error

    def between(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> None:
        """`image` → `logits`, both buffers of the device; see `device.graph.Graph`."""
        if self._session is None:
            raise BackendError("The session is closed; open the bundle again.")
        try:
            bound = self._session.io_binding()
            bound.bind_ortvalue_input(self._input, inputs["image"])
            bound.bind_ortvalue_output(self._output, outputs["logits"])
            bound.synchronize_inputs()
            self._session.run_with_iobinding(bound)
            bound.synchronize_outputs()
        except Exception as error:
            raise ort_error("failed on the device", error) from error

    def close(self) -> None:
        """Free the network and its buffers."""
        self._release()
        self._session = None

    def _bind(self, batch: int) -> None:
        self._release()
        heads, patch = self.spec.heads, self.spec.input_shape[1:]
        new = self._ort.OrtValue.ortvalue_from_shape_and_type
        self._source = new([batch, *self.spec.input_shape], np.float32, self._memory, 0)
        self._target = new([batch, heads, *patch], np.float32, self._memory, 0)
        self._bound = self._session.io_binding()
        self._bound.bind_ortvalue_input(self._input, self._source)
        self._bound.bind_ortvalue_output(self._output, self._target)
        self._size = batch

    def _release(self) -> None:
        self._size, self._bound, self._source, self._target = 0, None, None, None
