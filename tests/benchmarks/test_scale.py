"""`bench scale`: the made network means what it says, and points are measured for real."""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from scanside.benchmarks.choices import ScaleOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.made import make_image, write_bundle
from scanside.benchmarks.models import KINDS
from scanside.benchmarks.results import Measurements, write
from scanside.benchmarks.scale import LARGEST, MOST_CLASSES, _exponent, points, run_scale, tiles
from scanside.benchmarks.tables import render
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.record import json_schema
from scanside.runtime.segmenter import Obtained

ROOT = Path(__file__).parents[2]
TINY = ScaleOptions(threads=1, repeats=1, base=(16, 32, 32), patch=(16, 16, 16))


def test_the_made_network_gives_the_class_of_the_nearest_centre(tmp_path: Path) -> None:
    classes = 5
    bundle = open_bundle(write_bundle(tmp_path / "made.bundle", classes, (16, 16, 16)))
    image = make_image((16, 16, 16), (1.5, 1.5, 1.5))  # the network's grid, one tile
    options = Options(device="cpu", mirroring=False, threads=1)
    with LocalSegmenter(bundle, options, Obtained("cpu", "cpu", "asked for", "fp32")) as opened:
        mask = opened.segment(image).mask
    inside = np.argwhere(image.data[0] != 0)
    box = tuple(slice(a, b + 1) for a, b in zip(inside.min(axis=0), inside.max(axis=0), strict=True))
    grey = image.data[0][box].astype(np.float64)
    scores = (grey - grey.mean()) / grey.std()
    smooth = ndimage.uniform_filter(scores, 3, mode="constant")
    centres = np.linspace(-1.5, 1.5, classes)
    expected = np.argmin(np.abs(smooth[..., None] - centres), axis=-1)
    edge = np.sort(np.abs(smooth[..., None] - centres), axis=-1)
    clear = edge[..., 1] - edge[..., 0] > 0.02
    assert clear.mean() > 0.9 and np.array_equal(mask[box][clear], expected[clear])
    assert len(np.unique(mask)) >= 4, "classes occur"


def test_the_made_image_is_a_body_in_air() -> None:
    image = make_image((6, 40, 40))
    data = image.data[0]
    assert np.array_equal(data, make_image((6, 40, 40)).data[0]) and np.array_equal(data, np.rint(data))
    assert (data[:, 0] == 0).all() and (data[:, 20, 20] > 0).all() and 0.4 < (data > 0).mean() < 0.9


def test_every_axis_is_varied_alone() -> None:
    todo = points(ScaleOptions())
    for axis in ("voxels", "classes", "tiles", "studies"):
        along = [plan for plan in todo if plan.axis == axis]
        assert len(along) >= 4 and len({plan.value for plan in along}) == len(along)
        varied = {"voxels": "shape", "tiles": "step_size"}.get(axis, axis)
        for name in {"classes", "studies", "step_size", "shape", "patch"} - {varied}:
            assert len({getattr(plan, name) for plan in along}) == 1, (axis, name)
    assert all(plan.shape != LARGEST for plan in todo), "the largest is asked for"
    largest = points(ScaleOptions(large=True))[-1]
    assert (largest.shape, largest.classes) == ((400, 512, 512), MOST_CLASSES)
    assert tiles((96, 64, 64), (32, 32, 32), 1.0) == math.prod((2, 1, 1))


def test_exponents() -> None:
    assert _exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert _exponent([1, 2, 4, 8], [5, 5, 5, 5]) == pytest.approx(0, abs=1e-6)
    assert _exponent([10, 100], [1, 100]) == pytest.approx(2)


def test_points_are_measured_and_the_file_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [points(TINY)[number] for number in (0, 2, -2)]
    monkeypatch.setattr("scanside.benchmarks.scale.points", lambda options: chosen)
    report = run_scale(TINY, environment(["bench", "scale"]))
    *found, growth = report.measured
    assert [(one.facts["axis"], one.facts["studies"]) for one in found] == [
        ("voxels", 1), ("voxels", 1), ("studies", 8),
    ]  # fmt: skip
    for one in found:
        assert 0 < one.median("in the network") < one.median("whole")
        assert (
            20 < one.median("memory before") <= one.median("peak memory") < report.conditions["ceiling_mib"]
        )
        assert "slide" in one.facts["stages_ms"] and "label" in one.facts["stages_ms"]
    assert report.passed and growth.name == "growth with voxels"
    write(report, tmp_path / "scale.json")
    schema = json_schema(Measurements)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((tmp_path / "scale.json").read_text()), schema)
    assert "ceiling_mib 4096" in render(report) and "- growth with voxels: whole ∝ n^" in render(report)


def test_a_ceiling_that_is_passed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ScaleOptions(threads=1, repeats=1, base=TINY.base, patch=TINY.patch, ceiling_mib=10)
    monkeypatch.setattr("scanside.benchmarks.scale.points", lambda options: points(TINY)[:1])
    report = run_scale(options, environment(["bench", "scale"]))
    assert not report.passed and not report.headline
    assert "MiB, more than 10." in report.faults[0] and report.faults[0] in render(report)


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    assert run(["bench", "scale", "-o", str(tmp_path / "o.json"), "--repeats", "0"]) == 2


def test_a_made_image_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / "made_0000.nii.gz"
    assert run(["bench", "make-image", str(out), "--shape", "8,24,16"]) == 0
    image = sitk.ReadImage(str(out))
    assert image.GetSize() == (16, 24, 8) and image.GetSpacing() == pytest.approx((0.75, 0.75, 1.0))
    assert np.array_equal(sitk.GetArrayFromImage(image), make_image((8, 24, 16)).data[0])
    assert run(["bench", "make-image", str(out), "--shape", "8,24,16"]) != 0, "it exists"
    assert run(["bench", "make-image", str(tmp_path / "x.nii.gz"), "--shape", "8,24"]) == 2


def test_a_kind_of_model_has_as_many_classes_as_the_largest_point() -> None:
    assert len(KINDS["classes-30"].labels) + 1 == MOST_CLASSES
