import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.record import json_schema
from scanside.runtime.report import SegmentReport
from tests.runtime.cli.conftest import Command
from tests.support.dicom_factory import AXIAL, Grid, write_series
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

Write = Callable[..., Path]
SCHEMA = json_schema(SegmentReport)
SLICES = 12


def files(folder: Path) -> set[str]:
    """Names of the files that a run made, but for the report beside them."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_mask_lies_exactly_on_the_grid_of_its_image(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path, ending: str
) -> None:
    source = write_image(tmp_path / f"liver_0000{ending}")
    done = scanside("segment", bundle, source, "-o", tmp_path / "out", "--device", "cpu")
    assert done.code == 0
    assert done.out.strip() == str(tmp_path / "out" / f"liver{ending}")
    image, mask = sitk.ReadImage(str(source)), sitk.ReadImage(done.out.strip())
    assert mask.GetSize() == image.GetSize() and mask.GetOrigin() == image.GetOrigin()
    # NIfTI keeps a float32 quaternion, NRRD vectors of direction times spacing: the last digits may move.
    assert np.allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-14, atol=0)
    assert np.abs(np.subtract(mask.GetDirection(), image.GetDirection())).max() <= 1e-7
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert len(np.unique(sitk.GetArrayFromImage(mask))) == 3
    assert "Research use only" in done.err


def test_json_report_follows_its_schema_and_counts_the_mask(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source = write_image(tmp_path / "case.nii.gz")
    done = scanside(
        "segment", bundle, source, "-o", tmp_path / "m.nrrd", "--json", "--no-mirroring", "--folds", "1"
    )
    assert done.code == 0
    report = done.json
    jsonschema.validate(report, SCHEMA)
    assert report["status"] == "ok" and report["reason"] is None
    assert report["approximations"] == ["no mirroring", "folds 1 only"]
    assert report["device"]["asked"] == "auto" and report["device"]["obtained"] in ("openvino", "cpu")
    assert [stage["name"] for stage in report["stages"]] == [
        "read", "crop", "normalise", "resample", "slide", "label", "restore", "postprocess", "write",
    ]  # fmt: skip
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "m.nrrd")))
    voxel_ml = 1.1 * 0.9 * 1.7 / 1000
    for name, value in (("near", 1), ("far", 2)):
        assert report["labels"][name] == pytest.approx((mask == value).sum() * voxel_ml, abs=1e-6)


def test_skipping_empty_tiles_is_named_and_counted(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source = write_image(tmp_path / "case.nii.gz")
    chosen = ("--device", "cpu", "--skip-empty-tiles", "--json")
    report = scanside("segment", bundle, source, "-o", tmp_path / "m.nrrd", *chosen).json
    jsonschema.validate(report, SCHEMA)
    assert report["approximations"] == ["tiles outside the body skipped"]
    (remark,) = report["cases"][0]["remarks"]
    assert "tiles" in remark and "computed" in remark


def test_one_bad_case_does_not_stop_the_others(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    for index, name in enumerate(("a", "c")):
        write_image(folder / f"{name}_0000.nii.gz", seed=index)
    (folder / "b_0000.nii.gz").write_bytes((folder / "a_0000.nii.gz").read_bytes()[:900])
    done = scanside("segment", bundle, folder, "-o", tmp_path / "out", "--json", "--device", "cpu")
    assert done.code == 1
    report = done.json
    jsonschema.validate(report, SCHEMA)
    assert [case["status"] for case in report["cases"]] == ["ok", "refused", "ok"]
    assert report["labels"] is None and report["cases"][1]["labels"] is None
    assert_one_sentence(report["cases"][1]["reason"], "b_0000.nii.gz")
    assert files(tmp_path / "out") == {"a.nii.gz", "c.nii.gz"}


def test_a_folder_run_equals_single_runs(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    sources = [write_image(tmp_path / "in" / f"p{i}_0000.nii.gz", seed=i) for i in range(3)]
    assert scanside("segment", bundle, tmp_path / "in", "-o", tmp_path / "all", "--device", "cpu").code == 0
    for index, source in enumerate(sources):
        alone = tmp_path / "alone" / f"p{index}.nii.gz"
        assert scanside("segment", bundle, source, "-o", alone, "--device", "cpu").code == 0
        assert (tmp_path / "all" / alone.name).read_bytes() == alone.read_bytes()


def test_channels_of_one_case(
    scanside: Command, two_channel_bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    first, second = (write_image(tmp_path / f"x_000{i}.nii.gz", seed=i) for i in range(2))
    done = scanside("segment", two_channel_bundle, first, second, "-o", tmp_path / "out")
    assert done.code == 0 and files(tmp_path / "out") == {"x.nii.gz"}


def test_channels_on_different_grids_are_refused(
    scanside: Command, two_channel_bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    first = write_image(tmp_path / "x_0000.nii.gz")
    second = write_image(tmp_path / "x_0001.nii.gz", shape=(14, 26, 24))
    done = scanside("segment", two_channel_bundle, first, second, "-o", tmp_path / "out", "--json")
    assert done.code == 5
    assert_one_sentence(done.json["reason"], "x_0001.nii.gz", "x_0000.nii.gz")
    assert not files(tmp_path / "out")


def test_wrong_number_of_channels_is_a_usage_error(
    scanside: Command, two_channel_bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    done = scanside("segment", two_channel_bundle, source, "-o", tmp_path / "out")
    assert done.code == 2 and "needs 2 channel" in done.err


def test_existing_masks_are_kept_unless_told(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source, mask = write_image(tmp_path / "x.nii.gz"), tmp_path / "mask.nii.gz"
    mask.write_text("precious")
    done = scanside("segment", bundle, source, "-o", mask)
    assert done.code == 1 and "--overwrite" in done.err and mask.read_text() == "precious"
    assert scanside("segment", bundle, source, "-o", mask, "--overwrite").code == 0
    assert sitk.ReadImage(str(mask)).GetSize() == (22, 26, 14)


def test_probabilities_sum_to_one_and_their_argmax_is_the_mask(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    done = scanside(
        "segment", bundle, source, "-o", tmp_path / "out", "--save-probabilities", "--device", "cpu"
    )
    assert done.code == 0 and files(tmp_path / "out") == {
        "x.nii.gz",
        "x.npz",
        "x.pkl",
        "dataset.json",
        "plans.json",
    }
    with np.load(tmp_path / "out" / "x.npz", allow_pickle=False) as arrays:
        probabilities = arrays["probabilities"]
    assert probabilities.dtype == np.float32 and probabilities.shape == (3, 14, 26, 22)
    assert np.abs(probabilities.sum(axis=0) - 1).max() < 1e-5
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "x.nii.gz")))
    assert np.array_equal(probabilities.argmax(axis=0), mask)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--device", "tpu"], 2, "tpu"),
        (["--device", "openvino", "--precision", "mixed"], 4, "--device cpu"),
        (["--device", "cpu", "--precision", "bf16"], 4, "--device openvino"),
        (["--precision", "fp8"], 2, "fp8"),
        (["--precision", "int8"], 3, "without precision 'int8'"),
        (["--step-size", "0"], 2, "--step-size"),
        (["--folds", "7"], 2, "0, 1"),
        (["--role", "liver"], 2, "--role"),
        (["--format", ".png"], 2, ".png"),
        (["--format", ".dcm", "--device", "cpu"], 1, "not DICOM"),
        (["--threads", "0"], 2, "--threads"),
    ],
)
def test_wrong_options(
    scanside: Command,
    bundle: Path,
    write_image: Write,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    word: str,
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    done = scanside("segment", bundle, source, "-o", tmp_path / "out", *arguments)
    assert (done.code, word in done.err) == (code, True), done.err
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


def test_an_unwritable_place_is_one_sentence(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    (tmp_path / "file").write_text("")
    done = scanside("segment", bundle, source, "-o", tmp_path / "file" / "out", "--json", "--device", "cpu")
    assert done.code == 1
    assert_one_sentence(done.err.strip().removeprefix("scanside: "), "segment-report.jsonl")


def test_an_empty_image_gives_an_empty_or_constant_mask_and_no_error(
    scanside: Command, bundle: Path, tmp_path: Path
) -> None:
    """All zero: nnU-Net keeps the full extent; z-score of a constant is zero."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((14, 26, 22), np.int16)), str(tmp_path / "x.nii.gz"))
    done = scanside("segment", bundle, tmp_path / "x.nii.gz", "-o", tmp_path / "out")
    assert done.code == 0 and files(tmp_path / "out") == {"x.nii.gz"}


def test_nan_is_refused(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    array = np.ones((14, 26, 22), np.float32)
    array[3, 4, 5] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "x.nii.gz"))
    done = scanside("segment", bundle, tmp_path / "x.nii.gz", "-o", tmp_path / "out", "--json")
    assert done.code == 5
    assert_one_sentence(done.json["reason"], "NaN")


def test_dicom_series_gives_a_segmentation_object(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    series = tmp_path / "abdomen_scan_002_adc"
    series.mkdir()
    for file in sorted(shared_data("dicom", series.name).glob("*.dcm"))[
        :SLICES
    ]:  # neighbours: a shorter scan
        shutil.copy(file, series)
    done = scanside(
        "segment",
        bundle,
        series,
        "-o",
        tmp_path / "out",
        "--no-mirroring",
        "--folds",
        "0",
        "--step-size",
        "1",
    )
    assert done.code == 0
    read = highdicom.seg.segread(tmp_path / "out" / "abdomen_scan_002_adc.dcm")
    assert [segment.SegmentLabel for segment in read.SegmentSequence] == ["near", "far"]
    assert "RESEARCH USE ONLY" in read.SeriesDescription
    again = scanside(
        "segment",
        bundle,
        series,
        "-o",
        tmp_path / "n.nii.gz",
        "--no-mirroring",
        "--folds",
        "0",
        "--step-size",
        "1",
    )
    assert again.code == 0 and sitk.ReadImage(str(tmp_path / "n.nii.gz")).GetSize()[2] == SLICES


def test_a_prone_series_is_computed_as_nnunet_would_and_warned_of(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    stored = np.random.default_rng(3).integers(0, 4000, (6, 24, 20)).astype(np.uint16)
    for name, cosines in (("supine", AXIAL), ("prone", (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))):
        write_series(tmp_path / name, stored, Grid(cosines))
    how = ("--no-mirroring", "--folds", "0", "--step-size", "1", "--format", ".nrrd", "--json")
    masks = []
    for name in ("supine", "prone"):
        done = scanside("segment", bundle, tmp_path / name, "-o", tmp_path / "out", *how)
        assert done.code == 0
        warned = [
            line for line in done.err.splitlines() if line.startswith("Warning: prone is stored as RAS")
        ]
        assert len(warned) == (name == "prone") == len(done.json["cases"][0]["remarks"])
        masks.append(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}.nrrd"))))
    np.testing.assert_array_equal(*masks)


def test_ctrl_c_leaves_nothing_half_written(bundle: Path, write_image: Write, tmp_path: Path) -> None:
    for index in range(40):
        write_image(tmp_path / "in" / f"c{index:02d}_0000.nii.gz", shape=(24, 40, 40), seed=index % 3)
    command = [
        sys.executable,
        "-m",
        "scanside.runtime.cli.main",
        "segment",
        str(bundle),
        str(tmp_path / "in"),
    ]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out"), "--device", "cpu"],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        # A run in the background of a script inherits "ignore Ctrl-C"; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert "Traceback" not in words and "nterrupted" in words
    for mask in (tmp_path / "out").glob("*.nii.gz"):
        assert not mask.name.startswith("."), f"{mask} is half-written"
        sitk.ReadImage(str(mask))
