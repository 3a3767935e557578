"""Kernel timings and lack of memory with full TensorRT, by a stand-in that does what NVIDIA's documentation says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.backends import engines, trt, trt_build
from scanside.runtime.errors import BackendError, DeviceMemoryError
from tests.support.fake_tensorrt import VERSIONS, Library, network
from tests.support.fake_tensorrt.installed import Machine
from tests.support.sentences import assert_one_sentence

NAME = "tensorrt-11.4.0.106-NVIDIA-RTX-A4000-8.6-580.65.timings"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences: list[str] = []
    with engines.announcing(sentences.append):
        yield sentences


def build() -> engines.Built:
    return trt.FULL._build(network())


def batch_of(built: engines.Built) -> int:
    """As the plan says."""
    found: int = json.loads(built.plan.partition(b"\n")[0])["batch"]
    return found


@pytest.mark.parametrize("version", [version for version, name in VERSIONS.items() if name == "tensorrt"])
def test_a_network_is_strongly_typed_in_every_version(
    version: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT 10 types weakly unless it is told: layers then take the precision that is fastest."""
    machine = Machine(Library(version), monkeypatch)
    assert batch_of(build()) == 8 and machine.library.typed


def test_timings_are_kept_by_library_gpu_and_driver(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(Library(), monkeypatch)
    assert build().batch == 8
    assert engines.recall(NAME) == b"A4000 timings" and "refused" not in "".join(said)
    assert [path.name for path in engines.folder().iterdir()] == [NAME]  # whole: nothing else is left


@pytest.mark.parametrize("foreign", [b"RTX 4090 timings", b"damaged"])
def test_timings_that_the_library_refuses_are_made_anew(
    foreign: bytes, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an AttributeError after a build of minutes."""
    Machine(Library(), monkeypatch)
    engines.remember(NAME, foreign)
    assert batch_of(build()) == 8
    assert "refused by the library" in said[0] and engines.recall(NAME) == b"A4000 timings"


@pytest.mark.parametrize("call", ["create_timing_cache", "set_timing_cache"])
def test_a_library_that_takes_no_timings_at_all_builds(
    call: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(Library(failing={call}), monkeypatch)
    assert batch_of(build()) == 8 and engines.recall(NAME) is None


@pytest.mark.parametrize("call", ["Builder", "parse", "add_optimization_profile", "build_serialized_network"])
def test_a_build_that_fails_is_one_sentence(
    call: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(Library(failing={call}), monkeypatch)
    with pytest.raises(BackendError) as caught:
        build()
    assert_one_sentence(str(caught.value))
    assert caught.value.exit_code == 4 and not isinstance(caught.value, DeviceMemoryError)


def test_the_batch_is_halved_until_it_builds(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(Library(largest=2), monkeypatch)
    built = build()
    assert batch_of(built) == built.batch == 2
    assert built.remark is not None and "2 tile(s) at once instead of 8" in built.remark
    assert "out of memory" in built.remark and sum(built.remark in sentence for sentence in said) == 1
    assert machine.library.workspace == 4 << 30


def test_a_card_too_small_for_one_tile(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(Library(largest=0), monkeypatch)
    with pytest.raises(DeviceMemoryError) as caught:
        build()
    assert_one_sentence(str(caught.value), "1 tile(s)", "4.0 GiB", "--device cpu")


def test_the_scratch_memory_follows_the_card() -> None:
    assert trt_build.workspace("tensorrt-rtx", 10 << 30) == 9 << 30
    assert trt_build.workspace("tensorrt", 8 << 30) == 2 << 30
    assert trt_build.workspace("tensorrt", 64 << 30) == 4 << 30
