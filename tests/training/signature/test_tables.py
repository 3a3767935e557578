"""Tables from elsewhere, in both orientations and both formats; and our own, there and back."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.errors import InputError
from scanside.training.signature.cases import BESIDE
from scanside.training.signature.sheets import read_rows
from scanside.training.signature.store import (
    CROSS_VALIDATED,
    NONE,
    REFERENCE,
    Measured,
    Measurements,
    read_measurements,
    write_measurements,
)
from scanside.training.signature.tables import read_table
from tests.support.real_table import real_table
from tests.support.sentences import assert_one_sentence

LABELS = "\ufeffid,NPC\na,1\nb,0\nc,1\nnobody,0\n"
ACROSS = "patient,original_shape_MeshVolume,glcm_X,diagnostics_Mean\na,1000,2.5,9\nb,2000,,9\nc,3000,4.5,9\nd,1,1,1\n"
DOWN = (
    "Pre-processing,Group,Name,d,a,b,c\n"
    "diagnostics,Versions,Python,3.7,3.7,3.7,3.7\n"
    "original,shape,MeshVolume,1,1000,2000,3000\n"
    ',,Spacing,"(1, 2)","(1, 2)","(1, 2)","(1, 2)"\n'
    ",glcm,X,1,2.5,,4.5\n"
)


def _file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_patient_a_row_or_a_column_is_the_same(tmp_path: Path) -> None:
    labels = _file(tmp_path, "labels.csv", LABELS)
    across, positive = read_table(_file(tmp_path, "across.csv", ACROSS), None, labels)
    down, _ = read_table(_file(tmp_path, "down.csv", DOWN), None, labels)
    assert positive == "NPC"
    assert across.features == ("original_shape_MeshVolume", "glcm_X")
    assert down.features == ("original_shape_MeshVolume", "original_glcm_X")
    for found in (across, down):
        assert [p.patient for p in found.patients] == ["a", "b", "c"]
        assert [p.positive for p in found.patients] == [True, False, True]
        assert [p.volume_ml for p in found.patients] == [1.0, 2.0, 3.0]
        values = found.cases(CROSS_VALIDATED)["values"]
        assert np.array_equal(values, [[1000, 2.5], [2000, np.nan], [3000, 4.5]], equal_nan=True)


def test_the_second_segmentation_is_the_repetition(tmp_path: Path) -> None:
    labels = _file(tmp_path, "labels.csv", LABELS)
    first = _file(tmp_path, "first.csv", "id,x,y\na,1,2\nb,3,4\nc,5,6\n")
    second = _file(tmp_path, "second.csv", "id,y,x\nc,60,50\na,20,10\n")
    found, _ = read_table(first, second, labels)
    measured = found.cases(CROSS_VALIDATED)["measured"]
    assert np.array_equal(measured[0], [[1, 2], [10, 20]])
    assert np.isnan(measured[1, 1]).all()
    assert np.array_equal(measured[2], [[5, 6], [50, 60]])


@pytest.mark.parametrize(
    ("table", "labels", "words"),
    [
        ("id,x\nz,1\n", LABELS, "shares no patient"),
        ("id,x\na,1\na,2\n", LABELS, "twice"),
        (ACROSS, "id,NPC\na,yes\n", "row 2"),
        (ACROSS, "id,NPC\na,1\na,0\n", "row 3"),
        (ACROSS, "id\na\n", "one column"),
        ("", LABELS, "empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, table: str, labels: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        read_table(_file(tmp_path, "t.csv", table), None, _file(tmp_path, "l.csv", labels))
    assert_one_sentence(str(error.value))


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("table.ods", "broken.xlsx", "missing.csv"):
        if name != "missing.csv":
            _file(tmp_path, name, "not a sheet")
        with pytest.raises(InputError) as error:
            read_rows(tmp_path / name)
        assert_one_sentence(str(error.value), name)


def test_a_sheet_without_a_library(tmp_path: Path) -> None:
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr(
            "xl/sharedStrings.xml",
            f"<sst {space}><si><t>id</t></si><si><r><t>fea</t></r><r><t>ture</t></r></si></sst>",
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet {space}><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
            '<row r="2"><c r="A2" t="inlineStr"><is><t>a</t></is></c><c r="AB2"><v>1.5</v></c></row>'
            "</sheetData></worksheet>",
        )
    rows = read_rows(tmp_path / "table.xlsx")
    assert rows[0][:4] == ["id", "", "feature", ""]
    assert rows[1] == ["a", *[""] * 26, "1.5"]


def test_the_real_table() -> None:
    found, positive = real_table()
    cases = found.cases(CROSS_VALIDATED)
    assert positive == "NPC"
    assert cases["measured"].shape == (420, 2, 422)
    assert found.labels(CROSS_VALIDATED).sum() == 209
    assert np.isfinite(cases["values"]).all()
    assert "original_shape_Sphericity" in found.features
    assert np.isfinite(cases["beside"][:, BESIDE.index("log_volume")]).all()


def test_there_and_back(tmp_path: Path) -> None:
    nan = float("nan")
    people = (
        Measured("a", CROSS_VALIDATED, True, "Scanner, 3 T", 61.5, 1.0, 12.25, 1432.0625),
        Measured("b", CROSS_VALIDATED, False, missed="dwi t2w"),
        Measured("c", "test", False, "x", nan, 0.0, 1e-3, nan),
    )
    values = {
        ("a", CROSS_VALIDATED, NONE): np.array([0.1 + 0.2, nan]),
        ("a", CROSS_VALIDATED, "smaller-1"): np.array([1e300, -0.0]),
        ("a", REFERENCE, NONE): np.array([3.0, 4.0]),
        ("c", "test", NONE): np.array([1.0, 2.0]),
    }
    write_measurements(tmp_path, Measurements(("f", "g, h"), people, values))
    found = read_measurements(tmp_path)
    assert found.features == ("f", "g, h")
    assert repr(found.patients) == repr(people)
    assert list(found.values) == list(values)
    for key, row in values.items():
        assert np.array_equal(found.values[key], row, equal_nan=True)
    cases = found.cases(CROSS_VALIDATED)
    assert cases["batch"].tolist() == ["Scanner, 3 T", ""]
    assert cases["measured"].shape == (2, 2, 2)
    assert found.usable(CROSS_VALIDATED).tolist() == [True, False]
    assert found.cases(CROSS_VALIDATED, REFERENCE)["values"][0].tolist() == [3.0, 4.0]


def test_nothing_measured_yet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train signature"):
        read_measurements(tmp_path)
