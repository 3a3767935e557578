"""NIfTI in, NIfTI out, beside nnU-Net's own file interface: loading, reading and writing included.

`test_matrix.py` compares with `export/reference.py`, a wrapper that loads weights itself; here nnunetv2 loads its
folder with its own code, so that the wrapper is verified as well.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.plan import to_plan
from scanside.export.reference import Reference
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.events import ignore
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.read import read_image
from scanside.runtime.mask_steps import run_cases
from scanside.runtime.options import Options
from scanside.runtime.outputs import Task
from scanside.runtime.volume import Geometry, Volume
from tests.support.nnunet_files import predict_files, predictor, write_images
from tests.support.phantoms import image
from tests.support.tiny_models import REGION_LABELS, Tiny, write_cascade, write_model

OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Row:
    tiny: Tiny
    cascade: bool = False
    direction: tuple[float, ...] = OBLIQUE


ROWS = {
    "plain": Row(Tiny(mirror=(0, 1, 2))),
    "two channels, transposed": Row(
        Tiny(
            normalization=("CTNormalization", "ZScoreNormalization"),
            use_mask=(False, True),
            transpose=(2, 0, 1),
        )
    ),
    "2d, two folds": Row(
        Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1), folds=("0", "1")), direction=SAGITTAL
    ),
    "regions": Row(Tiny(labels=REGION_LABELS, regions_class_order=(1, 2, 3))),
    "cascade": Row(Tiny(use_mask=(True,)), cascade=True),
    "SimpleITKIOWithReorient": Row(Tiny(reader="SimpleITKIOWithReorient"), direction=SAGITTAL),
    "NibabelIOWithReorient": Row(Tiny(reader="NibabelIOWithReorient"), direction=SAGITTAL),
    "NibabelIO": Row(Tiny(reader="NibabelIO")),
    "nrrd": Row(Tiny(file_ending=".nrrd")),
}


@pytest.mark.parametrize("name", ROWS)
def test_masks_are_the_files_that_nnunet_writes(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    folders = write_cascade(tmp_path, row.tiny) if row.cascade else (write_model(tmp_path, row.tiny),)
    export_nnunet(folders[-1], tmp_path / "bundle", ExportOptions(precisions=("fp32",)), lambda _: None)
    cases = _cases(row, tmp_path / "images")
    previous = None
    for index, folder in enumerate(folders):
        out = tmp_path / f"theirs{index}"
        predict_files(folder, row.tiny.folds, list(cases.values()), out, previous)
        previous = out
    with open_segmenter(open_bundle(tmp_path / "bundle"), Options(device="cpu")) as segmenter:
        ending = row.tiny.file_ending
        tasks = [
            Task(CaseInput(case, tuple(paths)), tmp_path / f"{case}{ending}") for case, paths in cases.items()
        ]
        for result in run_cases(segmenter, tasks, ignore):
            assert result.status == "ok", result.reason
    for case in cases:
        ours, theirs = (sitk.ReadImage(str(folder / f"{case}{ending}")) for folder in (tmp_path, out))
        mask, reference = (sitk.GetArrayFromImage(file) for file in (ours, theirs))
        assert len(np.unique(reference)) >= 3
        assert mask.dtype == reference.dtype
        assert (mask != reference).sum() <= 2
        for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(ours, ask)(), getattr(theirs, ask)(), atol=1e-5, err_msg=ask)


def _cases(row: Row, folder: Path) -> dict[str, list[Path]]:
    cases = {}
    for name, shape, seed in (("large", (24, 38, 33), 1), ("small", (10, 15, 30), 2)):
        geometry = Geometry(shape, (1.9, 0.9, 1.0), (-12.5, 30.25, 7.0), row.direction)
        data = image(shape, channels=len(row.tiny.normalization), seed=seed)
        cases[name] = write_images(Volume(data, geometry), folder, name, row.tiny.file_ending)
    return cases


@pytest.mark.parametrize("mirroring", [True, False])
def test_the_reference_wrapper_is_the_predictor(tmp_path: Path, mirroring: bool) -> None:
    """Logits and labels of `Reference` are bit for bit those of a predictor that nnunetv2 initialised itself."""
    tiny = Tiny(folds=("0", "1"), use_mask=(True,), transpose=(1, 2, 0))
    path = write_model(tmp_path, tiny)
    [file] = write_images(
        Volume(image((20, 30, 33)), Geometry((20, 30, 33), (1.9, 0.9, 1.0))), tmp_path / "images", "case"
    )
    theirs = predictor(path, tiny.folds, mirroring=mirroring)
    data, properties = theirs.plans_manager.image_reader_writer_class().read_images([str(file)])
    mask = theirs.predict_single_npy_array(data, dict(properties))
    folder = read_model_folder(path, folds=None, checkpoint="checkpoint_final.pth", trust_pickles=False)
    plan = to_plan(folder)
    network = build_network(folder, plan.input_channels, plan.labels.heads)
    ours = Reference(folder, network, plan, mirroring=mirroring).predict(data, properties["spacing"])
    np.testing.assert_array_equal(ours.labels, mask)
    np.testing.assert_array_equal(read_image(file).data, data)
