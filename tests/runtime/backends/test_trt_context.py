"""The kernels that TensorRT-RTX compiles are kept between processes; the stand-in has the real library's names."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scanside.runtime.backends import engines
from scanside.runtime.backends.trt_context import Prepared, prepare


class Cache:
    """IRuntimeCache."""

    def __init__(self, accepts: bytes) -> None:
        self.accepts, self.kernels = accepts, b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(self.accepts):
            return False
        self.kernels = blob
        return True

    def serialize(self) -> bytes:
        return self.kernels


class Library:
    """TensorRT-RTX, and an engine of it: kernels of another driver are refused."""

    class ExecutionContextAllocationStrategy:
        USER_MANAGED = "user"

    class DynamicShapesKernelSpecializationStrategy:
        EAGER = "eager"

    def __init__(self, driver: bytes) -> None:
        self.driver, self.set, self.strategy = driver, list[Cache](), ""

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(
            set_execution_context_allocation_strategy=lambda strategy: None,
            create_runtime_cache=lambda: Cache(self.driver),
            set_runtime_cache=lambda cache: self.set.append(cache) is None,
        )

    def create_execution_context(self, config: Any) -> str:
        self.strategy = config.dynamic_shapes_kernel_specialization_strategy
        return "context"

    def run(self, batch: int) -> None:
        """Compile kernels for a shape that is new."""
        kernel = b"%s:%d;" % (self.driver, batch)
        cache = self.set[-1]
        if kernel not in cache.kernels:
            cache.kernels += kernel


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences: list[str] = []
    with engines.announcing(sentences.append):
        yield sentences


def opened(library: Library) -> Prepared:
    return prepare(library, library, "one.kernels")


def test_kernels_are_kept_at_the_first_run_of_each_batch_and_read_in_the_next_process() -> None:
    library = Library(b"580")
    session = opened(library)
    assert library.strategy == "eager" and engines.recall("one.kernels") is None
    for batch in (8, 8, 3):
        library.run(batch)
        session.keep(batch)
    assert engines.recall("one.kernels") == b"580:8;580:3;"
    session.close()
    again = Library(b"580")
    opened(again)
    assert again.set[-1].kernels == b"580:8;580:3;"


def test_kernels_that_did_not_change_are_not_written_again() -> None:
    library = Library(b"580")
    session = opened(library)
    library.run(8)
    session.keep(8)
    file = engines.folder() / "one.kernels"
    before = file.stat().st_ino
    for one in (session, opened(library)):
        one.keep(8)
    assert file.stat().st_ino == before


def test_kernels_that_the_library_refuses_are_compiled_anew_and_said(said: list[str]) -> None:
    engines.remember("one.kernels", b"570:8;")
    library = Library(b"580")
    session = opened(library)
    assert library.set[-1].kernels == b"" and "refused by the library" in said[-1]
    library.run(8)
    session.keep(8)
    assert engines.recall("one.kernels") == b"580:8;"


def test_the_names_are_those_of_the_real_library() -> None:
    real = pytest.importorskip("tensorrt_rtx_bindings")
    for name in ("create_runtime_cache", "set_runtime_cache", "set_execution_context_allocation_strategy"):
        assert hasattr(real.IRuntimeConfig, name)
    assert hasattr(real.IRuntimeCache, "deserialize") and hasattr(real.IRuntimeCache, "serialize")
