"""Device graphs around real networks: masks of golden cases, every step but the device's own being the runtime's."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scanside.export.device import device_graphs
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.device.graph import OrtGraph
from scanside.runtime.device.slide import Device, label_on_device
from scanside.runtime.golden import APPROXIMATE, GoldenCase, compare, load_golden
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.manifest import FilePrecision
from scanside.runtime.stages.crop import crop, restore
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.postprocess import postprocess
from scanside.runtime.stages.resample import resample_image, resampled_shape, target_spacing
from tests.support.tiny_models import REGION_LABELS, Tiny, write_model

DEMO = Path(__file__).parents[2] / "training/scanside/training/data/pancreas-phantom.bundle"
MODELS = {
    "anisotropic": Tiny(spacing=(4.0, 0.8, 0.8), patch=(8, 24, 24), mirror=(0, 1, 2), folds=("0", "1")),
    "2d regions": Tiny(
        patch=(32, 24), spacing=(1.0, 1.0), mirror=(0, 1), labels=REGION_LABELS, regions_class_order=(1, 2, 3)
    ),
    "transposed": Tiny(transpose=(2, 0, 1), normalization=("ZScoreNormalization", "CTNormalization")),
}


def on_device(
    bundle: Bundle, role: str, case: GoldenCase, precision: FilePrecision
) -> npt.NDArray[np.unsignedinteger]:
    """The mask of a case, by the steps of `pipeline.py` with the device's graphs in the middle."""
    segmenter = bundle.manifest.segmenters[role]
    plan, volume = segmenter.plan, case.volume
    if plan.reorient:
        volume = reorient(volume, plan.reorient)[0]
    cropped = crop(volume, plan, None)
    target = target_spacing(plan, cropped.spacing)
    data = normalise(cropped, plan)
    shape = resampled_shape(data.shape[1:], cropped.spacing, target)
    data = resample_image(data, shape, cropped.spacing, target, plan.resampling_data)
    graphs = device_graphs(plan)
    assert graphs is not None
    device = Device(
        {name: OrtGraph(graph.SerializeToString()) for name, graph in graphs.items()},
        [OrtGraph(bundle.read(network.files[precision])) for network in segmenter.networks],
    )
    place = cropped.place
    found = label_on_device(data, place.shape, target, place.spacing, plan, device)
    mask = postprocess(restore(found.labels, place, plan), plan.postprocessing)
    return restore_orientation(mask, volume.geometry, case.volume.geometry) if plan.reorient else mask


def check(bundle: Bundle, precision: FilePrecision, names: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    for golden in bundle.manifest.golden:
        if golden.role in bundle.manifest.segmenters and (not names or golden.name in names):
            case = load_golden(bundle, golden)
            found = compare(case, on_device(bundle, golden.role, case, precision), "cpu", "mixed", 0.0)
            # In an image's corners nnU-Net's float16 sums keep one or two quanta; float32 sums differ there, and
            # in an image of a few thousand voxels corners are a sizeable part. The margin alone may be exceeded.
            assert found.differing <= 3 or found.problem is None, (golden.name, found)
            assert found.worst_margin is None or found.worst_margin < 0.6, (golden.name, found)
            assert len(np.unique(case.labels)) > 1 or golden.name.endswith("small")
            yield {
                "case": golden.name,
                "voxels": found.voxels,
                "differing": found.differing,
                "dice": found.dice,
            }


@pytest.mark.parametrize("name", MODELS)
def test_made_models(name: str, tmp_path: Path) -> None:
    export_nnunet(write_model(tmp_path, MODELS[name]), tmp_path / "bundle", ExportOptions(), lambda _: None)
    for precision in ("fp32", "mixed"):
        rows = list(check(open_bundle(tmp_path / "bundle"), precision))  # type: ignore[arg-type]
        print(name, precision, rows)
        assert len(rows) == 2


def test_demonstration() -> None:
    rows = list(check(open_bundle(DEMO), "fp32", ("t2w-synthetic-small", "dwi-synthetic-tiles")))
    print(rows)
    assert len(rows) == 2


@pytest.mark.slow
def test_real_hippocampi(hippocampus: Path, tmp_path: Path) -> None:
    from tests.support.shared_data import shared_data

    images = sorted(shared_data("volumes", "msd_hippocampus", "imagesTr").glob("*.nii.gz"))[:3]
    options = ExportOptions(folds=("0",), golden=tuple(images))
    export_nnunet(hippocampus, tmp_path / "bundle", options, lambda _: None)
    for precision in ("fp32", "mixed"):
        rows = list(check(open_bundle(tmp_path / "bundle"), precision))  # type: ignore[arg-type]
        print(precision, rows)
        assert len(rows) == 5
        assert all(row["dice"] >= APPROXIMATE.dice for row in rows)
