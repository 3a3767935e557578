"""Primus, nnU-Net's transformer: real networks of nnunetv2's own classes, through the gate and beside its predictor."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from scanside.export.network import find_trainer
from scanside.export.results_folder import dataset_json, plain_unet, plans, write_results_folder
from scanside.runtime.cli.main import run
from tests.support.nnunet_files import predict_files
from tests.support.phantoms import smooth
from tests.support.sentences import assert_one_sentence

PATCH = (16, 24, 16)
LABELS = {"background": 0, "near": 1, "far": 2}
SMALL = "nnUNet_Primus_Small_Trainer"
SOURCE = f'''
from dynamic_network_architectures.architectures.primus import Primus
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import AbstractPrimus


class {SMALL}(AbstractPrimus):
    """As nnUNet_Primus_S_Trainer, with fewer and narrower layers."""

    @staticmethod
    def build_network_architecture(plans_manager, configuration_manager, num_input_channels, num_output_channels,
                                   enable_deep_supervision=True):
        return Primus(num_input_channels, 48, (8, 8, 8), num_output_channels, 1, 4, configuration_manager.patch_size,
                      drop_path_rate=0.2, scale_attn_inner=True, init_values=0.1)
'''


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Primus needs timm, timm torchvision, and the latter's operators do not load beside another build of PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.library, "register_fake", lambda *_, **__: lambda function: function)
        pytest.importorskip("nnunetv2.training.nnUNetTrainer.primus.primus_trainers")
        yield


@pytest.fixture(autouse=True)
def small_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of `SMALL`, where nnU-Net looks for trainers from outside."""
    folder = tmp_path / "trainers"
    folder.mkdir()
    (folder / "small.py").write_text(SOURCE)
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join(["", str(folder)]))


def written(root: Path, trainer: str) -> Path:
    """A results folder whose network has random weights and labels of some size."""
    torch.manual_seed(1)
    network: Any = find_trainer(trainer).build_network_architecture(
        None, SimpleNamespace(patch_size=PATCH), 1, len(LABELS), enable_deep_supervision=False
    )
    network.eval()
    with torch.no_grad():
        image = torch.from_numpy(smooth(PATCH, 3).astype(np.float32))[None, None]
        output = network(image)[0].flatten(1)
        head = [module for module in network.modules() if isinstance(module, torch.nn.ConvTranspose3d)][-1]
        factor = 4 / output.std(dim=1)
        head.weight.mul_(factor.reshape(1, -1, 1, 1, 1))
        head.bias.copy_((head.bias - output.mean(dim=1)) * factor)
    recipe = plans(
        "Dataset999_Tiny",
        "3d_fullres",
        spacing=(1.5, 1.0, 1.2),
        patch_size=PATCH,
        architecture=plain_unet(
            (4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2))
        ),  # Primus does not look at it
    )
    return write_results_folder(
        root / f"{trainer}__nnUNetPlans__3d_fullres",
        recipe,
        dataset_json(LABELS),
        {"0": network.state_dict()},
        configuration="3d_fullres",
        mirror_axes=(1,),
        trainer=trainer,
    )


@pytest.mark.parametrize("trainer", [SMALL, pytest.param("nnUNet_Primus_S_Trainer", marks=pytest.mark.slow)])
def test_same_labels_as_nnunet(trainer: str, tmp_path: Path) -> None:
    folder, bundle = written(tmp_path, trainer), tmp_path / "bundle"
    image = sitk.GetImageFromArray(smooth((18, 33, 30), 5).astype(np.float32) * 100 + 200)
    image.SetSpacing((1.1, 0.9, 1.6))
    (tmp_path / "images").mkdir()
    sitk.WriteImage(image, str(tmp_path / "images/case_0000.nii.gz"))
    assert run(["export", "nnunet", str(folder), "-o", str(bundle), "--precision", "fp32"]) == 0
    assert (
        run(
            [
                "segment",
                str(bundle),
                str(tmp_path / "images"),
                "-o",
                str(tmp_path / "ours"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    predict_files(folder, ("0",), [[tmp_path / "images/case_0000.nii.gz"]], tmp_path / "theirs")
    ours, theirs = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / side / "case.nii.gz")))
        for side in ("ours", "theirs")
    )
    assert len(np.unique(theirs)) == len(LABELS)
    assert int((ours != theirs).sum()) == 0


def test_lower_precisions_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before anything is computed, and with the way out."""
    folder = written(tmp_path, SMALL)
    assert run(["export", "nnunet", str(folder), "-o", str(tmp_path / "bundle")]) == 5
    error = capfd.readouterr().err.strip()
    assert "add --precision fp32" in error and not (tmp_path / "bundle").exists()
    assert_one_sentence(error)
