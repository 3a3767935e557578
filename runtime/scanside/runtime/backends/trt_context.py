"""The execution context of a TensorRT engine, and the kernels that TensorRT-RTX compiled for it.

TensorRT-RTX compiles an engine's kernels when a shape is first run, which takes seconds. They are kept beside the
engine, under the same facts, so that the next process has them; the library itself compares its version, the GPU and
the driver before it takes them.
"""

from dataclasses import dataclass, field
from typing import Any

from scanside.runtime.backends import engines
from scanside.runtime.errors import BackendError


@dataclass
class Prepared:
    """An execution context whose memory is ours.

    Attributes:
        context: `IExecutionContext`; None after `close`.
        cache: `IRuntimeCache` of TensorRT-RTX, or None.
        name: Name of the kernels in the engine cache, or None.
    """

    context: Any
    cache: Any = None
    name: str | None = None
    _kept: bytes = b""
    _batches: set[int] = field(default_factory=set)

    def keep(self, batch: int) -> None:
        """Keep what was compiled for a batch, once it has run: the kernels of a process that is killed are not lost."""
        if self.cache is None or self.name is None or batch in self._batches:
            return
        self._batches.add(batch)
        data = bytes(self.cache.serialize())
        if data != self._kept:
            engines.remember(self.name, data)
            self._kept = data

    def close(self) -> None:
        """Free the context and the kernels."""
        self.context = self.cache = None


def prepare(library: Any, engine: Any, kernels: str | None) -> Prepared:
    """An execution context of an engine.

    Args:
        library: The module `tensorrt` or `tensorrt_rtx_bindings`.
        engine: ICudaEngine.
        kernels: Name in the engine cache for the compiled kernels; None keeps none.

    Raises:
        BackendError: If the library gives none.
    """
    own = library.ExecutionContextAllocationStrategy.USER_MANAGED
    specialisation = getattr(library, "DynamicShapesKernelSpecializationStrategy", None)
    cache, kept = None, b""
    if specialisation is None:
        context = engine.create_execution_context(own)
    else:
        # TensorRT-RTX by default runs stand-in kernels until those for the shape are compiled in the background: the
        # golden cases would judge kernels that are not those of the next case.
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(own)
        config.dynamic_shapes_kernel_specialization_strategy = specialisation.EAGER
        if kernels is not None:
            cache, kept = _cache(config, kernels)
        context = engine.create_execution_context(config)
    if context is None:
        raise BackendError("The engine cannot be prepared for running; run `scanside doctor`.")
    return Prepared(context, cache, kernels, kept)


def _cache(config: Any, name: str) -> tuple[Any, bytes]:
    """The runtime cache of a context, filled with what is kept; None where the library takes none."""
    cache, kept = config.create_runtime_cache(), engines.recall(name) or b""
    if kept and not cache.deserialize(kept):
        engines.announce(f"{name} in the engine cache is refused by the library; kernels are compiled anew")
        cache, kept = config.create_runtime_cache(), b""
    return (cache, kept) if config.set_runtime_cache(cache) else (None, b"")
