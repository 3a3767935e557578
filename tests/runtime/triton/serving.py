"""A Triton server that serves the demonstration's bundle, and models of it that lie."""

import json
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import SimpleITK as sitk

from scanside.runtime.appliance.config import Config, Work
from scanside.runtime.appliance.config.document import EngineServer
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.ledger import NAMES
from scanside.runtime.options import Options
from scanside.runtime.triton.address import Engine
from scanside.runtime.volume import Geometry, Volume
from scanside.training.demo import BUNDLE
from tests.runtime.appliance.work import filled
from tests.support import phantoms
from tests.support.triton import Triton

MODEL = "pancreas-phantom-t2w"
CASES = 3


@dataclass(frozen=True)
class Place:
    """A server, and images with the masks that this machine computes of them."""

    server: Triton
    root: Path
    alone: dict[str, npt.NDArray[Any]]

    @property
    def images(self) -> Path:
        return self.root / "images"


def liar(model: Path, code: str) -> None:
    """Turn a served model into one that does something else, and says nothing of it."""
    with (model / "1" / "model.py").open("a") as file:
        file.write(code)


LYING = """
from scanside.runtime.pipeline import LocalSegmenter
_segment = LocalSegmenter.segment
def _other(self, volume, **words):
    found = _segment(self, volume, **words)
    found.mask[:, :, 2:] = found.mask[:, :, :-2].copy()
    return found
_initialize = TritonPythonModel.initialize
def _late(self, args):
    _initialize(self, args)
    LocalSegmenter.segment = _other
TritonPythonModel.initialize = _late
"""
BY_AS_NUMPY = """
from scanside.runtime.triton import served
class _AsNumpy:
    def __getattr__(self, name):
        return getattr(served_numpy, name)
    def from_dlpack(self, tensor):
        return tensor.as_numpy() if tensor.name() == "image" else served_numpy.from_dlpack(tensor)
served_numpy, served.np = served.np, _AsNumpy()
"""


def altered(repository: Path, name: str, code: str) -> None:
    shutil.copytree(repository / MODEL, repository / name)
    config = repository / name / "config.pbtxt"
    config.write_text(config.read_text().replace(f'"{MODEL}"', f'"{name}"', 1))
    liar(repository / name, code)


def segmented(root: Path, out: Path, *options: str, images: str = "images") -> int:
    return run(["segment", str(BUNDLE), str(root / images), "-o", str(out), "--role", "t2w", *options])


def masks(out: Path) -> dict[str, npt.NDArray[Any]]:
    return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in out.glob("*.nii.gz")}


def lines(out: Path) -> list[dict[str, Any]]:
    found = [
        json.loads(line) for line in (out / f"{NAMES['segment']}.jsonl").read_text().splitlines() if line
    ]
    return [line for line in found if "name" in line]


def small() -> Volume:
    return Volume(phantoms.smooth((8, 40, 40), 1)[None] * 100, Geometry((8, 40, 40), (5.0, 3.0, 3.0)))


def opened(url: str, authority: Path | None = None) -> Any:
    return open_segmenter(open_bundle(BUNDLE), Options(role="t2w", engine=Engine(url, authority, seconds=60)))


def worked(config: Config, database: Database, case_id: str, url: str) -> Case:
    """The case after a worker has taken its job once."""
    work = Work(engine=EngineServer(url=url), tries=1, backoff_seconds=0)
    worker = Worker(config.model_copy(update={"work": work}), database, threading.Event())
    assert worker.step()
    worker.close()
    return filled.shown(database, case_id)
