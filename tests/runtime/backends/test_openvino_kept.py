"""What OpenVINO compiled is kept, read back to the same bits, and never taken where anything about it differs."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.backends import engines, openvino, openvino_kept
from scanside.runtime.backends.session import Session
from scanside.runtime.manifest import FileEntry
from tests.support.session_contract import model, tiles

pytestmark = pytest.mark.requirement("engine-proven")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences: list[str] = []
    with engines.announcing(sentences.append), engines.keeping():
        yield sentences


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The networks that were compiled."""
    networks: list[bytes] = []
    compile_now = openvino._compiled

    def counted(core: object, network: bytes, *rest: object) -> object:
        networks.append(network)
        return compile_now(core, network, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino, "_compiled", counted)
    return networks


def opened() -> Session:
    return openvino.open_session(model("3d", "fp32"), "fp32", 1)


def entry(size: int | None = None) -> FileEntry:
    network = model("3d", "fp32")
    return FileEntry(sha256=hashlib.sha256(network).hexdigest(), bytes=size or len(network))


def test_it_is_read_back_to_the_same_bits(said: list[str], compiled: list[bytes]) -> None:
    with engines.keeping(False), opened() as session:
        afresh = session.run(tiles("3d", 2))
        assert session.spec.engine is None and not list(engines.folder().iterdir())
    assert openvino.kept(entry(), "fp32", 1) is None
    for _ in range(2):
        with opened() as session:
            np.testing.assert_array_equal(session.run(tiles("3d", 2)), afresh, strict=True)
            assert session.spec.engine == openvino.kept(entry(), "fp32", 1) != ""
    assert len(compiled) == 2 and said == []  # once afresh, once to keep it
    assert openvino.kept(entry(), "fp32", 2) is None and openvino.kept(entry(), "bf16", 1) is None


def changed(plan: Path, sidecar: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")


def cut(plan: Path, sidecar: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-9])


def foreign(plan: Path, sidecar: Path) -> None:
    """Whole and well hashed, by another version of the library."""
    content = json.loads(sidecar.read_text())
    content["facts"]["library"] = "openvino 2020.1, scanside 0.1.0"
    sidecar.write_text(json.dumps(content))


def anything(plan: Path, sidecar: Path) -> None:
    """Well hashed, and not what OpenVINO writes."""
    content, data = json.loads(sidecar.read_text()), b"no network"
    digest = hashlib.sha256(data).hexdigest()
    (plan.parent / f"{digest}.plan").write_bytes(data)
    (plan.parent / f"{digest}.plan").chmod(0o600)
    content["plan"] = {"sha256": digest, "bytes": len(data)}
    sidecar.write_text(json.dumps(content))


def by_anybody(plan: Path, sidecar: Path) -> None:
    plan.chmod(0o666)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (changed, "was changed"),
        (cut, "truncated"),
        (foreign, "other facts (library openvino 2020.1"),
        (anything, "does not take the kept network"),
        (by_anybody, "another user"),
    ],
)
def test_what_differs_is_not_read_but_compiled_anew(
    harm: Callable[[Path, Path], None], words: str, said: list[str], compiled: list[bytes]
) -> None:
    with opened() as session:
        right = session.run(tiles("3d", 1))
    harm(next(engines.folder().glob("*.plan")), next(engines.folder().glob("*.json")))
    with opened() as session:
        assert session.spec.engine == openvino.kept(entry(), "fp32", 1)
        np.testing.assert_array_equal(session.run(tiles("3d", 1)), right)
    assert len(compiled) == 2 and words in said[0] and len(said) == 1
    with opened():
        assert len(compiled) == 2  # whole again


def test_a_folder_open_to_others_and_a_large_network_are_left_alone(
    said: list[str], compiled: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert openvino.kept(entry(openvino_kept.LARGEST + 1), "fp32", 1) == ""
    with opened():
        pass
    engines.folder().chmod(0o755)
    with opened() as session:
        assert session.spec.engine is None and len(compiled) == 2
    assert openvino.kept(entry(), "fp32", 1) == ""


def test_two_processes_that_begin_together_keep_one(said: list[str]) -> None:
    """Each would otherwise prove its own, and the first find the other's in its place."""
    network = engines.folder().parent / "network.onnx"
    network.write_bytes(model("3d", "fp32"))
    source = (
        "import sys; from pathlib import Path; from scanside.runtime.backends import engines, openvino\n"
        "with engines.keeping(): print(openvino.open_session(Path(sys.argv[1]).read_bytes(), 'fp32', 1).spec.engine)"
    )
    command = [sys.executable, "-c", source, str(network)]
    with engines.alone():  # so that both stand before it
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        with pytest.raises(subprocess.TimeoutExpired):
            both[0].communicate(timeout=3)
    ends = {process.communicate(timeout=60)[0] for process in both}
    assert len(ends) == 1 and len(ends.pop().strip()) == 64
    assert len(list(engines.folder().glob("*.plan"))) == 1
