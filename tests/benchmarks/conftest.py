from pathlib import Path

import pytest
import SimpleITK as sitk

import tests.support.calm  # noqa: F401
from scanside.benchmarks.models import make_model
from scanside.export.nnunet import ExportOptions, export_nnunet
from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
from tests.support.phantoms import volume

SHAPE, SPACING = (12, 24, 20), (2.5, 1.0, 1.0)


def write_image(path: Path, seed: int) -> Path:
    data = sitk.GetImageFromArray(volume(SHAPE, SPACING, seed=seed).data[0])
    data.SetSpacing(SPACING[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(data, str(path))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of the kind `tiny`."""
    folder = tmp_path_factory.mktemp("bench") / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    make_model(folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def bundle(model: Path) -> Path:
    """The same as a bundle."""
    out = model.with_name("tiny.bundle")
    export_nnunet(model, out, ExportOptions(precisions=("fp32",), postprocessing="none"), lambda words: None)
    return out


@pytest.fixture(scope="session")
def images(model: Path) -> Path:
    """Two images in a folder as nnU-Net wants it."""
    folder = model.with_name("images")
    for seed, name in enumerate(("first", "second")):
        write_image(folder / f"{name}_0000.nii.gz", seed)
    return folder
