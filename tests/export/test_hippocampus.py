"""A real model on real MRIs: nnU-Net's masks, voxel for voxel."""

from pathlib import Path

import numpy as np
import pytest

from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.plan import to_plan
from scanside.export.reference import Prediction, Reference
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.images.read import read_image
from scanside.runtime.options import Options
from tests.support.cuda_on_host import put_in_place, unproven
from tests.support.nnunet_files import predictor
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("parity")

CASES = 2
TIES = {"cpu": 0, "openvino": 1}
"""Device → voxels of all cases together that may differ, and only where two logits are one rounding apart."""


@pytest.fixture(scope="module")
def images() -> list[Path]:
    return spread(CASES)


def spread(count: int, first: int = 0) -> list[Path]:
    """So many of the 200 MRIs, evenly apart."""
    found = sorted(shared_data("volumes", "msd_hippocampus").rglob("imagesTr/*_0000.nii.gz"))[first:]
    return found[:: max(1, len(found) // count)][:count]


@pytest.fixture(scope="module")
def bundle(hippocampus: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(hippocampus, tmp_path_factory.mktemp("real") / "bundle", ("0",))


def exported(model: Path, out: Path, folds: tuple[str, ...]) -> Bundle:
    export_nnunet(model, out, ExportOptions(folds=folds, precisions=("fp32",)), lambda _: None)
    return open_bundle(out)


@pytest.fixture(scope="module")
def expected(hippocampus: Path, images: list[Path]) -> list[Prediction]:
    return predicted(hippocampus, images)


def predicted(hippocampus: Path, images: list[Path]) -> list[Prediction]:
    folder = read_model_folder(
        hippocampus, folds=("0",), checkpoint="checkpoint_final.pth", trust_pickles=False
    )
    plan = to_plan(folder)
    reference = Reference(folder, build_network(folder, plan.input_channels, plan.labels.heads), plan)
    volumes = [read_image(path) for path in images]
    return [reference.predict(volume.data, volume.geometry.spacing) for volume in volumes]


def test_the_reference_is_the_predictor(
    hippocampus: Path, images: list[Path], expected: list[Prediction]
) -> None:
    """Loaded by nnunetv2's own code, from the file, for one case."""
    theirs = predictor(hippocampus, ("0",))
    reader = theirs.plans_manager.image_reader_writer_class()
    mask = theirs.predict_single_npy_array(*reader.read_images([str(images[0])]))
    np.testing.assert_array_equal(expected[0].labels, mask)


@pytest.mark.parametrize("device", TIES)
def test_every_voxel(bundle: Bundle, images: list[Path], expected: list[Prediction], device: str) -> None:
    compare(bundle, images, expected, device)


@pytest.mark.slow
@pytest.mark.parametrize("device", TIES)
def test_every_voxel_of_more(bundle: Bundle, hippocampus: Path, device: str) -> None:
    images = spread(6)
    compare(bundle, images, predicted(hippocampus, images), device)


def compare(bundle: Bundle, images: list[Path], expected: list[Prediction], device: str) -> None:
    with open_segmenter(bundle, Options(device=device, folds=("0",))) as segmenter:
        masks = [segmenter.segment(read_image(path)).mask for path in images]
    wrong = [mask != prediction.labels for mask, prediction in zip(masks, expected, strict=True)]
    margins = [
        margin for w, prediction in zip(wrong, expected, strict=True) for margin in prediction.margin[w]
    ]
    assert len(margins) <= TIES[device], margins
    assert max(margins, default=0) < 0.01
    assert all(set(mask.ravel()) == {0, 1, 2} for mask in masks)


def device_against_host(bundle: Bundle, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> int:
    """Differing voxels of all images together: all folds, all mirror variants, labels of the device's array code."""
    put_in_place(monkeypatch)
    differing = 0
    with (
        open_segmenter(bundle, Options(device="cpu", precision="fp32")) as host,
        unproven(bundle, "fp32") as device,
    ):
        for path in images:
            volume = read_image(path)
            found, wanted = device.segment(volume), host.segment(volume)
            assert found.on_device and not wanted.on_device
            assert set(wanted.mask.ravel()) == {0, 1, 2}
            differing += int((found.mask != wanted.mask).sum())
    return differing


def test_the_path_on_a_device(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_against_host(bundle, spread(1, first=7), monkeypatch) == 0


@pytest.mark.slow
def test_the_path_on_a_device_for_many(
    hippocampus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both folds."""
    both = exported(hippocampus, tmp_path / "bundle", ("0", "1"))
    assert device_against_host(both, spread(20), monkeypatch) == 0
