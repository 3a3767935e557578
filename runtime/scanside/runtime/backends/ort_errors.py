"""ONNX Runtime's errors in a sentence."""

import re

from scanside.runtime.errors import BackendError, DeviceMemoryError

_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "alloc_failed", "cudaerrormemoryallocation")


def ort_error(what: str, error: Exception, lacked: bool = False) -> BackendError:
    """The sentence; an error of its own kind where memory lacks.

    Args:
        lacked: It is known that memory lacked, whatever the message says.
    """
    words = reason(str(error)) or type(error).__name__
    if lacked or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        return DeviceMemoryError(f"ONNX Runtime is out of device memory: it {what} ({words}).")
    return BackendError(f"ONNX Runtime {what} ({words}); see `scanside doctor`.")


def reason(text: str) -> str:
    """What CUDA, cuDNN or cuBLAS said and in which call; else the first line."""
    failure, call = re.search(r"CU\w+ (failure|error)[^;\n]*", text), re.search(r"expr=(\w[\w.>-]*)", text)
    if failure:
        return failure[0].strip().rstrip(".") + (f", in {call[1]}" if call else "")
    return next(iter(text.strip().splitlines()), "")[:300].rstrip(". ")
