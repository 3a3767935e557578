"""Kernel timings and lack of memory with full TensorRT, which is not to be had here: a stand-in with its names.

What the stand-in does is what NVIDIA's documentation says: a cache of another GPU gives False from
`set_timing_cache`, and `get_timing_cache` then gives None.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scanside.runtime.backends import engines, trt, trt_build
from scanside.runtime.backends.gpu import Gpu
from scanside.runtime.errors import DeviceMemoryError
from tests.support.sentences import assert_one_sentence

A4000 = Gpu("NVIDIA RTX A4000", "8.6", 16 << 30, "580.65", "13.0")
NAME = "tensorrt-11.4.0-NVIDIA-RTX-A4000-8.6-580.65.timings"


class Cache:
    def __init__(self, gpu: bytes) -> None:
        self.gpu = gpu

    def serialize(self) -> bytes:
        return self.gpu + b" timings"


class Config:
    """IBuilderConfig on an A4000; a batch above `largest` lacks memory."""

    def __init__(self, library: "Library") -> None:
        self.library, self.cache = library, None
        self.num_optimization_profiles = 0

    def create_timing_cache(self, data: bytes) -> Cache | None:
        if data.startswith(b"damaged"):
            return None
        return Cache(data.removesuffix(b" timings") or b"A4000")

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.gpu != b"A4000":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache

    def add_optimization_profile(self, profile: list[int]) -> int:
        self.library.batch = profile[-1]
        return 0

    def set_memory_pool_limit(self, kind: object, size: int) -> None:
        self.library.workspace = size

    def clear_flag(self, flag: object) -> None:
        """TF32."""


class Library:
    """The names of the module `tensorrt` that a build uses."""

    __version__ = "11.4.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    OnnxParserFlag = SimpleNamespace(NATIVE_INSTANCENORM=0)
    MemoryPoolType = SimpleNamespace(WORKSPACE=0)
    BuilderFlag = SimpleNamespace(TF32=0)

    def __init__(self, largest: int = 8) -> None:
        self.largest, self.batch, self.workspace, self.configs = largest, 0, 0, list[Config]()
        self.log = SimpleNamespace(errors=list[str]())

    def OnnxParser(self, definition: Any, log: Any) -> Any:
        return SimpleNamespace(set_flag=lambda flag: None, parse=lambda network: True)

    def Builder(self, log: Any) -> Any:
        return SimpleNamespace(
            create_network=lambda typed: SimpleNamespace(
                num_inputs=1, get_input=lambda index: SimpleNamespace(name="image", shape=(-1, 1, 8, 8, 8))
            ),
            create_builder_config=self._config,
            create_optimization_profile=lambda: Profile(),
            build_serialized_network=self._build,
        )

    def _config(self) -> Config:
        self.configs.append(Config(self))
        return self.configs[-1]

    def _build(self, definition: Any, config: Config) -> bytes | None:
        if self.batch > self.largest:
            self.log.errors.append("[executionContext.cpp] Error Code 2: OutOfMemory (out of memory)")
            return None
        return f"plan for {self.batch}".encode()


class Profile(list[int]):
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.extend(shape[0] for shape in shapes)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(trt.gpu, "find", lambda: A4000)
    sentences: list[str] = []
    with engines.announcing(sentences.append):
        yield sentences


def use(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setitem(sys.modules, "tensorrt", library)  # type: ignore[arg-type]
    monkeypatch.setattr(trt_build, "_log", lambda flavour: library.log)
    return library


def test_timings_are_kept_by_library_gpu_and_driver(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use(Library(), monkeypatch)
    assert trt.FULL._build(b"network").batch == 8
    assert engines.recall(NAME) == b"A4000 timings" and not said
    assert [path.name for path in engines.folder().iterdir()] == [NAME]  # whole: nothing else is left


@pytest.mark.parametrize("foreign", [b"RTX 4090 timings", b"damaged"])
def test_timings_that_the_library_refuses_are_made_anew(
    foreign: bytes, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an AttributeError after a build of minutes."""
    use(Library(), monkeypatch)
    engines.remember(NAME, foreign)
    assert trt.FULL._build(b"network").plan == b"plan for 8"
    assert "refused by the library" in said[-1] and engines.recall(NAME) == b"A4000 timings"


def test_the_batch_is_halved_until_it_builds(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    library = use(Library(largest=2), monkeypatch)
    built = trt.FULL._build(b"network")
    assert (built.plan, built.batch) == (b"plan for 2", 2)
    assert built.remark is not None and "2 tile(s) at once instead of 8" in built.remark
    assert "out of memory" in built.remark and [built.remark in sentence for sentence in said] == [
        False,
        True,
    ]
    assert library.workspace == 4 << 30


def test_a_card_too_small_for_one_tile(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use(Library(largest=0), monkeypatch)
    with pytest.raises(DeviceMemoryError) as caught:
        trt.FULL._build(b"network")
    assert_one_sentence(str(caught.value), "1 tile(s)", "4.0 GiB", "--device cpu")


def test_the_scratch_memory_follows_the_card() -> None:
    assert trt_build.workspace("tensorrt-rtx", 10 << 30) == 9 << 30
    assert trt_build.workspace("tensorrt", 8 << 30) == 2 << 30
    assert trt_build.workspace("tensorrt", 64 << 30) == 4 << 30
