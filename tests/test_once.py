"""What the workers of a run share: made once, and never found under the name of anything else."""

import pytest

from tests.support import once


def test_it_is_made_once() -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    name = once.key("export", (), b"test_it_is_made_once", str(id(made)).encode())
    assert once.kept(name, make) == once.kept(name, make) == b"content"
    assert made == [1]


def test_what_fails_is_tried_again_and_leaves_nothing() -> None:
    def fail() -> bytes:
        raise ValueError("no")

    name = once.key("export", (), b"test_what_fails", str(id(fail)).encode())
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            once.kept(name, fail)
    assert once.kept(name, lambda: b"now") == b"now"


def test_another_source_version_or_part_is_another_name(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "maker" / "inner").mkdir(parents=True)
    (root / "maker" / "inner" / "one.py").write_text("x = 1")
    monkeypatch.setattr(once, "ROOT", root)
    monkeypatch.setattr(once, "HELPERS", root / "helpers")
    names = [
        once.key("maker", (), b"ab"),
        once.key("maker", (), b"a", b"b"),
        once.key("maker", ("numpy",), b"ab"),
    ]
    for file, text in (
        ("maker/inner/one.py", "x = 2"),
        ("maker/two.py", "x = 1"),
        ("helpers/call.py", "x = 1"),
    ):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(text)
        once.code.cache_clear()
        names.append(once.key("maker", (), b"ab"))
    once.code.cache_clear()
    monkeypatch.setattr(once, "version", lambda name: "another")
    names.append(once.key("maker", ("numpy",), b"ab"))
    assert len(set(names)) == len(names)
