"""Modules stay short enough to be read at one sitting."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", "benchmarks", "docs", "export", "runtime", "tests", "training", "tui")
MOST = 400
"""Lines of a module."""


def test_no_module_is_too_long() -> None:
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 500, "they are found"
    long = {path.relative_to(ROOT).as_posix() for path in modules if path.read_bytes().count(b"\n") > MOST}
    assert long == set()
