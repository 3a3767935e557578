"""A real model on real MRIs: not one voxel differs from nnU-Net's own predictor."""

from pathlib import Path

import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.images.read import read_image
from scanside.runtime.options import Options
from tests.support.nnunet_files import Mask, predictor
from tests.support.shared_data import shared_data

CASES = 6


@pytest.fixture(scope="session")
def images() -> list[Path]:
    found = sorted(shared_data("volumes", "msd_hippocampus").rglob("imagesTr/*_0000.nii.gz"))
    return found[:: max(1, len(found) // CASES)][:CASES]


@pytest.fixture(scope="session")
def bundle(hippocampus: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("real") / "bundle"
    export_nnunet(hippocampus, out, ExportOptions(folds=("0",)), lambda _: None)
    return open_bundle(out)


@pytest.fixture(scope="session")
def expected(hippocampus: Path, images: list[Path]) -> list[Mask]:
    theirs = predictor(hippocampus, ("0",))
    reader = theirs.plans_manager.image_reader_writer_class()
    return [theirs.predict_single_npy_array(*reader.read_images([str(path)])) for path in images]


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_every_voxel(bundle: Bundle, images: list[Path], expected: list[Mask], device: str) -> None:
    with open_segmenter(bundle, Options(device=device)) as segmenter:
        masks = [segmenter.segment(read_image(path)).mask for path in images]
    assert [int((ours != theirs).sum()) for ours, theirs in zip(masks, expected, strict=True)] == [0] * CASES
    assert all(set(mask.ravel()) == {0, 1, 2} for mask in masks)
