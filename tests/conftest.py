"""Set-up of the whole test run: a header that tells the machine, a clean environment, one thread a worker."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import once
from tests.support.needs import needs_more

# Before numpy, torch and the backends are loaded: two workers on two cores must not run four threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
os.environ["nnUNet_def_n_proc"] = "1"  # noqa: SIM112 - nnU-Net's own variable
# jsonschema imports it for formats of addresses, which no schema here has; that builds 39 grammars, for two seconds.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# Modules and tests by the thousand stay until the end; nothing among them is garbage (see pytest_collection_finish).
gc.disable()

settings.register_profile("scanside", deadline=None)  # no test judges time
settings.load_profile("scanside")

_TESTS = Path(__file__).parent
LONGEST = (
    "training/test_chain.py",
    "runtime/appliance/test_end_to_end.py",
    "runtime/appliance/test_serve.py",
    "runtime/appliance/test_chaos.py",
    "runtime/appliance/test_full_disk.py",
    "runtime/appliance/deliver/test_orthanc.py",
    "runtime/appliance/work/test_killed.py",
    "export/test_golden.py",
    "export/test_matrix.py",
    "tui/test_real_terminal.py",
)
"""Files that begin first, so that no worker is left alone with one of them at the end. `make test` keeps this order."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--light`: the tests that the appliance's installation is enough for; `make test-fast` runs them."""
    parser.addoption("--light", action="store_true", help="only tests that need no PyTorch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under `--light` leave out folders and files that need more; None leaves the choice to pytest."""
    return True if config.getoption("--light") and needs_more(collection_path) else None


def pytest_report_header() -> list[str]:
    """Name the machine and the versions: a log tells where it comes from."""
    from scanside.runtime import machine

    versions = ", ".join(
        f"{name} {version}" for name, version in machine.versions(("torch", "nnunetv2")).items()
    )
    return [
        f"machine: {machine.processor()}, {machine.cores()} core(s), {machine.memory_gib()} GiB",
        f"versions: {versions}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the others as they were."""
    first = {_TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def pytest_collection_finish() -> None:
    """The search for garbage leaves out what collection made: some millions of objects, for every full search."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one worker has made for its tests is there for those of the others."""
    once.begin(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _threads_wait_asleep() -> Iterator[None]:
    """ONNX Runtime's threads wait by spinning, which on a busy machine is a third of a network's processor time."""
    import onnxruntime

    class Calm(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.add_session_config_entry("session.intra_op.allow_spinning", "0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", Calm)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No user's cache, no nnU-Net folders, no debug switch."""
    cache: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for name in ("SCANSIDE_DEBUG", "nnUNet_extTrainer", "nnUNet_compile"):
        monkeypatch.delenv(name, raising=False)
    yield
