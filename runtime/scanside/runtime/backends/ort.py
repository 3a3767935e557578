"""ONNX Runtime on the CPU."""

import importlib.util
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from scanside.runtime.arrays import Float32
from scanside.runtime.backends.session import Closing, Session, SessionSpec
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import BackendError, ProviderMismatchError
from scanside.runtime.extras import install_command

NAME = "cpu"
TITLE = "ONNX Runtime, CPU"
FILES: dict[str, FilePrecision] = {"fp32": "fp32", "mixed": "mixed"}
ON_TRIAL = False
on_device = None
kept = None
PROVIDER = "CPUExecutionProvider"


def missing() -> tuple[str, str] | None:
    """Why this backend cannot be used here and how to mend it, or None."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed", install_command("cpu")
    return None


def version() -> str:
    """Version of the ONNX Runtime that is imported, which may be the one for GPUs."""
    place = folder()
    for package in ("onnxruntime", "onnxruntime-gpu"):
        for found in distributions(name=package, path=[str(place)]):
            return f"onnxruntime {found.version}"
    return "onnxruntime, version unknown"


def folder() -> Path | None:
    """Folder of Python's path whose onnxruntime is imported, or None."""
    spec = importlib.util.find_spec("onnxruntime")
    places = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(place).parent for place in places), None)


def open_session(model: bytes, precision: str, threads: int | None = None) -> Session:
    """Open an ONNX model.

    Args:
        model: The ONNX file's bytes, already verified.
        precision: `fp32` or `mixed`; for `mixed` the model itself holds the float16 parts.
        threads: Threads of one run; None for one a core.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    # The arena keeps the largest working set of every shape seen; one fixed patch shape gains nothing from it.
    options.enable_cpu_mem_arena = False
    if threads:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(model, options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime raises its own types, all outside one tree
        raise BackendError(
            f"ONNX Runtime cannot load the network ({_first_line(error)}); re-export it."
        ) from error
    if session.get_providers() != [PROVIDER]:
        raise ProviderMismatchError(f"Asked ONNX Runtime for {PROVIDER}, obtained {session.get_providers()}.")
    return OrtSession(session, precision)


class OrtSession(Closing):
    """A network in ONNX Runtime."""

    def __init__(self, session: Any, precision: str) -> None:
        self._session: Any = session
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        self._input, self._output = source.name, target.name
        self.spec = SessionSpec(tuple(source.shape[1:]), int(target.shape[1]), NAME, precision)

    def run(self, tiles: Float32) -> Float32:
        """See `Session.run`."""
        if self._session is None:
            raise BackendError("The session is closed; open the bundle again.")
        self.check(tiles)
        try:
            result: Float32 = self._session.run([self._output], {self._input: tiles})[0]
        except Exception as error:
            raise BackendError(
                f"ONNX Runtime failed while running the network ({_first_line(error)})."
            ) from error
        return result

    def close(self) -> None:
        """Free the network."""
        self._session = None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
