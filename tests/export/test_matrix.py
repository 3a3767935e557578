"""Every way an nnU-Net model can be made, exported and run on every backend against nnunetv2's own predictor."""

import itertools
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scanside.export.model_folder import postprocessing_file, read_model_folder
from scanside.export.network import build_network, load_weights
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.plan import to_plan
from scanside.export.reference import Prediction, Reference
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.golden import EXACT, lowest_dice
from scanside.runtime.options import Options
from scanside.runtime.volume import Volume
from tests.support.cuda_on_host import put_in_place, unproven
from tests.support.kinds import KINDS, LONGER, Kind, read
from tests.support.nnunet_files import postprocessed
from tests.support.phantoms import volume
from tests.support.tiny_models import (
    NONE,
    OLD_TRAINER,
    REGION_LABELS,
    TORCH,
    Tiny,
    write_cascade,
    write_model,
    write_trainer,
)

pytestmark = pytest.mark.requirement("parity")

Mask = npt.NDArray[np.unsignedinteger[Any]]
BACKENDS = {"cpu": 0.02, "openvino": 0.05}
"""Backend → the margin (logits) below which a voxel may differ."""
LOGITS = {"cpu": 5e-4, "openvino": 1e-3}
"""Backend → root mean square of the logit error, relative to that of the logits."""
ZSCORE = "ZScoreNormalization"


@dataclass(frozen=True)
class Row:
    """One model and the spacing of the images it gets (file axis order)."""

    tiny: Tiny
    spacing: tuple[float, float, float] = (1.9, 0.9, 1.0)
    cascade: bool = False
    folds: tuple[str, ...] | None = None
    scale: float = 1.0


THICK = (4.0, 1.0, 1.2)
"""A plan's spacing, anisotropic enough that nnU-Net resamples the first axis apart."""
LINEAR_Z = {"order_z": 1}
ROWS = {
    "plain": Row(Tiny(mirror=(0, 1, 2))),
    "residual encoder": Row(Tiny(architecture="residual")),
    "old plans": Row(Tiny(architecture="old plain")),
    "old plans, residual encoder": Row(Tiny(architecture="old residual")),
    "three stages": Row(Tiny(features=(4, 8, 16))),
    "CT and masked z-score, transposed": Row(
        Tiny(normalization=("CTNormalization", ZSCORE), use_mask=(False, True), transpose=(2, 0, 1))
    ),
    "no normalisation and rescaling, transposed": Row(
        Tiny(normalization=("NoNormalization", "RescaleTo01Normalization"), transpose=(1, 2, 0)), scale=0.01
    ),
    "colour": Row(Tiny(normalization=("RGBTo01Normalization",)), scale=0.3),
    "thick slices": Row(Tiny(spacing=THICK), (5.0, 0.9, 1.0)),
    "thick slices, same slice distance": Row(Tiny(spacing=THICK), (4.0, 0.9, 1.0)),
    "thick slices last, transposed first": Row(Tiny(spacing=THICK, transpose=(2, 0, 1)), (0.9, 1.0, 5.0)),
    "thick images, thin plan": Row(Tiny(), (5.0, 0.9, 1.0)),
    "thick slices, linear between": Row(
        Tiny(spacing=THICK, data=LINEAR_Z, seg=LINEAR_Z, probabilities=LINEAR_Z), (5.0, 0.9, 1.0)
    ),
    "never apart": Row(
        Tiny(spacing=THICK, data={"force_separate_z": False}, probabilities={"force_separate_z": False}),
        (5.0, 0.9, 1.0),
    ),
    "always apart": Row(Tiny(data={"force_separate_z": True}, probabilities={"force_separate_z": True})),
    "torch resampling": Row(Tiny(resampling=TORCH)),
    "torch resampling, thick slices": Row(Tiny(resampling=TORCH, spacing=THICK), (5.0, 0.9, 1.0)),
    "no resampling": Row(Tiny(resampling=NONE)),
    "linear data, nearest logits": Row(Tiny(data={"order": 1}, probabilities={"order": 0})),
    "cubic logits": Row(Tiny(probabilities={"order": 3})),
    "regions": Row(Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3))),
    "regions, torch resampling": Row(
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3), resampling=TORCH)
    ),
    "regions, cubic logits": Row(
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3), probabilities={"order": 3})
    ),
    "ignore label": Row(Tiny(labels={"background": 0, "near": 1, "far": 2, "ignore": 3})),
    "twelve labels": Row(Tiny(labels={"background": 0, **{f"part {i}": i for i in range(1, 12)}})),
    "no mirroring": Row(Tiny(mirror=None)),
    "no mirroring, key absent": Row(Tiny(mirror="absent")),
    "mirror 0": Row(Tiny(mirror=(0,))),
    "mirror 0 1": Row(Tiny(mirror=(0, 1))),
    "batch normalisation": Row(Tiny(trainer="nnUNetTrainerBN")),
    "trainer from outside": Row(Tiny(trainer=OLD_TRAINER)),
    "two folds": Row(Tiny(folds=("0", "1"))),
    "fold all": Row(Tiny(folds=("all",)), folds=("all",)),
    "one of two folds": Row(Tiny(folds=("0", "1")), folds=("1",)),
    "postprocessing": Row(Tiny(postprocessing=([1, 2], 2))),
    "postprocessing of a region": Row(
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3), postprocessing=([[1, 2, 3]], [[2, 3]]))
    ),
    "2d": Row(Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1)), (3.0, 0.9, 1.0)),
    "2d, transposed": Row(
        Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1), transpose=(1, 0, 2)), (0.9, 4.0, 1.0)
    ),
    "2d residual encoder, regions": Row(
        Tiny(
            patch=(32, 24), spacing=(1.0, 1.2), mirror=(1,), architecture="residual",
            labels=REGION_LABELS, regions_class_order=(1, 2, 3),
        ),
        (3.0, 0.9, 1.0),
    ),
    "cascade": Row(Tiny(), cascade=True),
    "cascade, masked, thick, transposed": Row(
        Tiny(use_mask=(True,), spacing=THICK, transpose=(2, 0, 1)), (0.9, 1.0, 5.0), True
    ),
    "cascade of regions": Row(
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3), postprocessing=([1],)), cascade=True
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """One image through one stage: what nnunetv2 makes of it."""

    role: str
    image: Volume
    previous: Mask | None
    prediction: Prediction
    mask: Mask


@dataclass(frozen=True, eq=False)
class Exported:
    """A row's bundle and its cases; those of the last stage stand last."""

    name: str
    bundle: Bundle
    cases: tuple[Case, ...]


@pytest.fixture(scope="module", params=list(ROWS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    row = ROWS[request.param]
    root = tmp_path_factory.mktemp("row")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if row.tiny.trainer == OLD_TRAINER:
            patch.setenv("nnUNet_extTrainer", os.pathsep.join(["", str(write_trainer(root / "trainers"))]))
        folders = write_cascade(root, row.tiny) if row.cascade else (write_model(root, row.tiny),)
        options = ExportOptions(precisions=("fp32",), folds=row.folds)
        export_nnunet(folders[-1], root / "bundle", options, lambda _: None)
        images = (_image(row, (24, 38, 33), 1), _image(row, (9, 15, 30), 2))
        cases = [_reference(folders, row.folds, image) for image in images]
    by_stage = [case for stage in zip(*cases, strict=True) for case in stage]
    return Exported(request.param, open_bundle(root / "bundle"), tuple(by_stage))


def _image(row: Row, shape: tuple[int, int, int], seed: int) -> Volume:
    channels = len(row.tiny.normalization)
    return volume(
        shape, row.spacing, channels=channels, seed=seed, mean=300 * row.scale, deviation=80 * row.scale
    )


def _reference(folders: tuple[Path, ...], folds: tuple[str, ...] | None, image: Volume) -> list[Case]:
    """nnunetv2's result of every stage."""
    cases: list[Case] = []
    for path in folders:
        folder = read_model_folder(path, folds=folds, checkpoint="checkpoint_final.pth", trust_pickles=False)
        plan = to_plan(folder, previous_stage=folder.configuration.previous_stage_name)
        network = build_network(folder, plan.input_channels, plan.labels.heads)
        load_weights(network, folder.checkpoints[0].weights, folder.folds[0])
        previous = cases[-1].prediction.labels if cases else None
        prediction = Reference(folder, network, plan).predict(image.data, image.geometry.spacing, previous)
        file = postprocessing_file(folder)
        mask = prediction.labels if file is None else postprocessed(prediction.labels, file)
        cases.append(Case(folder.configuration_name, image, previous, prediction, mask))
    return cases


@pytest.mark.parametrize("device", BACKENDS)
def test_labels_and_logits(exported: Exported, device: str) -> None:
    """Every stage by itself: the second stage of a cascade is given nnunetv2's first."""
    for role, cases in itertools.groupby(exported.cases, key=lambda case: case.role):
        with open_segmenter(exported.bundle, Options(device=device, role=role)) as segmenter:
            for case in cases:
                result = segmenter.segment(case.image, previous=case.previous, logits=True)
                assert result.mask.dtype == np.uint8 and result.mask.shape == case.image.geometry.shape
                wrong = result.mask != case.mask
                margins = case.prediction.margin[wrong & (case.prediction.labels == case.mask)]
                assert wrong.sum() <= 3, f"{wrong.sum()} voxels differ"
                assert margins.size == 0 or margins.max() <= BACKENDS[device]
                assert result.logits is not None
                assert result.logits.shape == case.prediction.logits.shape
                assert _relative(result.logits, case.prediction.logits) <= LOGITS[device]
    if len(exported.bundle.manifest.segmenters) > 1:
        # In a row: a tie in the first stage may fall the other way and move some of the second's voxels with it.
        with open_segmenter(exported.bundle, Options(device=device)) as segmenter:
            for case in exported.cases[-2:]:
                assert lowest_dice(segmenter.segment(case.image).mask, case.mask) > 0.98


ON_THE_HOST = {
    *("thick slices, linear between", "linear data, nearest logits", "cubic logits", "regions, cubic logits"),
}
"""Rows whose logits are resampled otherwise than linearly: their labels come from the host's stages, with the networks
on the device (docs/engines.md)."""


def test_labels_of_the_path_on_a_device(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against nnunetv2, as strictly as on a CPU: from the crop to labels in the device's array code."""
    put_in_place(monkeypatch)
    for role, cases in itertools.groupby(exported.cases, key=lambda case: case.role):
        with unproven(exported.bundle, "fp32", role) as segmenter:
            for case in cases:
                result = segmenter.segment(case.image, previous=case.previous)
                assert result.on_device == (exported.name not in ON_THE_HOST)
                wrong = result.mask != case.mask
                margins = case.prediction.margin[wrong & (case.prediction.labels == case.mask)]
                assert wrong.sum() <= EXACT.floor, f"{wrong.sum()} voxels differ"
                assert margins.size == 0 or margins.max() <= BACKENDS["cpu"]


def _relative(logits: npt.NDArray[np.float16], expected: npt.NDArray[np.float16]) -> float:
    ours, theirs = logits.astype(np.float64), expected.astype(np.float64)
    return float(np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean()))


def test_the_model_segments_something(exported: Exported) -> None:
    """A row whose masks hold one label only would prove nothing."""
    large = exported.cases[-2]
    counts = np.bincount(large.prediction.labels.ravel())
    assert (counts > 0.003 * large.mask.size).sum() >= 3
    assert (np.diff(large.mask.astype(int), axis=2) == 0).mean() > 0.7, "salt and pepper"


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in LONGER else []) for name in KINDS],
)
def exported_kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Kind, Path]]:
    """A kind that has to be compared file by file, and its bundle."""
    root = tmp_path_factory.mktemp("kind")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = KINDS[request.param](root, patch)
        models = [str(model) for model in kind.models]
        assert run(["export", "nnunet", *models, "-o", str(root / "bundle"), "--precision", "fp32"]) == 0
        yield kind, root / "bundle"


@pytest.mark.parametrize("device", BACKENDS)
def test_files_of_other_kinds(exported_kind: tuple[Kind, Path], device: str, tmp_path: Path) -> None:
    """Ensembles, pictures, archives and Primus beside nnU-Net's own commands: not one value of a mask differs."""
    kind, bundle = exported_kind
    command = ["segment", str(bundle), str(kind.images), "-o", str(tmp_path / "ours"), "--device", device]
    assert run([*command, *kind.options]) == 0
    for name in kind.masks:
        ours, theirs = read(tmp_path / "ours" / name), read(kind.theirs / name)
        assert len(np.unique(theirs)) > 2
        np.testing.assert_array_equal(ours, theirs, strict=True)
    if device == "cpu":
        kind.also(bundle, tmp_path / "ours")
