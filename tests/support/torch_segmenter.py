"""The runtime with the PyTorch network plugged in where an ONNX session would be: what is left to differ from
nnunetv2 are our own stages, and these must not differ by a bit."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scanside.export.model_folder import ModelFolder, read_model_folder
from scanside.export.network import build_network, load_weights
from scanside.export.plan import to_plan
from scanside.runtime import opening, pipeline
from scanside.runtime.arrays import Float32
from scanside.runtime.backends.session import Closing, Session, SessionSpec
from scanside.runtime.bundle import Bundle
from scanside.runtime.manifest import SCHEMA, FileEntry, Manifest, Network, Segmenter
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan


class TorchSession(Closing):
    """A `Session` that is the network itself."""

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self._network = network
        self.spec = SessionSpec((plan.input_channels, *plan.patch_size), plan.labels.heads, "cpu", "fp32")

    def run(self, tiles: Float32) -> Float32:
        self.check(tiles)
        with torch.inference_mode():
            output: Float32 = self._network(torch.from_numpy(tiles)).numpy()
        return output


def load(path: Path) -> tuple[ModelFolder, Plan, nn.Module]:
    """A results folder, its plan and its network."""
    folder = read_model_folder(path, folds=None, checkpoint="checkpoint_final.pth", trust_pickles=False)
    plan = to_plan(folder, previous_stage=folder.configuration.previous_stage_name)
    return folder, plan, build_network(folder, plan.input_channels, plan.labels.heads)


@contextmanager
def torch_segmenter(paths: Sequence[Path], tmp_path: Path) -> Iterator[pipeline.Segmenter]:
    """A `Segmenter` of results folders (several for a cascade) whose sessions are PyTorch."""
    sessions: dict[bytes, TorchSession] = {}
    segmenters: dict[str, Segmenter] = {}
    files: dict[str, FileEntry] = {}
    for path in paths:
        folder, plan, network = load(path)
        networks = []
        for fold, checkpoint in zip(folder.folds, folder.checkpoints, strict=True):
            load_weights(network, checkpoint.weights, fold)
            name = f"{folder.configuration_name}.{fold}"
            sessions[name.encode()] = TorchSession(copy.deepcopy(network), plan)
            (tmp_path / name).write_bytes(name.encode())
            digest = hashlib.sha256(name.encode()).hexdigest()
            files[name] = FileEntry(sha256=digest, bytes=len(name))
            networks.append(Network(fold=fold, files={"fp32": name}))
        segmenters[folder.configuration_name] = Segmenter(plan=plan, networks=tuple(networks))
    manifest = Manifest(
        schema=SCHEMA, name="torch", version="1", intended_use="test", licence="none", created="now",
        file_ending=".nii.gz", segmenters=segmenters, provenance={}, files=files,
    )  # fmt: skip

    def open_session(device: str, model: bytes, precision: str, threads: int | None = None) -> Session:
        return sessions[model]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_session", open_session)
        bundle = Bundle(tmp_path, manifest, "0" * 64)
        device = pipeline.Obtained("cpu", "cpu", "test", "fp32")
        with pipeline.LocalSegmenter(bundle, Options(device="cpu"), device) as segmenter:
            yield segmenter


def bits(array: np.ndarray) -> np.ndarray:
    """A float array as integers, so that equality means the same bits (−0 and NaN included)."""
    return array.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[array.dtype.itemsize])
