"""What several tests need and one of them makes: files beside the temporary folders of a run, for all of its workers.

A file's name is the hash of all that its content depends on. The folder is new with every run, so that nothing of an
earlier run is ever found there.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent
ROOT = HELPERS.parents[1]
version = cache(metadata.version)
_FOLDER: list[Path] = []


def begin(factory: pytest.TempPathFactory) -> None:
    """Take the folder that all workers of this run share."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    folder.mkdir(exist_ok=True)
    _FOLDER[:] = [folder]


def key(component: str, packages: tuple[str, ...], *parts: bytes) -> str:
    """The name under which something is kept.

    Args:
        component: Folder of the repository whose code makes it.
        packages: Distributions whose versions matter.
        parts: What it is made of.
    """
    digest = hashlib.sha256(code(component).encode())
    for part in (*(f"{name} {version(name)}".encode() for name in packages), *parts):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@cache
def code(component: str) -> str:
    """Hash of every Python file of a folder of the repository, and of the helpers of tests, which call it."""
    digest = hashlib.sha256()
    for folder in (ROOT / component, HELPERS):
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def place(name: str) -> Iterator[Path]:
    """The path for something of this name, which no other worker makes meanwhile; it may be there already."""
    (folder,) = _FOLDER
    with (folder / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder / name


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """Bytes that are made where no test has made them yet; what cannot be made raises for every test anew."""
    with place(name) as path:
        if not path.exists():
            made = path.with_suffix(".part")
            made.write_bytes(make())
            made.rename(path)
        return path.read_bytes()
