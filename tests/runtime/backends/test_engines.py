"""The cache of engines, with the real library: what it keeps, what it refuses, and that it says so.

Engines are built for a GPU that is not here; nothing in this file runs one.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scanside.runtime.backends import engines, trt_build
from scanside.runtime.backends.engines import Built, Facts
from scanside.runtime.errors import BackendError
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import model

pytestmark = [
    pytest.mark.requirement("engine-proven"),
    pytest.mark.skipif(
        not trt_build.installed("tensorrt-rtx"),
        reason="tensorrt-rtx is not installed: pip install 'scanside[rtx]'",
    ),
]
FACTS = Facts(
    network="a" * 64,
    library="tensorrt-rtx 1.7.1.116",
    gpu="NVIDIA GeForce RTX 4090",
    capability="8.9",
    memory=24 << 30,
    driver="580.65",
    cuda="13.0",
    precision="fp32",
    profile="batch 1 to 8",
)


@pytest.fixture(scope="module")
def plan() -> bytes:
    return trt_build.build(model("3d", "fp32"), "tensorrt-rtx", batch=8, capability="8.9")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences: list[str] = []
    with engines.announcing(sentences.append):
        yield sentences


class Builder:
    """Counts how often an engine had to be built."""

    def __init__(self, plan: bytes) -> None:
        self.plan, self.built = plan, 0

    def __call__(self) -> Built:
        self.built += 1
        return Built(self.plan, 4, "built for 4 tile(s) at once instead of 8")


@pytest.fixture
def build(plan: bytes, said: list[str]) -> Builder:
    return Builder(plan)


def files() -> tuple[Path, Path]:
    """The plan and its sidecar."""
    return next(engines.folder().glob("*.plan")), next(engines.folder().glob("*.json"))


def test_an_engine_is_built_once_and_kept_for_its_user_alone(build: Builder, said: list[str]) -> None:
    first = engines.obtain(FACTS, build)
    assert build.built == 1 and "Building" in said[0] and FACTS.gpu in said[0]
    second = engines.obtain(FACTS, build)
    assert first.remark == "built for 4 tile(s) at once instead of 8"
    assert build.built == 1 and second == first and engines.kept(FACTS) == first.sha256
    assert engines.folder().stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in engines.folder().iterdir())
    assert {path.suffix for path in engines.folder().iterdir()} == {".plan", ".json"}


@pytest.mark.parametrize(
    "change",
    [
        {"network": "b" * 64},
        {"library": "tensorrt-rtx 1.8.0"},
        {"gpu": "NVIDIA GeForce RTX 5090"},
        {"capability": "12.0"},
        {"memory": 16 << 30},
        {"driver": "590.1"},
        {"cuda": "13.1"},
        {"precision": "mixed"},
        {"profile": "batch 1 to 4"},
        {"system": "Linux aarch64"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_fact_is_another_engine(change: dict[str, str | int], build: Builder) -> None:
    engines.obtain(FACTS, build)
    other = replace(FACTS, **change)  # type: ignore[arg-type]
    assert engines.kept(other) is None
    engines.obtain(other, build)
    assert build.built == 2


def test_it_is_said_what_changed(build: Builder, said: list[str]) -> None:
    engines.obtain(FACTS, build)
    engines.obtain(replace(FACTS, driver="590.1"), build)
    assert "driver 580.65 there, 590.1 here" in said[-1]


def test_an_engine_renamed_to_this_machine_is_refused(build: Builder, said: list[str]) -> None:
    there = replace(FACTS, gpu="NVIDIA RTX A4000", capability="8.6")
    engines.obtain(there, build)
    (engines.folder() / f"{there.key}.json").rename(engines.folder() / f"{FACTS.key}.json")
    engines.obtain(FACTS, build)
    assert build.built == 2
    assert "refused" in said[-1] and "NVIDIA RTX A4000 there" in said[-1]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda data: flip(data), "sha256 differs"),
        (lambda data: data[:-100], "truncated"),
        (lambda data: b"", "truncated"),
        (lambda data: data + b"more", "truncated"),
    ],
    ids=["one bit", "cut", "empty", "longer"],
)
def test_a_plan_that_was_touched_is_refused_and_built_anew(
    harm: object, words: str, build: Builder, said: list[str]
) -> None:
    engines.obtain(FACTS, build)
    path, _ = files()
    path.write_bytes(harm(path.read_bytes()))  # type: ignore[operator]
    assert engines.kept(FACTS) is None
    engines.obtain(FACTS, build)
    assert build.built == 2 and "refused" in said[-1] and words in said[-1]
    assert engines.kept(FACTS) is not None


@pytest.mark.parametrize(
    "sidecar",
    ["", "{", "[]", "{}", '{"schema": "scanside.engine/2"}', "null"],
    ids=lambda text: text or "empty",
)
def test_a_damaged_sidecar(sidecar: str, build: Builder, said: list[str]) -> None:
    engines.obtain(FACTS, build)
    files()[1].write_text(sidecar)
    engines.obtain(FACTS, build)
    assert build.built == 2 and "sidecar is damaged" in said[-1]


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", 7, "é" * 64])
def test_a_sidecar_names_nothing_outside_the_cache(digest: object, build: Builder, said: list[str]) -> None:
    engines.obtain(FACTS, build)
    sidecar = json.loads(files()[1].read_text())
    sidecar["plan"]["sha256"] = digest
    files()[1].write_text(json.dumps(sidecar))
    engines.obtain(FACTS, build)
    assert build.built == 2 and "refused" in said[-1]


def test_a_sidecar_of_another_version(build: Builder, said: list[str]) -> None:
    engines.obtain(FACTS, build)
    files()[1].write_text(files()[1].read_text().replace("scanside.engine/2", "scanside.engine/9"))
    engines.obtain(FACTS, build)
    assert build.built == 2 and "another version" in said[-1]


def test_a_plan_that_is_gone_or_linked_or_open_to_others(
    build: Builder, said: list[str], tmp_path: Path
) -> None:
    engines.obtain(FACTS, build)
    files()[0].unlink()
    engines.obtain(FACTS, build)
    assert "gone" in said[-1]
    path, elsewhere = files()[0], tmp_path / "elsewhere.plan"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    engines.obtain(FACTS, build)
    assert "cannot be read" in said[-1] and not files()[0].is_symlink()
    files()[0].chmod(0o666)
    engines.obtain(FACTS, build)
    assert "written by" in said[-1]
    assert build.built == 4 and engines.kept(FACTS) is not None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755])
def test_a_cache_that_others_can_enter_is_refused(mode: int, build: Builder) -> None:
    engines.folder().chmod(mode)
    with pytest.raises(BackendError) as caught:
        engines.obtain(FACTS, build)
    assert_one_sentence(str(caught.value), "open to other users", "0700")
    assert build.built == 0


def test_a_cache_that_is_a_link_is_refused(build: Builder, tmp_path: Path) -> None:
    path = engines.folder()
    path.rmdir()
    (tmp_path / "mine").mkdir(mode=0o700)
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(BackendError, match="does not belong"):
        engines.obtain(FACTS, build)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_somebody_else_is_refused(build: Builder) -> None:
    os.chown(engines.folder(), 12345, -1)
    with pytest.raises(BackendError, match="does not belong"):
        engines.obtain(FACTS, build)


def test_a_discarded_engine_is_built_again(build: Builder) -> None:
    engines.obtain(FACTS, build)
    engines.discard(FACTS)
    assert engines.kept(FACTS) is None
    engines.obtain(FACTS, build)
    assert build.built == 2


def test_what_lies_beside_an_engine_is_kept_whole_and_forgotten_with_it(build: Builder) -> None:
    engines.obtain(FACTS, build)
    name = engines.kernels(FACTS)
    assert engines.recall(name) is None
    engines.remember(name, b"compiled kernels")
    assert engines.recall(name) == b"compiled kernels"
    path = engines.folder() / name
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [one for one in engines.folder().iterdir() if one.name.startswith(".")]
    engines.discard(FACTS)
    assert not path.exists()


@pytest.mark.parametrize(
    "harm", [flip, lambda data: data[:-1], lambda data: b"", lambda data: data[:20]], ids=range(4)
)
def test_what_was_changed_beside_an_engine_is_refused_and_said(
    harm: Callable[[bytes], bytes], said: list[str]
) -> None:
    engines.remember("one.kernels", b"compiled kernels")
    path = engines.folder() / "one.kernels"
    path.write_bytes(harm(path.read_bytes()))
    assert engines.recall("one.kernels") is None
    assert "one.kernels" in said[-1] and "refused" in said[-1]


def test_a_full_disk_beside_an_engine_is_said_and_no_error(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engines.os, "fsync", full)
    engines.remember("one.kernels", b"compiled kernels")
    assert "No space left" in said[-1] and engines.recall("one.kernels") is None


def test_the_library_itself_does_not_take_a_plan_without_its_gpu(plan: bytes) -> None:
    """What `trt` falls back on: no exception, no engine. With a GPU of another kind it is the same call."""
    from scanside.runtime.backends import gpu

    if gpu.missing() is None:
        pytest.skip("there is a GPU here")
    assert trt_build.deserialise(plan, "tensorrt-rtx") is None
