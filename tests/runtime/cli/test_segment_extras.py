"""What owners ask of `scanside segment` beside masks: chosen labels, statistics, previews, names for viewers."""

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scanside.runtime.record import json_schema
from scanside.runtime.statistics import StatisticsReport
from tests.runtime.cli.conftest import Command
from tests.runtime.cli.test_segment import files

Write = Callable[..., Path]
CPU = ("--device", "cpu", "--no-mirroring", "--folds", "0")


@pytest.fixture
def image(write_image: Write, tmp_path: Path) -> Path:
    return write_image(tmp_path / "case.nii.gz")


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_chosen_label_keeps_its_value_and_the_rest_is_background(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    whole, by_name, by_value = (tmp_path / f"{name}.nii.gz" for name in ("whole", "name", "value"))
    assert scanside("segment", bundle, image, "-o", whole, *CPU).code == 0
    done = scanside("segment", bundle, image, "-o", by_name, *CPU, "--roi", "far", "--json")
    assert done.code == 0
    assert done.json["roi"] == ["far"] and list(done.json["labels"]) == ["far"]
    assert "Only far stand" in done.json["cases"][0]["remarks"][-1]
    assert scanside("segment", bundle, image, "-o", by_value, *CPU, "--roi", "2").code == 0
    full = array(whole)
    assert set(np.unique(full)) == {0, 1, 2}
    np.testing.assert_array_equal(array(by_name), np.where(full == 2, 2, 0))
    assert by_name.read_bytes() == by_value.read_bytes()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (("--roi", "liver"), "no label 'liver'; choose from near, far"),
        (("--roi", "background"), "is the background"),
        (("--roi", "far", "--save-probabilities"), "leave one of them out"),
        (("--statistics", "sizes.txt"), "neither in .csv nor in .json"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path, chosen: tuple[str, ...], words: str
) -> None:
    done = scanside("segment", bundle, image, "-o", tmp_path / "out", *chosen)
    assert done.code == 2 and words in done.err
    assert not (tmp_path / "out").exists()


def test_statistics_are_those_of_the_image_inside_the_mask(
    scanside: Command, two_channel_bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    pair = [write_image(tmp_path / f"c_000{index}.nii.gz", seed=index) for index in (0, 1)]
    table, document = tmp_path / "s.csv", tmp_path / "s.json"
    run = ("segment", two_channel_bundle, *pair, "-o", tmp_path / "out", "--device", "cpu", "--no-mirroring")
    assert scanside(*run, "--statistics", table).code == 0
    rows = list(csv.DictReader(table.open()))
    mask = array(next((tmp_path / "out").glob("*.nii.gz")))
    assert {row["label"] for row in rows} == {"near", "far"}
    for row in rows:
        inside = mask == {"near": 1, "far": 2}[row["label"]]
        assert int(row["voxels"]) == inside.sum() and row["area_mm2"] == ""
        assert float(row["volume_ml"]) == pytest.approx(inside.sum() * 1.1 * 0.9 * 1.7 / 1000, rel=1e-6)
        if not inside.any():
            assert row["channel"] == row["mean"] == row["maximum"] == ""  # absent, never zero
            continue
        values = array(pair[_place(rows, row)])[inside]
        assert float(row["mean"]) == pytest.approx(values.mean(), rel=1e-12)
        assert float(row["sd"]) == pytest.approx(values.std(), rel=1e-12)
        assert float(row["percentile_95"]) == pytest.approx(np.percentile(values, 95), rel=1e-12)
        assert (float(row["minimum"]), float(row["maximum"])) == (values.min(), values.max())
    # a run that goes on keeps the numbers of what was finished before, in the other form
    assert scanside(*run, "--resume", "--statistics", document).code == 0
    told = json.loads(document.read_text())
    jsonschema.validate(told, json_schema(StatisticsReport))
    assert [one["voxels"] for one in told["cases"][0]["labels"]] == [int(row["voxels"]) for row in rows[::2]]
    refused = scanside(*run[:-1], "--step-size", "1", "--statistics", document)
    assert refused.code == 1 and "exists already" in refused.err


def _place(rows: list[dict[str, str]], row: dict[str, str]) -> int:
    channels = list(dict.fromkeys(one["channel"] for one in rows if one["channel"]))
    return channels.index(row["channel"])


def test_statistics_that_an_earlier_run_did_not_take_are_taken_by_resume(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    run = ("segment", bundle, image, "-o", tmp_path / "out", *CPU)
    assert scanside(*run).code == 0
    done = scanside(*run, "--resume", "--statistics", tmp_path / "s.csv")
    assert done.code == 0 and "0 finished before" not in done.err
    assert (tmp_path / "s.csv").read_text().count("\n") == 3


def test_a_preview_shows_each_label_in_its_colour(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert scanside("segment", bundle, image, "-o", out, *CPU, "--preview").code == 0
    assert files(out) == {"case.nii.gz", "case_preview.png"}
    pixels = np.array(Image.open(out / "case_preview.png"))
    for colour in ((230, 25, 75), (255, 225, 25)):  # near, far
        assert (pixels == colour).all(axis=-1).sum() > 100
    (out / "case_preview.png").unlink()
    assert scanside("segment", bundle, image, "-o", out, *CPU, "--preview", "--resume").code == 0
    assert (out / "case_preview.png").exists()  # a case without its picture is not finished


def test_a_picture_in_two_dimensions_has_a_preview_without_sides() -> None:
    from scanside.runtime import Volume, draw_labels
    from scanside.runtime.volume import picture

    grid = picture((30, 40), (1.0, 2.0))
    mask = np.zeros(grid.shape, np.uint8)
    mask[0, 10:20, 10:20] = 3
    drawn = draw_labels(
        Volume(np.random.default_rng(0).random((1, *grid.shape), np.float32), grid), mask, {"a": 3}, "t"
    )
    assert (np.array(drawn) == (0, 130, 200)).all(axis=-1).any()


def nrrd_header(path: Path) -> dict[str, str]:
    text = path.read_bytes().split(b"\n\n", 1)[0].decode()
    return dict(re.findall(r"(?m)^(\w+):=(.*)$", text))


def test_names_are_where_viewers_look_for_them(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert scanside("segment", bundle, image, "-o", out, *CPU, "--format", ".seg.nrrd").code == 0
    header = nrrd_header(out / "case.seg.nrrd")
    assert header["Segment0_Name"] == "near" and header["Segment1_Name"] == "far"
    assert [header[f"Segment{n}_LabelValue"] for n in (0, 1)] == ["1", "2"]
    assert header["Segment0_Extent"] == "0 21 0 25 0 13" and header["Segment0_Layer"] == "0"
    assert header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    plain, named = tmp_path / "plain", tmp_path / "named"
    assert scanside("segment", bundle, image, "-o", plain, *CPU).code == 0
    assert scanside("segment", bundle, image, "-o", named, *CPU, "--label-names").code == 0
    assert files(plain) == {"case.nii.gz"}
    assert files(named) == {"case.nii.gz", "labels.txt", "labels.ctbl"}
    assert (plain / "case.nii.gz").read_bytes() == (named / "case.nii.gz").read_bytes()
    np.testing.assert_array_equal(array(out / "case.seg.nrrd"), array(plain / "case.nii.gz"))
    rows = [row for row in (named / "labels.txt").read_text().splitlines() if not row.startswith("#")]
    assert [re.fullmatch(r'\s*(\d+)(\s+[\d.]+){6}\s+"(.*)"', row)[3] for row in rows] == [
        "Clear Label",
        "near",
        "far",
    ]  # type: ignore[index]
    assert "1 near 230 25 75 255" in (named / "labels.ctbl").read_text()


def test_a_named_nrrd_is_the_plain_one_but_for_its_header(
    scanside: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    plain, named = tmp_path / "plain.nrrd", tmp_path / "named.nrrd"
    assert scanside("segment", bundle, image, "-o", plain, *CPU).code == 0
    assert scanside("segment", bundle, image, "-o", named, *CPU, "--label-names").code == 0
    assert not nrrd_header(plain).get("Segment0_Name") and nrrd_header(named)["Segment1_Name"] == "far"
    data = [hashlib.sha256(path.read_bytes().split(b"\n\n", 1)[1]).hexdigest() for path in (plain, named)]
    assert data[0] == data[1]
