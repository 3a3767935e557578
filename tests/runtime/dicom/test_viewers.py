"""What OHIF makes of a Segmentation, by the reader that it has: cornerstone3D's adapter, in node.

The reader comes from npm: `npm install --prefix tests/viewers`. Without it the test is skipped, and says so.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from scanside.runtime.bundle import open_bundle
from scanside.runtime.labels import segment_color
from scanside.runtime.options import Options
from scanside.runtime.study.objects import ObjectOptions, write_objects
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from tests.runtime.study.tiny_study import CENTRE, TinyStudy, write_bundle, write_dicom

FOLDER = Path(__file__).parents[2] / "viewers"
MODULES = Path(os.environ.get("SCANSIDE_VIEWER_MODULES") or FOLDER / "node_modules")
TWO = ((CENTRE, 12.0), ((CENTRE[0] - 45.0, CENTRE[1], CENTRE[2]), 8.0))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside its modules."""
    if not MODULES.is_dir() or shutil.which("node") is None:
        pytest.skip("NOT TESTED: OHIF's reader is not here; npm install --prefix tests/viewers")
    folder = tmp_path_factory.mktemp("viewer")
    shutil.copy(FOLDER / "read_seg.mjs", folder)
    (folder / "node_modules").symlink_to(MODULES.resolve())
    return folder / "read_seg.mjs"


def shown(reader: Path, segmentation: Path, images: list[Path]) -> Any:
    done = subprocess.run(
        ["node", str(reader), str(segmentation), *map(str, images)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_ohifs_reader_shows_every_lesion_in_its_colour_where_it_is(tmp_path: Path, reader: Path) -> None:
    study = write_dicom(tmp_path / "study", TinyStudy(t2w=TWO, dwi=TWO))
    bundle = open_bundle(write_bundle(tmp_path / "b.bundle"))
    with StudyRunner(bundle, Options(device="cpu")) as runner:
        result = runner.run(read_study(study, runner.recipe.needed))
        objects, warnings = write_objects(
            result, bundle, runner.recipe.channels, tmp_path, options=ObjectOptions()
        )
    assert warnings == ()
    segmentations = [one for one in objects if one.kind == "seg"]
    assert len(segmentations) == 2
    for one in segmentations:
        made = pydicom.dcmread(one.path)
        series = made.ReferencedSeriesSequence[0].SeriesInstanceUID
        headers = {file: pydicom.dcmread(file, stop_before_pixels=True) for file in study.rglob("*.dcm")}
        images = [file for file, header in headers.items() if header.SeriesInstanceUID == series]
        images.sort(key=lambda file: float(headers[file].ImagePositionPatient[2]))
        seen = shown(reader, one.path, images)
        labels = [(segment["number"], segment["label"]) for segment in seen["segments"]]
        assert labels == [(1, "Lesion 1"), (2, "Lesion 2")]
        for segment in seen["segments"]:
            far = np.abs(np.array(segment["colour"]) - segment_color(segment["number"])).max()
            assert far <= 2, "as it is recommended, but for rounding"
        expected = _by_image(made)
        for uid, pixels in zip(seen["images"], np.array(seen["voxels"]), strict=True):
            wanted = expected.get(uid, np.zeros(made.Rows * made.Columns))
            assert np.array_equal(pixels, wanted), uid


def _by_image(made: Any) -> dict[str, Any]:
    """SOP Instance UID of an image → segment number of each of its pixels, read by pydicom."""
    found: dict[str, Any] = {}
    frames = made.pixel_array.reshape(-1, made.Rows * made.Columns)
    for frame, groups in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        image = found.setdefault(str(source.ReferencedSOPInstanceUID), np.zeros(frame.shape, int))
        image[frame > 0] = number
    return found
