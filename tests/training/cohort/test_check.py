"""`scanside cohort check`: each fault is planted in a valid cohort and must be named with row and file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import typer
from typer.testing import CliRunner

from scanside.training.cohort.check import CohortReport, check_cohort
from scanside.training.cohort.cli import app
from scanside.training.cohort.orientation import cohort_orientation
from scanside.training.cohort.table import Patient, read_cohort, write_cohort_table

SHAPES = {"t2w": ((6, 24, 24), (6.0, 2.0, 2.0)), "dwi": ((6, 16, 16), (6.0, 3.0, 3.0))}


def save(path: Path, data: np.ndarray, spacing: tuple[float, float, float], x: float = 0.0) -> None:
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin((x, 0.0, 0.0))
    sitk.WriteImage(image, str(path))


def load(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    patients = []
    for number, name in enumerate(("A1", "A2", "B1")):
        (tmp_path / name).mkdir()
        for role, (shape, spacing) in SHAPES.items():
            image = random.uniform(100, 200, shape).astype(np.float32)
            mask = np.zeros(shape, np.uint8)
            mask[2:4, 6:12, 6:12] = 1
            save(tmp_path / name / f"{role}.nii.gz", image, spacing)
            save(tmp_path / name / f"{role}_mask.nii.gz", mask, spacing)
        shape, spacing = SHAPES["dwi"]
        for sequence in ("b0", "adc"):
            level = random.normal(1500, 100, shape).astype(np.float32)
            save(tmp_path / name / f"{sequence}.nii.gz", level, spacing)
        split = "test" if number == 2 else "train"
        patients.append(Patient(name, split, "PDAC", 60, "F", "one", 3.0, 15.0))
    write_cohort_table(tmp_path, patients, name="three", synthetic=True, description="", provenance={})
    return tmp_path


def only_problem(report: CohortReport, line: int, file: str) -> str:
    assert [(p.line, p.file) for p in report.problems] == [(line, file)], report.problems
    assert f"row {line}" in str(report.problems[0]) and file in str(report.problems[0])
    return report.problems[0].message


def test_a_valid_cohort(cohort: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_cohort(cohort, lambda done, of: told.append((done, of)))
    assert report.valid and not report.warnings
    assert (report.patients, report.train, report.test) == (3, 2, 1)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_b0_may_be_missing_and_the_others_not(cohort: Path) -> None:
    (cohort / "A2" / "b0.nii.gz").unlink()
    assert check_cohort(cohort).valid
    (cohort / "A2" / "adc.nii.gz").unlink()
    assert "missing" in only_problem(check_cohort(cohort), 3, "A2/adc.nii.gz")


def test_a_missing_mask(cohort: Path) -> None:
    (cohort / "A2" / "dwi_mask.nii.gz").unlink()
    assert "missing" in only_problem(check_cohort(cohort), 3, "A2/dwi_mask.nii.gz")


def test_a_truncated_image(cohort: Path) -> None:
    file = cohort / "B1" / "t2w.nii.gz"
    file.write_bytes(file.read_bytes()[:-200])
    assert "truncated" in only_problem(check_cohort(cohort), 4, "B1/t2w.nii.gz")


def test_a_mask_on_another_grid(cohort: Path) -> None:
    file = cohort / "A1" / "t2w_mask.nii.gz"
    data, spacing = load(file)
    save(file, data, spacing, x=2.0)
    assert "grid of t2w (origin" in only_problem(check_cohort(cohort), 2, "A1/t2w_mask.nii.gz")


@pytest.mark.parametrize("sequence", ["adc", "b0"])
def test_diffusion_images_share_a_grid(cohort: Path, sequence: str) -> None:
    file = cohort / "A1" / f"{sequence}.nii.gz"
    data, spacing = load(file)
    save(file, np.ascontiguousarray(data[:, :, 1:]), spacing)
    assert "grid of dwi (size" in only_problem(check_cohort(cohort), 2, f"A1/{sequence}.nii.gz")


def _twos(mask: np.ndarray) -> np.ndarray:
    return mask * np.uint8(2)


@pytest.mark.parametrize(
    ("change", "words"),
    [(_twos, "holds 2;"), (np.zeros_like, "is empty"), (np.ones_like, "covers the whole")],
)
def test_what_a_mask_may_hold(cohort: Path, change: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    file = cohort / "B1" / "dwi_mask.nii.gz"
    data, spacing = load(file)
    save(file, change(data), spacing)
    assert words in only_problem(check_cohort(cohort), 4, "B1/dwi_mask.nii.gz")


def test_a_mask_outside_the_image_content(cohort: Path) -> None:
    file = cohort / "A1" / "t2w.nii.gz"
    data, spacing = load(file)
    data[:, :14] = 0
    save(file, data, spacing)
    assert "outside the image content" in only_problem(check_cohort(cohort), 2, "A1/t2w_mask.nii.gz")


def test_a_constant_image(cohort: Path) -> None:
    file = cohort / "A1" / "t2w.nii.gz"
    data, spacing = load(file)
    save(file, np.full_like(data, 7), spacing)
    assert "constant (7 everywhere)" in only_problem(check_cohort(cohort), 2, "A1/t2w.nii.gz")


@pytest.mark.parametrize(
    ("factor", "unit", "remedy"),
    [(1e-3, "1e-3 mm2/s", "1000"), (1e-6, "mm2/s", "1e+06"), (1e4, "1e-10 mm2/s", "0.0001")],
)
def test_the_unit_of_adc_is_recognised(cohort: Path, factor: float, unit: str, remedy: str) -> None:
    file = cohort / "A2" / "adc.nii.gz"
    data, spacing = load(file)
    save(file, (data * factor).astype(np.float32), spacing)
    message = only_problem(check_cohort(cohort), 3, "A2/adc.nii.gz")
    assert f"looks like {unit} (multiply by {remedy})" in message and "1e-6 mm2/s" in message


def test_an_adc_of_no_known_unit_and_an_empty_one(cohort: Path) -> None:
    file = cohort / "A2" / "adc.nii.gz"
    data, spacing = load(file)
    save(file, (data * 0.1).astype(np.float32), spacing)
    message = only_problem(check_cohort(cohort), 3, "A2/adc.nii.gz")
    assert "median ADC is 14" in message and "looks like" not in message
    save(file, -data, spacing)
    assert "nowhere above 0" in only_problem(check_cohort(cohort), 3, "A2/adc.nii.gz")


def test_background_zeros_do_not_hide_the_unit(cohort: Path) -> None:
    file = cohort / "A2" / "adc.nii.gz"
    data, spacing = load(file)
    data[:, 12:] = 0
    data[:, :, 12:] = 0
    save(file, data, spacing)
    assert check_cohort(cohort).valid


def test_sequences_must_overlap_in_patient_space(cohort: Path) -> None:
    def move(x: float) -> None:
        for name in ("dwi", "b0", "adc", "dwi_mask"):
            data, spacing = load(cohort / "A1" / f"{name}.nii.gz")
            save(cohort / "A1" / f"{name}.nii.gz", data, spacing, x=x)

    move(30.0)  # 18.5 of 48 mm are shared
    report = check_cohort(cohort)
    assert report.valid and "39%" in report.warnings[0].message
    move(500.0)
    assert "does not overlap with t2w in patient space along x" in only_problem(
        check_cohort(cohort), 2, "A1/dwi.nii.gz"
    )


def copy_image(cohort: Path, source: str, target: str) -> None:
    (cohort / target / "t2w.nii.gz").write_bytes((cohort / source / "t2w.nii.gz").read_bytes())


def test_the_same_image_in_both_splits_is_leakage(cohort: Path) -> None:
    copy_image(cohort, "A1", "B1")
    message = only_problem(check_cohort(cohort), 4, "B1/t2w.nii.gz")
    assert "leakage" in message and "A1/t2w.nii.gz (row 2)" in message


def test_the_same_image_twice_in_a_split_is_a_duplicate(cohort: Path) -> None:
    copy_image(cohort, "A1", "A2")
    message = only_problem(check_cohort(cohort), 3, "A2/t2w.nii.gz")
    assert "duplicate" in message and "leakage" not in message


@pytest.mark.parametrize("name", ["A1_rescan", "a1-b", "A1.visit2", "A1_v2"])
def test_the_same_name_but_for_a_suffix_is_leakage(cohort: Path, name: str) -> None:
    (cohort / "B1").rename(cohort / name)
    table = cohort / "cohort.csv"
    table.write_text(table.read_text().replace("B1,", f"{name},"))
    message = only_problem(check_cohort(cohort), 4, "cohort.csv")
    assert "leakage" in message and "'A1' (row 2, train)" in message


@pytest.mark.parametrize("name", ["A1_7", "A11", "phantom-0003"])
def test_numbered_names_are_different_patients(cohort: Path, name: str) -> None:
    (cohort / "B1").rename(cohort / name)
    table = cohort / "cohort.csv"
    table.write_text(table.read_text().replace("B1,", f"{name},"))
    assert check_cohort(cohort).valid


def test_what_looks_odd_is_a_warning(cohort: Path) -> None:
    (cohort / "spare").mkdir()
    file = cohort / "A2" / "t2w_mask.nii.gz"
    data, spacing = load(file)
    data[0, 0, 0] = 1
    save(file, data, spacing)
    table = cohort / "cohort.csv"
    table.write_text(table.read_text().replace("one,3,15", "one,3,150", 1))
    report = check_cohort(cohort)
    assert report.valid
    assert {(w.line, w.file) for w in report.warnings} == {
        (None, "spare"), (2, "A1/t2w_mask.nii.gz"), (3, "A2/t2w_mask.nii.gz"),
    }  # fmt: skip


def test_rows_that_are_wrong_and_files_that_are_wrong_are_told_together(cohort: Path) -> None:
    table = cohort / "cohort.csv"
    table.write_text(table.read_text().replace("A1,train,PDAC", "A1,train,other"))
    (cohort / "B1" / "t2w.nii.gz").unlink()
    assert [problem.line for problem in check_cohort(cohort).problems] == [2, 4]


def command(*arguments: str) -> tuple[int, str, str]:
    runner = CliRunner()
    result = runner.invoke(app, ["check", *arguments], standalone_mode=False)
    code = result.return_value if result.exception is None else getattr(result.exception, "exit_code", 1)
    return int(code or 0), result.stdout, result.stderr


def test_the_command(cohort: Path) -> None:
    code, out, _ = command(str(cohort))
    assert code == 0 and "2 training and 1 test patients; valid" in out
    (cohort / "B1" / "adc.nii.gz").unlink()
    code, out, err = command(str(cohort))
    assert code == 5 and out == "" and "error: row 4, patient B1, B1/adc.nii.gz: the image is missing" in err
    code, out, _ = command(str(cohort), "--json")
    report = json.loads(out)
    assert code == 5 and not report["valid"]
    assert report["problems"] == [
        {"message": "the image is missing", "line": 4, "patient": "B1", "file": "B1/adc.nii.gz"}
    ]


def test_the_command_on_no_folder_and_as_a_group(tmp_path: Path) -> None:
    assert command(str(tmp_path / "none"))[0] == 5
    assert isinstance(typer.main.get_command(app), typer.core.TyperGroup)


def test_how_the_images_lie_is_counted_most_frequent_first(cohort: Path) -> None:
    assert cohort_orientation(read_cohort(cohort)) == {name: ["LPS"] for name in ("t2w", "dwi", "b0", "adc")}
    path = cohort / "A1" / "t2w.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    trained = [patient.patient for patient in read_cohort(cohort).split("train")]
    assert "A1" in trained and len(trained) == 2
    assert set(cohort_orientation(read_cohort(cohort))["t2w"]) == {"LPS", "RAS"}
