"""`scanside phantom`: a cohort on disk that the cohort check accepts."""

import filecmp
import gzip
import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from scanside.runtime.errors import InputError, OutputError, UsageError
from scanside.training.cohort.check import check_cohort
from scanside.training.cohort.cli import app as cohort_app
from scanside.training.cohort.table import read_cohort
from scanside.training.experiment import start_experiment
from scanside.training.phantom import VERSION
from scanside.training.phantom.cli import app
from scanside.training.phantom.study import SYNTHETIC
from scanside.training.phantom.write import PhantomChoice, write_cohort
from tests.support.sentences import assert_one_sentence


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(out, PhantomChoice(2, 1, seed=6, small=True), lambda sentence: None)
    return out


def test_the_cohort_check_accepts_it(made: Path) -> None:
    report = check_cohort(made)
    assert not report.problems
    assert (report.train, report.test) == (1, 1)


def test_it_says_that_it_is_synthetic(made: Path) -> None:
    cohort = read_cohort(made)
    assert cohort.synthetic
    assert "Synthetic" in cohort.description
    assert cohort.provenance["seed"] == 6
    assert cohort.phantom_version == VERSION == 2
    for sequence in ("t2w", "dwi", "b0", "adc"):
        image = cohort.image(cohort.patients[0].patient, sequence)
        assert SYNTHETIC.encode() in gzip.decompress(image.read_bytes())[:348], "in the NIfTI header"
        assert sitk.ReadImage(str(image)).GetPixelID() == sitk.sitkInt16


def test_a_patient_is_the_same_whatever_the_number_of_patients_and_processes(
    made: Path, tmp_path: Path
) -> None:
    write_cohort(tmp_path / "more", PhantomChoice(3, 1, seed=6, small=True, jobs=2), lambda sentence: None)
    names = [file.relative_to(made) for file in made.rglob("*.nii.gz")]
    assert len(names) == 2 * 6
    same, different, missing = filecmp.cmpfiles(
        made, tmp_path / "more", [str(n) for n in names], shallow=False
    )
    assert (len(same), different, missing) == (len(names), [], [])


def test_the_test_patients_may_be_of_another_seed(made: Path, tmp_path: Path) -> None:
    both, other = tmp_path / "both", tmp_path / "other"
    for out, choice in (
        (both, PhantomChoice(2, 1, seed=6, test_seed=7, small=True)),
        (other, PhantomChoice(2, 1, seed=7, small=True)),
    ):
        write_cohort(out, choice, lambda sentence: None)
    train, test = (read_cohort(both).split(part)[0].patient for part in ("train", "test"))
    for patient, same, unlike in ((train, made, other), (test, other, made)):
        image = (both / patient / "t2w.nii.gz").read_bytes()
        assert image == (same / patient / "t2w.nii.gz").read_bytes()
        assert image != (unlike / patient / "t2w.nii.gz").read_bytes()
    assert read_cohort(both).name == "phantom-2-seed-6-test-7"
    assert read_cohort(both).provenance["test_seed"] == 7


def test_the_command_writes_dicom_and_tells_the_time_left(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, [str(tmp_path / "c"), "--patients", "1", "--seed", "2", "--small", "--dicom", "--jobs", "1"]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "c")
    assert "1 of 1" in result.stderr
    assert not check_cohort(tmp_path / "c").problems
    assert json.loads((tmp_path / "c" / "cohort.json").read_text())["synthetic"] is True


def test_an_old_cohort_is_version_1_and_no_experiment_goes_on_with_another(
    made: Path, tmp_path: Path
) -> None:
    """The tables of both versions are the same, so that the table's hash cannot tell them apart."""
    old = tmp_path / "old"
    shutil.copytree(made, old)
    about = json.loads((old / "cohort.json").read_text())
    del about["provenance"]["phantom_version"]
    (old / "cohort.json").write_text(json.dumps(about))
    assert read_cohort(old).phantom_version == 1
    told = CliRunner().invoke(cohort_app, ["check", str(old)])
    assert told.exit_code == 0 and "(phantom version 1)" in told.output
    begun = start_experiment(tmp_path / "e", old, synthetic=True, phantom_version=1)
    begun.record("segment-t2w", {}, seed=0, started=0.0)
    assert begun.records()["segment-t2w"].phantom_version == 1
    assert start_experiment(tmp_path / "e", old, synthetic=True, phantom_version=1).phantom_version == 1
    with pytest.raises(InputError, match="version 1") as caught:
        start_experiment(tmp_path / "e", made, synthetic=True, phantom_version=2)
    assert_one_sentence(str(caught.value))


def test_refusals(made: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_cohort(made, PhantomChoice(1, 1, seed=0), lambda sentence: None)
    assert_one_sentence(str(caught.value))
    with pytest.raises(UsageError):
        PhantomChoice(3, 4, seed=0)


def test_the_command_takes_a_pixel_size(tmp_path: Path) -> None:
    sizes = {}
    for factor in ("1", "2"):
        out = tmp_path / factor
        arguments = [
            str(out),
            "--patients",
            "1",
            "--seed",
            "2",
            "--small",
            "--jobs",
            "1",
            "--pixel-size",
            factor,
        ]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        (image,) = out.glob("*/t2w.nii.gz")
        sizes[factor] = sitk.ReadImage(str(image))
    (x, y, z), (coarse_x, coarse_y, coarse_z) = sizes["1"].GetSize(), sizes["2"].GetSize()
    assert (coarse_z, abs(2 * coarse_y - y) <= 2, abs(2 * coarse_x - x) <= 2) == (z, True, True)
    assert sizes["2"].GetSpacing()[:2] == pytest.approx([2 * mm for mm in sizes["1"].GetSpacing()[:2]])
    refused = CliRunner().invoke(app, [str(tmp_path / "x"), "--patients", "1", "--pixel-size", "9"])
    assert refused.exit_code == 2 and not (tmp_path / "x").exists()
