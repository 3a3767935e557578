"""ONNX Runtime's errors in a sentence."""

from scanside.runtime.errors import BackendError, DeviceMemoryError

_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "alloc_failed", "cudaerrormemoryallocation")


def ort_error(what: str, error: Exception, lacked: bool = False) -> BackendError:
    """The sentence; an error of its own kind where memory lacks.

    Args:
        lacked: It is known that memory lacked, whatever the message says.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    words = lines[0][:300].rstrip(". ")
    if lacked or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        return DeviceMemoryError(f"ONNX Runtime is out of device memory: it {what} ({words}).")
    return BackendError(f"ONNX Runtime {what} ({words}); see `scanside doctor`.")
