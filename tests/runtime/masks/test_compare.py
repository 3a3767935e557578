"""Masks against references, beside nnunetv2's own evaluation and by hand."""

import csv
import json
import math
import multiprocessing
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.cli.main import run
from scanside.runtime.masks.folders import evaluate_masks, pair, read_labels
from tests.support.sentences import assert_one_sentence

SPACING = (0.8, 1.1, 2.5)
"""(x, y, z), mm."""


def write(path: Path, mask: Any, spacing: tuple[float, ...] = SPACING) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.asarray(mask, np.uint8))
    image.SetSpacing(spacing[: mask.ndim])
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases: random labels 0 to 3; `two` has no label 3 at all, `three` has label 2 in the reference alone."""
    rng = np.random.default_rng(3)
    for name in ("one", "two", "three"):
        reference = rng.integers(0, 4, (5, 9, 8))
        prediction = np.where(
            rng.random(reference.shape) < 0.3, rng.integers(0, 4, reference.shape), reference
        )
        if name == "two":
            reference[reference == 3] = prediction[prediction == 3] = 0
        if name == "three":
            prediction[prediction == 2] = 0
        write(tmp_path / f"ref/{name}.nii.gz", reference)
        write(tmp_path / f"pred/{name}.nii.gz", prediction)
    return tmp_path / "pred", tmp_path / "ref"


@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize("regions", [False, True])
def test_dice_is_that_of_nnunet(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, regions: bool, ignore: int | None
) -> None:
    evaluation = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    names: dict[str, Any] = {"whole": [1, 2], "part": [2]} if regions else {"a": 1, "b": 2}
    names |= {"c": 3} if ignore is None else {"ignore": ignore}
    file = folders[0].parent / "dataset.json"
    file.write_text(json.dumps({"labels": {"background": 0, **names}}))
    # A pool of threads does what the pool of processes does, without a minute of imports.
    in_threads = SimpleNamespace(Pool=ThreadPool)
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: in_threads)
    wanted = [tuple(v) if isinstance(v, list) else v for name, v in names.items() if name != "ignore"]
    predicted, referred = map(str, folders)
    theirs = evaluation.compute_metrics_on_folder(
        referred, predicted, None, SimpleITKIO(), ".nii.gz", wanted, ignore, 2
    )
    ours = evaluate_masks(pair(*folders), read_labels(file), 1.0)
    of = {Path(case["prediction_file"]).name: case["metrics"] for case in theirs["metric_per_case"]}
    for case in ours.cases:
        assert case.labels is not None
        for row, key in zip(case.labels, wanted, strict=True):
            dice = of[Path(case.prediction).name][key]["Dice"]
            assert (row.dice is None) == math.isnan(dice)
            assert row.dice is None or row.dice == pytest.approx(dice, abs=1e-12)
            assert row.prediction_voxels == of[Path(case.prediction).name][key]["n_pred"]
    for mean, key in zip(ours.mean, wanted, strict=True):
        assert mean.dice == pytest.approx(theirs["mean"][key]["Dice"], abs=1e-12)
    assert ours.foreground_dice == pytest.approx(theirs["foreground_mean"]["Dice"], abs=1e-12)


def test_absent_is_not_zero(folders: tuple[Path, Path]) -> None:
    cases = {case.name: case.labels or () for case in evaluate_masks(pair(*folders), read_none(), 2.0).cases}
    absent = cases["two"][2]
    assert (absent.dice, absent.surface_dice, absent.hd95_mm) == (None, None, None)
    assert absent.prediction_ml == absent.reference_ml == 0
    missed = cases["three"][1]
    assert (missed.dice, missed.surface_dice, missed.hd95_mm) == (0, 0, None)
    assert missed.reference_ml == pytest.approx(missed.reference_voxels * np.prod(SPACING) / 1000)


def read_none() -> Any:
    from scanside.runtime.masks.folders import Named

    return Named()


def test_pictures_have_outlines_and_areas(tmp_path: Path) -> None:
    """A square against one that is two rows of 3 mm further: no thickness enters."""
    square = np.zeros((40, 40))
    square[10:20, 10:20] = 1
    pred = write(tmp_path / "a.nrrd", np.roll(square, 2, axis=0), (1.0, 3.0))
    ref = write(tmp_path / "b.nrrd", square, (1.0, 3.0))
    row = (evaluate_masks(pair(pred, ref), read_none(), 1.0).cases[0].labels or ())[0]
    assert row.hd95_mm == pytest.approx(6.0)
    assert row.dice == pytest.approx(0.8)
    assert (row.prediction_mm2, row.prediction_ml) == (300.0, None)
    same = evaluate_masks(pair(ref, ref), read_none(), 1.0).cases[0].labels or ()
    assert (same[0].surface_dice, same[0].hd95_mm) == (1.0, 0.0)


def test_command(folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    pred, ref = folders
    write(ref / "four.nii.gz", np.ones((2, 3, 4)))
    write(ref / "five.nii.gz", np.ones((2, 3, 4)))
    write(pred / "five.nii.gz", np.ones((2, 3, 4)), (1.0, 1.0, 1.0))
    write(pred / "six.nii.gz", np.ones((2, 3, 4)))
    table = pred.parent / "scores.csv"
    assert run(["evaluate", "masks", str(pred), str(ref), "--json", "--csv", str(table)]) == 1
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert {case["name"]: case["status"] for case in report["cases"]}["five"] == "refused"
    assert "spacing" in next(case["reason"] for case in report["cases"] if case["name"] == "five")
    assert report["without_prediction"] == ["four"] and report["without_reference"] == ["six"]
    assert "four: has a reference and no prediction" in err and "NaN" not in out
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 3 * 3 + 1 and rows[-1]["dice"] in ("", rows[0]["dice"])
    assert run(["evaluate", "masks", str(pred / "one.nii.gz"), str(ref / "one.nii.gz")]) == 0
    assert "surface Dice 2 mm" in capfd.readouterr().out


def test_refusals(folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    pred, ref = folders
    half = write(pred.parent / "half.nii.gz", np.zeros((2, 3, 4)))
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(half)), sitk.sitkFloat32) + 0.5, str(half))
    empty = pred.parent / "empty"
    empty.mkdir()
    for arguments, code in (
        ((pred, ref / "one.nii.gz"), 2),
        ((pred, empty), 5),
        ((pred / "none.nii.gz", ref), 5),
        ((pred, ref, "--labels", half), 5),
        ((half, half), 1),
    ):
        assert run(["evaluate", "masks", *map(str, arguments)]) == code
        assert_one_sentence(capfd.readouterr().err.strip().splitlines()[-1])


def test_an_experiment_needs_no_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`scanside evaluate EXPERIMENT` goes on as before."""
    codes = [run(["evaluate", *words, str(tmp_path)]) for words in ((), ("experiment",))]
    first, second = capfd.readouterr().err.strip().splitlines()
    assert codes == [codes[1], codes[0]] and first == second and str(tmp_path) in first
