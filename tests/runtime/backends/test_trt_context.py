"""The kernels that TensorRT-RTX compiles are kept between processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.backends import engines
from scanside.runtime.backends.trt_context import Prepared, prepare
from tests.support.fake_tensorrt import Library, network


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences: list[str] = []
    with engines.announcing(sentences.append):
        yield sentences


def opened(**fields: set[str]) -> Prepared:
    """In a process of its own, as it were; the stand-in asserts that no stand-in kernels are asked for."""
    library = Library("1.7.1.116", gpu=b"A4000", **fields)
    module = library.module()
    engine = module.Runtime(None).deserialize_cuda_engine(library.plan(network(), 8))
    return prepare(module, engine, "one.kernels")


def run(session: Prepared, batch: int) -> None:
    session.cache.compile(batch)
    session.keep(batch)


def test_kernels_are_kept_at_the_first_run_of_each_batch_and_read_in_the_next_process() -> None:
    session = opened()
    assert engines.recall("one.kernels") is None
    for batch in (8, 8, 3):
        run(session, batch)
    assert engines.recall("one.kernels") == b"A4000:8;A4000:3;"
    session.close()
    assert opened().cache.kernels == b"A4000:8;A4000:3;"


def test_kernels_that_did_not_change_are_not_written_again() -> None:
    session = opened()
    run(session, 8)
    file = engines.folder() / "one.kernels"
    before = file.stat().st_ino
    for one in (session, opened()):
        one.keep(8)
    assert file.stat().st_ino == before


def test_kernels_that_the_library_refuses_are_compiled_anew_and_said(said: list[str]) -> None:
    engines.remember("one.kernels", b"RTX 4090:8;")
    session = opened()
    assert session.cache.kernels == b"" and "refused by the library" in said[-1]
    run(session, 8)
    assert engines.recall("one.kernels") == b"A4000:8;"


def test_a_context_that_takes_no_cache_keeps_nothing() -> None:
    session = opened(failing={"set_runtime_cache"})
    assert session.context is not None and session.cache is None
    session.keep(8)
    assert engines.recall("one.kernels") is None
