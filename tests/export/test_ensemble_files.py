"""`--save-probabilities` against nnU-Net: its own merging of our files, and of its own, give one mask."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.ensembling.ensemble import ensemble_folders
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.cli.main import run
from tests.support import phantoms
from tests.support.nnunet_files import merge_by_threads
from tests.support.tiny_models import REGION_LABELS, Tiny, write_model

MODELS = {
    "labels": (Tiny(), Tiny(spacing=(2.0, 1.3, 1.1))),
    "regions": (
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3)),
        Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3), spacing=(2.0, 1.3, 1.1)),
    ),
}


def written(folder: Path) -> Path:
    image = sitk.GetImageFromArray(phantoms.smooth((18, 30, 28), 5).astype(np.float32) * 100)
    image.SetSpacing((0.9, 1.1, 1.7))
    image.SetOrigin((-20.5, 14.25, 7.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    folder.mkdir()
    sitk.WriteImage(image, str(folder / "case_0000.nii.gz"))
    return folder


def theirs(model: Path, images: Path, out: Path) -> Path:
    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False, verbose=False
    )
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    out.mkdir()
    predictor.predict_from_files_sequential(str(images), str(out), save_probabilities=True)
    return out


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    merge_by_threads(monkeypatch)


def merged(folders: list[Path], out: Path) -> sitk.Image:
    ensemble_folders([str(folder) for folder in folders], str(out), num_processes=1)
    return sitk.ReadImage(str(out / "case.nii.gz"))


@pytest.mark.parametrize("kind", MODELS)
def test_nnunet_merges_our_probabilities_as_its_own(kind: str, tmp_path: Path) -> None:
    images, ours, nnunet = written(tmp_path / "images"), [], []
    for index, tiny in enumerate(MODELS[kind]):
        model, place = write_model(tmp_path / f"model{index}", tiny), tmp_path / f"ours{index}"
        export_nnunet(
            model, tmp_path / f"bundle{index}", ExportOptions(precisions=("fp32",)), lambda words: None
        )
        command = ["segment", str(tmp_path / f"bundle{index}"), str(images), "-o", str(place)]
        assert run([*command, "--save-probabilities", "--device", "cpu"]) == 0
        ours.append(place)
        nnunet.append(theirs(model, images, tmp_path / f"theirs{index}"))
    first, second = merged(ours, tmp_path / "merged"), merged(nnunet, tmp_path / "expected")
    masks = [sitk.GetArrayFromImage(image) for image in (first, second)]
    assert len(np.unique(masks[1])) > 2
    assert int((masks[0] != masks[1]).sum()) == 0
    for name in ("Spacing", "Origin", "Direction"):
        assert np.allclose(getattr(first, f"Get{name}")(), getattr(second, f"Get{name}")(), rtol=0, atol=1e-6)
