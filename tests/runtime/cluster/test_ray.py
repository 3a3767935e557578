"""Two real Ray nodes on this machine; one is killed with SIGKILL in the middle of a case."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.cli.main import run
from scanside.runtime.ledger import NAMES
from tests.runtime.study.tiny_study import TinyStudy, write_bundle, write_nifti
from tests.support import phantoms
from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
from tests.support.ray_cluster import ray_cluster
from tests.support.tiny_models import Tiny, write_model

pytest.importorskip("ray")
NAME = NAMES["segment"]
CASES = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ray")
    options = ExportOptions(precisions=("fp32",))
    export_nnunet(write_model(root, Tiny()), root / "bundle", options, lambda words: None)
    (root / "images").mkdir()
    for index in range(CASES):
        image = sitk.GetImageFromArray(phantoms.smooth((24, 44, 44), index) * 100)
        sitk.WriteImage(image, str(root / "images" / f"c{index}_0000.nii.gz"))
    return root


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with ray_cluster(monkeypatch) as nodes:
        yield nodes


def lines(out: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / f"{NAME}.jsonl").read_text().splitlines() if line]
    return [line for line in found if "name" in line]


def test_a_node_that_is_killed_costs_no_case(cluster: Any, place: Path) -> None:
    """Every case is there once, with the labels of a run on this machine alone."""
    out, alone = place / "out", place / "alone"
    chosen = ["--device", "cpu", "--threads", "1"]
    program = [sys.executable, "-m", "scanside.runtime.cli.main", "segment", str(place / "bundle")]
    process = subprocess.Popen(
        [*program, str(place / "images"), "-o", str(out), *chosen, "--ray", cluster.address, "--json-lines"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    killed = threading.Event()

    def kill_when_both_work() -> None:
        raylet = cluster.worker_nodes and next(iter(cluster.worker_nodes)).all_processes["raylet"][0].process
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if len(list(out.glob("*.nii.gz"))) >= 2:
                for child in psutil.Process(raylet.pid).children(recursive=True):
                    child.send_signal(signal.SIGKILL)
                raylet.send_signal(signal.SIGKILL)
                killed.set()
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_when_both_work, daemon=True)
    killer.start()
    told, words = process.communicate(timeout=300)
    killer.join()
    assert process.returncode == 0, words
    assert killed.is_set()
    names = Counter(line["name"] for line in lines(out))
    assert names == Counter({f"c{index}": 1 for index in range(CASES)}), words
    assert {json.loads(line)["name"] for line in told.splitlines()} == set(names)
    assert all(line["node"] and line["device"] == "cpu" for line in lines(out))
    assert run(["segment", str(place / "bundle"), str(place / "images"), "-o", str(alone), *chosen]) == 0
    for name in names:
        one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(f / f"{name}.nii.gz"))) for f in (out, alone))
        assert int((one != other).sum()) == 0 and np.unique(one).size > 1


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_study(cluster: Any, tmp_path: Path) -> None:
    """SIGKILL to one worker in the middle of a folder of studies: each study has one result and one line."""
    bundle = write_bundle(tmp_path / "tiny.bundle")
    for index in range(CASES):
        write_nifti(tmp_path / "in" / f"P{index}", TinyStudy(seed=index))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "scanside.runtime.cli.main", "run", str(bundle), str(tmp_path / "in"), "-o", str(out),
         "--studies", "--device", "cpu", "--threads", "1", "--ray", cluster.address, "--json-lines"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    killed = threading.Event()

    def kill_one() -> None:
        raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None and not killed.is_set():
            if len(list(out.glob("*/result.json"))) >= 2:
                for child in (one for pid in raylets for one in psutil.Process(pid).children(recursive=True)):
                    if child.name().startswith("ray::Worker") and not killed.is_set():
                        child.send_signal(signal.SIGKILL)
                        killed.set()
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    told, words = process.communicate(timeout=300)
    killer.join()
    assert process.returncode == 0 and killed.is_set(), words
    everything = {f"P{index}" for index in range(CASES)}
    found = [json.loads(line) for line in (out / f"{NAMES['run']}.jsonl").read_text().splitlines() if line]
    assert Counter(line["name"] for line in found if "name" in line) == Counter(dict.fromkeys(everything, 1))
    assert {json.loads(line)["name"] for line in told.splitlines()} == everything
    assert {path.parent.name for path in out.glob("*/result.json")} == everything
    assert run(["merge", str(out)]) == 0


def test_no_cluster_is_one_sentence(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["segment", str(place / "bundle"), str(place / "images"), "-o", str(place / "none")]
    assert run([*command, "--ray", "127.0.0.1:1", "--threads", "1"]) == 4
    assert "No Ray cluster answers at 127.0.0.1:1" in capfd.readouterr().err
    assert run([*command[:-1], str(place / "m.nii.gz"), "--ray", "auto"]) == 2
