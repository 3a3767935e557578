"""cohort.csv and cohort.json: what is refused, and that every refusal names the row."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.errors import InputError, OutputError
from scanside.runtime.images.read import read_image
from scanside.runtime.images.write import write_mask
from scanside.runtime.stages.lesions import find_lesions
from scanside.runtime.volume import Geometry
from scanside.training.cohort.sizes import sized
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
        (",31,", ",nan,", "age 'nan'"),
        (",M,", ",X,", "sex 'X'"),
        (",1.5,", ",-1.5,", "field_t '-1.5'"),
        (",11\n", ",0\n", "lesion_mm '0'"),
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
    with pytest.raises(InputError, match="lacks patient"):
        read_cohort(edited(tmp_path / "a", "patient,split", "person,split"))
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


OTHERS = """patient,year,diagnosis,sex,ca199,jaundice,site
a,2023,HCC,F,37.5,yes,North
b,2024,FNH,,,no,South
c,2025,none,M,,,South
d,2025,,,12,,
"""
DECLARED = {
    "diagnoses": ["HCC", "FNH"],
    "positive": "HCC",
    "split": {"column": "year", "test": ["2025"]},
    "covariates": {
        "ca199": {"type": "number", "unit": "U/ml"},
        "jaundice": {"type": "choice", "values": ["no", "yes"]},
    },
    "sequences": ["t2w"],
}


def others(path: Path, table: str = OTHERS, **declared: object) -> Path:
    """A cohort with its own words and few columns."""
    path.mkdir(exist_ok=True)
    about = {"schema": "scanside.cohort/1", "adc_unit": "1e-6 mm2/s", "synthetic": True}
    (path / "cohort.json").write_text(json.dumps({**about, **DECLARED, **declared}))
    (path / "cohort.csv").write_text(table)
    return path


def test_a_cohort_of_others_keeps_its_own_words(tmp_path: Path) -> None:
    cohort = read_cohort(others(tmp_path))
    a, b, c, d = cohort.patients
    assert cohort.positive == "HCC" and cohort.declared.sequences == ("t2w",)
    assert [p.split for p in cohort.patients] == ["train", "train", "test", "test"]
    assert (a.site, a.scanner, a.age, a.lesion_mm) == ("North", "unknown", None, None)
    assert a.known == {"sex": "F", "ca199": 37.5, "jaundice": "yes"} and b.known == {"jaundice": "no"}
    assert c.lesion_free and not d.lesion_free and d.diagnosis is None
    assert cohort.classified("train") == (a, b) and cohort.classified("test") == ()
    assert {one.name: (one.unit, one.values) for one in cohort.declared.covariates} == {
        "ca199": ("U/ml", None),
        "jaundice": (None, ("no", "yes")),
    }


def test_without_a_split_column_all_are_for_training(tmp_path: Path) -> None:
    cohort = read_cohort(others(tmp_path, "patient,diagnosis\nx,HCC\n", split=None, covariates=None))
    assert [p.split for p in cohort.patients] == ["train"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("diagnoses", ["HCC"], "has diagnoses"),
        ("diagnoses", ["HCC", "none"], "stands for no lesion"),
        ("positive", "PDAC", "has positive 'PDAC'"),
        ("split", {"column": "year"}, "has split"),
        ("split", {"column": "year", "train": ["2025"], "test": ["2025"]}, "has split"),
        ("covariates", {"age": {"type": "number"}}, "have their own columns"),
        ("covariates", {"ca199": {"type": "text"}}, "declares the covariate 'ca199'"),
        ("covariates", {"jaundice": {"type": "choice", "values": ["no"]}}, "declares the covariate"),
        ("sequences", ["t1"], "has sequences"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(
    tmp_path: Path, key: str, value: object, words: str
) -> None:
    with pytest.raises(InputError, match=r"cohort\.json") as caught:
        read_cohort(others(tmp_path, **{key: value}))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2024", "", "year '' is not one of 2025"),
        ("37.5", "high", "ca199 'high' is not a finite number"),
        (",yes,", ",perhaps,", "jaundice 'perhaps' is not one of no, yes"),
        ("HCC,F", "PDAC,F", "diagnosis 'PDAC' is not one of HCC, FNH, none"),
        ("ca199", "ca_19_9", "lacks ca199"),
    ],
)
def test_a_row_against_its_declaration_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_cohort(others(tmp_path, OTHERS.replace(old, new)))
    assert words in str(caught.value)


def test_a_lesion_is_measured_where_the_table_does_not_say_its_size(tmp_path: Path) -> None:
    """A box of 4 × 3 voxels of 5 mm in one slice: 25 mm from corner to corner; what the table says stays."""
    cohort = read_cohort(others(tmp_path))
    mask = np.zeros((3, 8, 8), dtype=np.uint8)
    mask[1, 2:5, 2:6] = 1
    for name in ("a", "c"):
        (tmp_path / name).mkdir()
        write_mask(mask, Geometry((3, 8, 8), (6.0, 5.0, 5.0), (0, 0, 0)), tmp_path / name / "t2w_mask.nii.gz")
    found = {p.patient: p.lesion_mm for p in sized(cohort).patients}
    volume = read_image(tmp_path / "a" / "t2w_mask.nii.gz")
    longest = find_lesions(volume.data[0].astype(np.uint8), volume.geometry, "t2w")[0].longest_diameter_mm
    assert found == {"a": round(longest, 1), "b": None, "c": None, "d": None} and 18 < longest <= 25
    told = replace(cohort, patients=(replace(cohort.patients[0], lesion_mm=31.0), *cohort.patients[1:]))
    assert sized(told).patients[0].lesion_mm == 31.0
