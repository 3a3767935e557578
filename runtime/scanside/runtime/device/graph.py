"""An ONNX graph whose inputs and outputs stay where they are: on the device, in buffers that are allocated once."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from scanside.runtime.backends.session import Session
from scanside.runtime.errors import BackendError, DeviceMemoryError, ProviderMismatchError

Buffer = Any
"""`onnxruntime.OrtValue`."""
_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "alloc_failed", "cudaerrormemoryallocation")


class Graph(Protocol):
    """Something that computes outputs from inputs in place."""

    def __call__(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> None:
        """Run once; shapes are those of the buffers."""


class OrtGraph:
    """A graph in ONNX Runtime, under one provider."""

    def __init__(
        self, model: bytes, device: str = "cpu", options: Mapping[str, object] | None = None
    ) -> None:
        """Open it.

        Args:
            model: The ONNX file's bytes, already verified.
            device: `cpu` or `cuda`.
            options: Of the provider; for parity `use_tf32` must be 0.

        Raises:
            BackendError: If it does not load, or another provider was obtained.
        """
        import onnxruntime as ort

        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.enable_cpu_mem_arena = False
        try:
            self._session = ort.InferenceSession(model, settings, providers=[(provider, dict(options or {}))])
        except Exception as error:  # onnxruntime raises its own types, all outside one tree
            raise BackendError(f"ONNX Runtime cannot load a device graph ({error}); re-export it.") from error
        if self._session.get_providers()[0] != provider:
            raise ProviderMismatchError(
                f"Asked ONNX Runtime for {provider}, obtained {self._session.get_providers()}."
            )

    def __call__(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> None:
        """See `Graph`."""
        binding = self._session.io_binding()
        for name, buffer in inputs.items():
            binding.bind_ortvalue_input(name, buffer)
        for name, buffer in outputs.items():
            binding.bind_ortvalue_output(name, buffer)
        try:
            binding.synchronize_inputs()
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:
            raise ort_error("failed in a device graph", error) from error


class HostNetwork:
    """Any `Session` as a network between buffers of the host: for devices that have no buffers of their own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> None:
        """`image` → `logits`."""
        outputs["logits"].update_inplace(self._session.run(inputs["image"].numpy()))


def upload(values: npt.NDArray[Any], device: str) -> Buffer:
    """An array as a buffer on the device."""
    import onnxruntime as ort

    try:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), device, 0)
    except Exception as error:
        raise ort_error("cannot make a buffer", error) from error


def empty(shape: tuple[int, ...], kind: Any, device: str) -> Buffer:
    """A buffer on the device, its content undefined."""
    import onnxruntime as ort

    try:
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), kind, device, 0)
    except Exception as error:
        raise ort_error("cannot make a buffer", error) from error


def ort_error(what: str, error: Exception) -> BackendError:
    """An error of ONNX Runtime in a sentence; one of its own kind where memory lacks."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    words = lines[0][:300].rstrip(". ")
    if any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        return DeviceMemoryError(f"ONNX Runtime is out of device memory: it {what} ({words}).")
    return BackendError(f"ONNX Runtime {what} ({words}); see `scanside doctor`.")
