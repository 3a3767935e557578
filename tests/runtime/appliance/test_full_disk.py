"""A disk that fills up, is full, and has room again: nothing that was acknowledged is lost, nothing is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.appliance.full_disk import EARLY, study
from tests.support import peers

pytestmark = pytest.mark.requirement("full-disk")

ROOT = Path(__file__).parents[3]
SIZE = "64m"


def small_disk(folder: Path) -> list[str]:
    """A command that runs another one with a small disk in place of the folder; skips where that is not allowed."""
    folder.mkdir(parents=True)
    script = f'mount -t tmpfs -o size={SIZE} none "{folder}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED: no small disk; this system does not allow `unshare -rm` with a tmpfs")
    return command


def fill(folder: Path, studies: int, seconds: float) -> Any:
    """Play the scenario; returns what it saw."""
    peers.need("Orthanc")
    command = [*small_disk(folder / "data"), sys.executable, "-m", "tests.runtime.appliance.full_disk"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, str(folder), str(studies)], cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    assert process.returncode == 0, err[-6000:]
    return json.loads(out.splitlines()[-1])


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    studies = 8
    found = fill(tmp_path, studies, 400)
    log = found.pop("log")
    assert set(found["answers"]) == {"A700"}, "out of resources, and nothing else"
    assert found["answers"]["A700"] >= 15 and found["associations lost"] >= 1
    assert found["free bytes"] < 1 << 16, "it was full"
    assert EARLY * len(study(1)) <= found["taken below the reserve"] <= found["taken on the full disk"]
    assert found["taken on the full disk"] < found["taken"]
    assert found["taken"] == studies * len(study(1)), "in the end everything is taken"
    assert found["statuses"] == {"ok": studies}
    assert found["jobs"] == studies, "no study was computed before it was whole"
    assert found["audit"] == {"disk low": 1, "quarantine": 0}
    lines = [json.loads(line) for line in log if line.startswith("{")]
    assert any("A700" in line["message"] for line in lines)
    assert not any("unforeseen" in line["message"] or "Traceback" in line["message"] for line in lines)
