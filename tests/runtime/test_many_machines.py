"""Long: 200 MRIs by parts, on a Ray cluster and on a Triton server, each killed again and again. `make soak`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.cli.main import run
from scanside.runtime.ledger import NAMES
from tests.support.ray_cluster import ray_cluster
from tests.support.shared_data import shared_data, shared_models
from tests.support.soak_results import write_soak_results
from tests.support.triton import Triton

pytestmark = pytest.mark.slow
EVERY, SECONDS = 12, 3600.0
CHOSEN = ("--device", "cpu", "--threads", "1")
"""The same kernels everywhere, so that not one voxel may differ."""


@dataclass(frozen=True)
class Place:
    """A bundle, images, and the masks that this machine alone computes of them."""

    root: Path
    images: Path
    names: frozenset[str]

    @property
    def bundle(self) -> Path:
        return self.root / "hippocampus.bundle"

    def start(self, out: Path, *more: str) -> subprocess.Popen[bytes]:
        """`scanside segment` of the whole folder, which goes on where another run was ended."""
        command = [
            sys.executable,
            "-m",
            "scanside.runtime.cli.main",
            "segment",
            str(self.bundle),
            str(self.images),
        ]
        with (self.root / f"{out.name}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "-o", str(out), "--resume", *more], stdout=log, stderr=log, env=dict(os.environ)
            )

    def said(self, out: Path) -> str:
        return (self.root / f"{out.name}.log").read_text()[-3000:]


@dataclass
class Counted:
    """What was found of one way."""

    kills: int
    seconds: float
    images: int
    voxels: int
    voxels_differing: int


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    model = shared_models("hippocampus", "nnUNetTrainer__nnUNetPlans__3d_fullres")
    images = shared_data("volumes", "msd_hippocampus") / "imagesTr"
    root = tmp_path_factory.mktemp("many")
    chosen = sorted(images.glob("*_0000.nii.gz"))[: int(os.environ.get("SCANSIDE_SOAK_IMAGES", "200"))]
    (root / "images").mkdir()
    for image in chosen:
        (root / "images" / image.name).symlink_to(image)
    names = frozenset(image.name.removesuffix("_0000.nii.gz") for image in chosen)
    made = Place(root, root / "images", names)
    export_nnunet(model, made.bundle, ExportOptions(folds=("0",), postprocessing="none"), lambda words: None)
    alone = made.start(root / "alone", *CHOSEN)
    assert alone.wait() == 0, made.said(root / "alone")
    return made


@pytest.fixture(scope="module")
def counted(place: Place) -> Iterator[dict[str, Counted]]:
    """Filled by every test; written when all ways were gone."""
    found: dict[str, Counted] = {}
    yield found
    if len(found) == 3:
        ways = {way: vars(one) for way, one in found.items()}
        write_soak_results("many-machines", "make soak", ("onnxruntime", "ray"), {"ways": ways})


def masks(out: Path) -> int:
    return len(list(out.glob("*.nii.gz")))


def killed_again_and_again(
    out: Path, place: Place, running: Callable[[], bool], kill: Callable[[int], None]
) -> int:
    """`kill` after every `EVERY` masks, while there is something to do. Returns how often."""
    kills, deadline = 0, time.monotonic() + SECONDS
    while running():
        assert time.monotonic() < deadline, place.said(out)
        if masks(out) >= EVERY * (kills + 1) and masks(out) < len(place.names) - 1:
            kill(kills)
            kills += 1
        time.sleep(0.02)
    return kills


def judged(out: Path, place: Place, kills: int, began: float) -> Counted:
    """Every case once, and no voxel that differs from a run on this machine alone."""
    lines = [
        json.loads(line)
        for file in out.glob(f"{NAMES['segment']}*.jsonl")
        for line in file.read_text().splitlines()
        if line
    ]
    done = Counter(line["name"] for line in lines if line.get("status") == "ok")
    assert done == Counter(dict.fromkeys(place.names, 1))
    assert run(["merge", str(out)]) == 0
    assert not list(out.glob("*.npz")) and masks(out) == len(place.names)
    voxels = differing = 0
    for name in place.names:
        one, other = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
            for folder in (out, place.root / "alone")
        )
        assert np.unique(other).size > 1
        voxels, differing = voxels + one.size, differing + int((one != other).sum())
    assert differing == 0 and kills >= len(place.names) // EVERY - 3
    return Counted(kills, round(time.monotonic() - began, 1), len(place.names), voxels, differing)


def test_parts_that_are_killed_go_on(place: Place, counted: dict[str, Counted]) -> None:
    out, began = place.root / "parts", time.monotonic()
    parts = [place.start(out, *CHOSEN, "--part", f"{index}/2") for index in (1, 2)]

    def running() -> bool:
        return any(part.poll() is None for part in parts)

    def kill(turn: int) -> None:
        index = turn % 2 if parts[turn % 2].poll() is None else 1 - turn % 2
        parts[index].send_signal(signal.SIGKILL)
        parts[index].wait()
        parts[index] = place.start(out, *CHOSEN, "--part", f"{index + 1}/2")

    kills = killed_again_and_again(out, place, running, kill)
    assert [part.returncode for part in parts] == [0, 0], place.said(out)
    counted["parts"] = judged(out, place, kills, began)


def test_a_cluster_whose_workers_and_nodes_are_killed(
    place: Place, counted: dict[str, Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third time a whole node, which another one replaces."""
    pytest.importorskip("ray")
    out = place.root / "ray"
    with ray_cluster(monkeypatch) as cluster:
        began = time.monotonic()
        process = place.start(out, *CHOSEN, "--ray", cluster.address)

        def kill(turn: int) -> None:
            node = next(iter(cluster.worker_nodes))
            raylet = node.all_processes["raylet"][0].process
            for child in psutil.Process(raylet.pid).children(recursive=True):
                if turn % 3 == 2 or child.name().startswith("ray::"):
                    child.send_signal(signal.SIGKILL)
            if turn % 3 == 2:
                raylet.send_signal(signal.SIGKILL)
                cluster.remove_node(node, allow_graceful=False)
                cluster.add_node(num_cpus=1)

        kills = killed_again_and_again(out, place, lambda: process.poll() is None, kill)
        assert process.returncode == 0, place.said(out)
    counted["ray"] = judged(out, place, kills, began)


def test_a_server_that_is_killed_again_and_again(
    place: Place, counted: dict[str, Counted], tmp_path: Path
) -> None:
    repository, out = tmp_path / "repository", place.root / "triton"
    assert run(["export", "triton", str(place.bundle), "-o", str(repository), *CHOSEN]) == 0
    (model,) = (folder.name for folder in repository.iterdir() if folder.is_dir())
    server = Triton(repository, tmp_path)
    server.start(model)
    try:
        began = time.monotonic()
        process = place.start(out, "--engine", server.url)

        def kill(turn: int) -> None:
            server.kill()
            server.start(model)

        kills = killed_again_and_again(out, place, lambda: process.poll() is None, kill)
        assert process.returncode == 0, place.said(out)
    finally:
        server.kill()
    counted["triton"] = judged(out, place, kills, began)
