"""The half of the stand-in that builds plans."""

from enum import IntEnum
from typing import Any

import onnx


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1

    def log(self, severity: "ILogger.Severity", msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class OnnxParserFlag(IntEnum):
    NATIVE_INSTANCENORM = 0


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class BuilderFlag(IntEnum):
    TF32 = 7


class ComputeCapability(IntEnum):
    """Of TensorRT-RTX alone."""

    SM86 = 86
    SM89 = 89
    SM120 = 120


class ITensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class INetworkDefinition:
    def __init__(self) -> None:
        self.network, self.inputs = b"", list[ITensor]()

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]


class ITimingCache:
    def __init__(self, gpu: bytes) -> None:
        self.gpu = gpu

    def serialize(self) -> bytes:
        return self.gpu + b" timings"


class IOptimizationProfile:
    def __init__(self) -> None:
        self.largest = 0

    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:
        assert min[1:] == opt[1:] == max[1:] and min[0] <= opt[0] <= max[0]
        self.largest = max[0]


class ParserError:
    def desc(self) -> str:
        return "this is no ONNX file"


def _config_kind(library: Any) -> Any:
    """The class of configurations, bound to one library."""

    class IBuilderConfig:
        progress_monitor: IProgressMonitor | None = None

        def __init__(self) -> None:
            self.cache: ITimingCache | None = None
            self.profile = IOptimizationProfile()
            self.tf32 = True
            self.capability: int | None = None

        def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
            assert pool is MemoryPoolType.WORKSPACE
            library.workspace = pool_size

        def clear_flag(self, flag: BuilderFlag) -> None:
            assert flag is BuilderFlag.TF32
            self.tf32 = False

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            if library.fails("add_optimization_profile"):
                return -1
            self.profile = profile
            return 0

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            if library.fails("create_timing_cache") or serialized_timing_cache.startswith(b"damaged"):
                return None
            return ITimingCache(serialized_timing_cache.removesuffix(b" timings") or library.gpu)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            """False for the timings of another GPU, and `get_timing_cache` then gives None."""
            assert not ignore_mismatch
            if library.fails("set_timing_cache") or cache.gpu != library.gpu:
                return False
            self.cache = cache
            return True

        def get_timing_cache(self) -> ITimingCache | None:
            return self.cache

    class RtxBuilderConfig(IBuilderConfig):
        num_compute_capabilities = 0

        def set_compute_capability(self, compute_capability: int, index: int) -> None:
            assert index < self.num_compute_capabilities
            self.capability = compute_capability

    return RtxBuilderConfig if library.rtx else IBuilderConfig


def _builder_kind(library: Any, config_kind: Any) -> Any:
    """The class of builders, bound to one library."""

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            if library.fails("Builder"):
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            library.typed = bool(flags >> int(NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1)
            return INetworkDefinition()

        def create_builder_config(self) -> Any:
            return config_kind()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: Any) -> bytes | None:
            assert not config.tf32 and (config.capability is None) != library.rtx
            if library.fails("build_serialized_network"):
                self.logger.log(ILogger.Severity.INTERNAL_ERROR, "a failure made up by a test")
                return None
            if config.profile.largest > library.largest:
                words = "[executionContext.cpp] Error Code 2: OutOfMemory (out of memory)"
                self.logger.log(ILogger.Severity.ERROR, words)
                return None
            if config.progress_monitor is not None:
                config.progress_monitor.phase_start("build", None, 2)
                config.progress_monitor.step_complete("build", 0)
                config.progress_monitor.phase_finish("build")
            return bytes(library.plan(network.network, config.profile.largest))

    return Builder


def _parser_kind(library: Any) -> Any:
    """The class of parsers, bound to one library."""

    class OnnxParser:
        num_errors = 0

        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self.definition = network

        def set_flag(self, flag: OnnxParserFlag) -> None:
            assert flag is OnnxParserFlag.NATIVE_INSTANCENORM

        def parse(self, model: bytes, path: str | None = None) -> bool:
            if library.fails("parse"):
                self.num_errors = 1
                return False
            self.definition.network = model
            for value in onnx.load_from_string(model).graph.input:
                sizes = [size.dim_value or -1 for size in value.type.tensor_type.shape.dim]
                self.definition.inputs.append(ITensor(value.name, tuple(sizes)))
            return True

        def get_error(self, index: int) -> ParserError:
            assert index < self.num_errors
            return ParserError()

    return OnnxParser


def names(library: Any) -> dict[str, Any]:
    """The module's names, bound to one library."""
    config_kind = _config_kind(library)
    shared = [ILogger, IProgressMonitor, NetworkDefinitionCreationFlag, OnnxParserFlag, MemoryPoolType]
    shared += [BuilderFlag, ITensor, INetworkDefinition, ITimingCache, IOptimizationProfile, ParserError]
    shared += [ComputeCapability] if library.rtx else []
    bound = (_builder_kind(library, config_kind), _parser_kind(library))
    return {**{kind.__name__: kind for kind in (*shared, *bound)}, "IBuilderConfig": config_kind}
