"""ONNX network → TensorRT plan, with `tensorrt` (10.3 to 11.x) or `tensorrt-rtx` (1.7): one code, they share the API.

The network is strongly typed: precision is what the graph says, layer by layer. Full TensorRT times kernels on the GPU
it builds for; TensorRT-RTX builds ahead of time without one, and compiles its kernels when the plan is first run.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from scanside.runtime.errors import BackendError

LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
"""Flavour → Python module. `pip install tensorrt-rtx` brings the second one, whatever the CUDA version."""
WORKSPACE = 4 << 30
"""Bytes of scratch memory that the kernels of one plan may use, where nobody says otherwise."""


def installed(flavour: str) -> bool:
    """Whether the library of a flavour can be found; does not load it."""
    return importlib.util.find_spec(LIBRARIES[flavour]) is not None


def library(flavour: str) -> Any:
    """The library of a flavour, loaded.

    Raises:
        BackendError: If it is not installed or does not load.
    """
    try:
        return importlib.import_module(LIBRARIES[flavour])
    except (
        Exception
    ) as error:  # a missing or foreign shared library raises OSError, ImportError or RuntimeError
        raise BackendError(
            f"The library {flavour} does not load ({error}); see `scanside doctor`."
        ) from error


def capabilities(flavour: str) -> tuple[str, ...]:
    """Compute capabilities, such as `8.9`, that the library builds for without their GPU; none for full TensorRT."""
    targets = getattr(library(flavour), "ComputeCapability", None)
    names = [name for name in getattr(targets, "__members__", ()) if name.startswith("SM")]
    return tuple(f"{name[2:-1]}.{name[-1]}" for name in sorted(names, key=lambda name: int(name[2:])))


def build(
    network: bytes,
    flavour: str,
    *,
    batch: int = 1,
    capability: str | None = None,
    workspace: int = WORKSPACE,
    progress: Callable[[float], None] | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """Build a plan.

    Args:
        network: ONNX, every axis fixed but the first of its inputs.
        flavour: `tensorrt` or `tensorrt-rtx`.
        batch: Largest size of the first axis; the plan takes 1 to `batch` and is tuned for 1, which a 3-D patch
            fills a GPU with, and which needs the least memory to tune.
        capability: Compute capability to build for, such as `8.9` (TensorRT-RTX); None for the GPU that is here.
        workspace: Bytes of scratch memory.
        progress: Told the part that is done, 0 to 1, never falling.
        timing_cache: File of kernel timings, read where it exists and written afterwards; TensorRT-RTX times none.

    Raises:
        BackendError: If the library is not there, cannot build for that GPU, or refuses the network.
    """
    lib, log = library(flavour), _log(flavour)
    log.errors.clear()
    try:
        builder = lib.Builder(log)
    except Exception as error:
        raise BackendError(
            f"{flavour} finds no GPU to build for ({error}); see `scanside doctor`."
        ) from error
    typed = 1 << int(lib.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    definition = builder.create_network(typed)
    parser = lib.OnnxParser(definition, log)
    parser.set_flag(lib.OnnxParserFlag.NATIVE_INSTANCENORM)
    if not parser.parse(network):
        why = parser.get_error(0).desc() if parser.num_errors else _last(log)
        raise BackendError(f"{flavour} does not take the network ({_one_line(why)}); re-export it.")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(lib.MemoryPoolType.WORKSPACE, workspace)
    config.clear_flag(lib.BuilderFlag.TF32)  # on by default: ten bits of mantissa are not float32
    _target(lib, config, flavour, capability)
    _profile(builder, config, definition, batch)
    if progress is not None and hasattr(config, "progress_monitor"):
        config.progress_monitor = _monitor(lib, progress)
    if flavour == "tensorrt-rtx":
        timing_cache = None
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(known), False)
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        raise BackendError(f"{flavour} cannot build the network ({_last(log)}); re-export it.")
    if timing_cache is not None:
        timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _target(lib: Any, config: Any, flavour: str, capability: str | None) -> None:
    if capability is None:
        return
    able = capabilities(flavour)
    if capability not in able:
        how = f"it builds for {', '.join(able)}" if able else "it builds only on the GPU it is for"
        raise BackendError(f"{flavour} cannot build for compute capability {capability}; {how}.")
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(lib.ComputeCapability, f"SM{capability.replace('.', '')}"), 0)


def _profile(builder: Any, config: Any, definition: Any, batch: int) -> None:
    """The range of the first axis, where it is free."""
    profile, free = builder.create_optimization_profile(), False
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        first, *rest = tuple(tensor.shape)
        if -1 in rest:
            raise BackendError(f"The network's input '{tensor.name}' has no fixed shape; re-export it.")
        if first == -1:
            free = True
            profile.set_shape(tensor.name, (1, *rest), (1, *rest), (batch, *rest))
    if free and config.add_optimization_profile(profile) < 0:
        raise BackendError(f"The library refuses a batch of 1 to {batch}; re-export the network.")


@cache
def _log(flavour: str) -> Any:
    """The one logger of a flavour: the library keeps the first it is given for the life of the process."""
    base: Any = library(flavour).ILogger

    class Log(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (base.Severity.ERROR, base.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def _last(log: Any) -> str:
    """The library's first complaint: those that follow are its consequences."""
    return _one_line(log.errors[0]) if log.errors else "it gives no reason"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(". ")


def _monitor(lib: Any, progress: Callable[[float], None]) -> Any:
    """A progress monitor that turns the library's nested phases into one part of the whole."""

    class Monitor(lib.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.phases: dict[str, tuple[str | None, int, int]] = {}
            self.told = -1.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (parent, max(steps, 1), 0)
            self._tell()

        def step_complete(self, name: str, step: int) -> bool:
            parent, steps, _ = self.phases[name]
            self.phases[name] = (parent, steps, step + 1)
            self._tell()
            return True

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)
            if not self.phases:
                progress(1.0)

        def _tell(self) -> None:
            part, weight, phase = 0.0, 1.0, None
            while True:
                inner = [(name, row) for name, row in self.phases.items() if row[0] == phase]
                if not inner:
                    break
                phase, (_, steps, done) = inner[-1]
                part += weight * min(done, steps) / steps
                weight /= steps
            if self.told < part < 1:
                self.told = part
                progress(part)

    return Monitor()


def deserialise(plan: bytes, flavour: str) -> Any:
    """The engine of a plan of this very machine, or None where the library does not take it.

    Only for plans out of `engines.obtain`: a plan is native code.
    """
    return _runtime(flavour).deserialize_cuda_engine(plan)


@cache
def _runtime(flavour: str) -> Any:
    """The one runtime of a flavour: it has to outlive its engines."""
    return library(flavour).Runtime(_log(flavour))
