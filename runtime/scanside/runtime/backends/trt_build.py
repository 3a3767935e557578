"""ONNX network → TensorRT plan, with `tensorrt` (10.3 to 11.x) or `tensorrt-rtx` (1.7): one code, they share the API.

The network is strongly typed: precision is what the graph says, layer by layer. Full TensorRT times kernels on the GPU
it builds for; TensorRT-RTX builds ahead of time without one, and compiles its kernels when the plan is first run.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

from scanside.runtime.backends import engines
from scanside.runtime.backends.trt_progress import monitor
from scanside.runtime.errors import BackendError, DeviceMemoryError

LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
"""Flavour → Python module. `pip install tensorrt-rtx` brings the second one, whatever the CUDA version."""
_GIB = 1 << 30
_TOO_LITTLE = ("outofmemory", "out of memory", "insufficient memory", "insufficient workspace")
"""How the libraries say that memory lacks, in lower case."""


def workspace(flavour: str, memory: int) -> int:
    """Bytes of scratch memory that a plan for a GPU may use.

    TensorRT-RTX counts everything between input and output as scratch: nine tenths of the GPU. For full TensorRT it is
    what a single kernel may take beside that: a quarter, at most 4 GiB.

    Args:
        memory: Of the whole GPU, bytes: what is free changes from start to start, and would make another engine.
    """
    return memory // 10 * 9 if flavour == "tensorrt-rtx" else min(memory // 4, 4 * _GIB)


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
    scratch: int = 4 * _GIB,
    progress: Callable[[float], None] | None = None,
    timings: str | None = None,
) -> bytes:
    """Build a plan.

    Args:
        network: ONNX, every axis fixed but the first of its inputs.
        flavour: `tensorrt` or `tensorrt-rtx`.
        batch: Largest size of the first axis; the plan takes 1 to `batch` and is tuned for 1, which a 3-D patch
            fills a GPU with, and which needs the least memory to tune.
        capability: Compute capability to build for, such as `8.9` (TensorRT-RTX); None for the GPU that is here.
        scratch: Bytes of scratch memory; see `workspace`.
        progress: Told the part that is done, 0 to 1, never falling.
        timings: Name in the engine cache of this library's and GPU's kernel timings; TensorRT-RTX times none.

    Raises:
        DeviceMemoryError: If the batch needs more scratch memory.
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
    definition = _parsed(lib, builder, log, network, flavour)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(lib.MemoryPoolType.WORKSPACE, scratch)
    config.clear_flag(lib.BuilderFlag.TF32)  # on by default: ten bits of mantissa are not float32
    _target(lib, config, flavour, capability)
    _profile(builder, config, definition, batch)
    if progress is not None and hasattr(config, "progress_monitor"):
        config.progress_monitor = monitor(lib, progress)
    if timings is not None:
        _give_timings(config, timings)
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        raise _no_plan(log, flavour, batch, scratch)
    if timings is not None:
        _keep_timings(config, timings)
    return bytes(plan)


def _parsed(lib: Any, builder: Any, log: Any, network: bytes, flavour: str) -> Any:
    """The network's definition, strongly typed."""
    typed = 1 << int(lib.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    definition = builder.create_network(typed)
    parser = lib.OnnxParser(definition, log)
    parser.set_flag(lib.OnnxParserFlag.NATIVE_INSTANCENORM)
    if not parser.parse(network):
        why = parser.get_error(0).desc() if parser.num_errors else _last(log)
        raise BackendError(f"{flavour} does not take the network ({_one_line(why)}); re-export it.")
    return definition


def _no_plan(log: Any, flavour: str, batch: int, scratch: int) -> BackendError:
    """Why there is none, by the library's first complaint."""
    if _lacks_memory(log):
        return DeviceMemoryError(
            f"{flavour} cannot build the network for {batch} tile(s) at once in {scratch / _GIB:.1f} GiB of scratch "
            f"memory ({_last(log)}); use a GPU with more memory, or --device cpu."
        )
    return BackendError(f"{flavour} cannot build the network ({_last(log)}); re-export it.")


def build_largest(
    network: bytes,
    flavour: str,
    batch: int,
    memory: int,
    *,
    capability: str | None = None,
    progress: Callable[[float], None] | None = None,
    timings: str | None = None,
) -> engines.Built:
    """Build a plan for as many tiles as a GPU's memory takes: `batch`, or a half, a quarter of it.

    Args:
        memory: Of the whole GPU, bytes.

    Raises:
        DeviceMemoryError: If not even one tile can be built for.
        BackendError: See `build`.
    """
    scratch, asked, remark = workspace(flavour, memory), batch, None
    while True:
        try:
            plan = build(
                network,
                flavour,
                batch=batch,
                capability=capability,
                scratch=scratch,
                progress=progress,
                timings=timings,
            )
            return engines.Built(plan, batch, remark)
        except DeviceMemoryError:
            if batch == 1:
                raise
            remark = (
                f"built for {batch // 2} tile(s) at once instead of {asked}: {batch} need more than "
                f"{scratch / _GIB:.1f} GiB of scratch memory ({_last(_log(flavour))})"
            )
            engines.announce(f"{flavour}: {remark}")
            batch //= 2


def _give_timings(config: Any, name: str) -> None:
    """Give the builder the kernel timings that are kept, or none where it refuses them."""
    known = engines.recall(name)
    kept = config.create_timing_cache(known) if known else None
    if kept is not None and config.set_timing_cache(kept, False):
        return
    if known:
        engines.announce(f"{name} in the engine cache is refused by the library; kernels are timed anew")
    empty = config.create_timing_cache(b"")
    if empty is not None:
        config.set_timing_cache(empty, False)


def _keep_timings(config: Any, name: str) -> None:
    found = config.get_timing_cache()
    if found is not None:
        engines.remember(name, bytes(found.serialize()))


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


def _lacks_memory(log: Any) -> bool:
    return any(words in error.lower() for error in log.errors for words in _TOO_LITTLE)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(". ")


def deserialise(plan: bytes, flavour: str) -> Any:
    """The engine of a plan of this very machine, or None where the library does not take it.

    Only for plans out of `engines.obtain`: a plan is native code.

    Raises:
        BackendError: If the library does not run here at all.
    """
    try:
        runtime = _runtime(flavour)
    except TypeError as error:  # the bindings, for a null pointer
        raise BackendError(f"{flavour} does not run on this GPU ({error}); see `scanside doctor`.") from error
    return runtime.deserialize_cuda_engine(plan)


@cache
def _runtime(flavour: str) -> Any:
    """The one runtime of a flavour: it has to outlive its engines."""
    return library(flavour).Runtime(_log(flavour))
