"""cohort.csv and cohort.json: what is refused, and that every refusal names the row."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scanside.runtime.errors import InputError, OutputError
from scanside.training.cohort.table import Patient, parse_cohort, read_cohort, write_cohort_table

ANN = Patient("ann", "train", "PDAC", 61.5, "F", "scanner, one", 3.0, 21.25)
BEN = Patient("ben", "test", "SPN", 31.0, "M", "B", 1.5, 11.0)


def written(path: Path, *patients: Patient) -> Path:
    write_cohort_table(path, patients, name="few", synthetic=True, description="two", provenance={"seed": 7})
    return path


def edited(path: Path, old: str, new: str) -> Path:
    table = written(path, ANN, BEN) / "cohort.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    return path


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    cohort = read_cohort(written(tmp_path, ANN, BEN))
    assert cohort.patients == (ANN, BEN)
    assert (cohort.name, cohort.synthetic, cohort.provenance) == ("few", True, {"seed": 7})
    assert cohort.phantom_version is None
    assert cohort.split("train") == (ANN,) and cohort.split("test") == (BEN,)
    assert cohort.lines == {"ann": 2, "ben": 3}


def test_paths_prefer_nifti_and_find_dicom_folders(tmp_path: Path) -> None:
    cohort = read_cohort(written(tmp_path, ANN))
    assert cohort.image("ann", "t2w") == tmp_path / "ann" / "t2w.nii.gz"
    (tmp_path / "ann" / "t2w").mkdir(parents=True)
    assert cohort.image("ann", "t2w") == tmp_path / "ann" / "t2w"
    (tmp_path / "ann" / "t2w.nii.gz").touch()
    assert cohort.image("ann", "t2w") == tmp_path / "ann" / "t2w.nii.gz"
    assert cohort.mask("ann", "dwi") == tmp_path / "ann" / "dwi_mask.nii.gz"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ben,test", "ben,validation", "split 'validation'"),
        ("SPN", "IPMN", "diagnosis 'IPMN'"),
        (",31,", ",131,", "age '131'"),
        (",31,", ",,", "age ''"),
        (",31,", ",nan,", "age 'nan'"),
        (",M,", ",X,", "sex 'X'"),
        (",B,1.5,", ",,1.5,", "scanner is empty"),
        (",1.5,", ",-1.5,", "field_t '-1.5'"),
        (",11\n", ",0\n", "lesion_mm '0'"),
        (",11\n", "\n", "lesion_mm ''"),
        (",11\n", ",11,12\n", "more cells than the header"),
        ("ben,", "../ben,", "not safe as a file name"),
        ("ben,", ",", "not safe as a file name"),
        ("ben,", "be n,", "not safe as a file name"),
        ("ben,", ".ben,", "not safe as a file name"),
        ("ben,", "b..n,", "not safe as a file name"),
        ("ben,", "con,", "not safe as a file name"),
        ("ben,", f"{'b' * 65},", "not safe as a file name"),
        ("ben,", "ann,", "id is that of row 2"),
        ("ben,", "ANN,", "differs from 'ann' of row 2 by case only"),
    ],
)
def test_a_wrong_cell_is_refused_by_row(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match="row 3") as caught:
        read_cohort(edited(tmp_path, old, new))
    assert words in str(caught.value)


def test_the_same_id_in_both_splits_is_leakage(tmp_path: Path) -> None:
    _, problems = parse_cohort(edited(tmp_path, "ben,", "ann,"))
    assert any("leakage" in str(problem) and problem.line == 3 for problem in problems)


def test_all_wrong_rows_are_counted(tmp_path: Path) -> None:
    table = written(tmp_path, ANN, BEN) / "cohort.csv"
    table.write_text(table.read_text().replace(",F,", ",f,").replace("SPN", "spn"))
    with pytest.raises(InputError, match=r"row 2.*1 more"):
        read_cohort(tmp_path)
    cohort, problems = parse_cohort(tmp_path)
    assert [problem.line for problem in problems] == [2, 3]
    assert cohort is not None and cohort.patients == ()


def test_missing_column_empty_table_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks scanner"):
        read_cohort(edited(tmp_path / "a", "scanner,field_t", "machine,field_t"))
    with pytest.raises(InputError, match="no patient"):
        read_cohort(written(tmp_path / "b"))
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path / "c")


def test_a_byte_order_mark_spaces_and_other_columns_are_fine(tmp_path: Path) -> None:
    table = written(tmp_path, BEN) / "cohort.csv"
    header, row = table.read_text().splitlines()
    table.write_text(f"{header},note\n {row} ,seen\n", encoding="utf-8-sig")
    assert read_cohort(tmp_path).patients == (BEN,)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("schema", "scanside.cohort/9", "schema"),
        ("adc_unit", "mm2/s", "adc_unit"),
        ("synthetic", "no", "synthetic"),
    ],
)
def test_cohort_json_is_checked(tmp_path: Path, key: str, value: str, words: str) -> None:
    about = written(tmp_path, ANN) / "cohort.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), key: value}))
    with pytest.raises(InputError, match=words) as caught:
        read_cohort(tmp_path)
    assert "cohort.json" in str(caught.value)


def test_unreadable_cohort_json(tmp_path: Path) -> None:
    about = written(tmp_path, ANN) / "cohort.json"
    about.write_text("[1]")
    with pytest.raises(InputError, match="not a JSON object"):
        read_cohort(tmp_path)
    about.write_text("{")
    with pytest.raises(InputError, match=r"cohort\.json: cannot be read"):
        read_cohort(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        written(tmp_path / "file" / "cohort", replace(ANN))
