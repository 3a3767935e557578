import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runtime.appliance.power.disk import Operation, read_log
from tests.runtime.appliance.power.promises import Promises, read_promises
from tests.runtime.study.tiny_study import write_bundle, write_dicom

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """One way, from the first image to the PACS's commitment."""

    folder: Path
    study: Path
    bundle: Path
    operations: list[Operation]
    promises: Promises


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        assert not os.environ.get("CI_REQUIRE_PEERS"), "CI has a C compiler"
        pytest.skip("the recorder needs a C compiler")
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "recorder.c", "-ldl"]
    subprocess.run([str(word) for word in command], check=True)
    return library


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for thousands of small files: in memory where there is such a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "scratch"
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "scratch"


@pytest.fixture(scope="session")
def recorded(recorder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    place = tmp_path_factory.mktemp("way")
    folder, log = place / "root", place / "log"
    folder.mkdir()
    study, bundle = write_dicom(place / "study"), write_bundle(place / "tiny.bundle")
    environment = {
        **os.environ, "LD_PRELOAD": str(recorder), "RECORD_ROOT": str(folder), "RECORD_LOG": str(log),
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "tests.runtime.appliance.power.way",
        str(folder),
        str(study),
        str(bundle),
    ]
    root = HERE.parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    operations = read_log(log)
    return Recorded(folder, study, bundle, operations, read_promises(operations, place / "scratch"))
