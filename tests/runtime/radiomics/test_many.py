"""Features of many images: a table or two folders, in parts, again, joined."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.runtime.cli.conftest import (
    Command,
    scanside,  # noqa: F401 - a fixture
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images with a ball each."""
    random = np.random.default_rng(0)
    z, y, x = np.indices((8, 16, 16))
    ball = ((z - 4) ** 2 + (y - 8) ** 2 + (x - 8) ** 2 < 12).astype(np.uint8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for case in "abc":
        image = (random.normal(500, 60, ball.shape) + 300.0 * ball).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / "images" / f"{case}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(ball), str(tmp_path / "masks" / f"{case}.nii.gz"))
    return tmp_path


def test_two_folders_in_parts_are_joined_to_one_table(scanside: Command, folder: Path) -> None:  # noqa: F811
    run = (
        "radiomics",
        "extract",
        folder / "images",
        folder / "masks",
        "-o",
        folder / "out",
        "--sequence",
        "adc",
    )
    for part in ("1/2", "2/2"):
        assert scanside(*run, "--part", part).code == 0
    alone = scanside("radiomics", "extract", folder / "images" / "b_0000.nii.gz", folder / "masks" / "b.nii.gz",
                     "--sequence", "adc", "--json").json  # fmt: skip
    assert json.loads((folder / "out" / "b.json").read_text()) == alone
    assert scanside("merge", folder / "out", "--csv", folder / "t.csv").code == 0
    rows = {row["case"]: row for row in csv.DictReader((folder / "t.csv").open())}
    assert set(rows) == set("abc")
    for name, feature in alone["features"].items():
        assert rows["b"][name] == ("" if feature["value"] is None else repr(feature["value"]))


def test_a_table_goes_on_and_one_bad_row_does_not_stop_the_others(scanside: Command, folder: Path) -> None:  # noqa: F811
    table = folder / "cases.csv"
    rows = [f"{case},images/{case}_0000.nii.gz,masks/{case}.nii.gz,adc" for case in "ab"]
    table.write_text("\n".join(["case,image,mask,sequence", *rows, "z,images/a_0000.nii.gz,none.nii.gz,adc"]))
    run = ("radiomics", "extract", "--table", table, "-o", folder / "out", "--resume", "--json-lines")
    done = scanside(*run)
    told = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1 and [line["status"] for line in told] == ["ok", "ok", "refused"]
    assert told[0]["bundle"] is None and told[0]["recipe"]["command"] == "radiomics"
    sitk.WriteImage(sitk.ReadImage(str(folder / "masks" / "a.nii.gz")), str(folder / "none.nii.gz"))
    again = scanside(*run)
    assert again.code == 0 and [json.loads(line)["name"] for line in again.out.splitlines()] == ["z"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("case,image\na,b\n", "no column 'mask'"),
        ("case,image,mask\na,,m\n", "line 2: the cell of 'image' is empty"),
        ("case,image,mask\na,i,m\na,i,m\n", "names case a twice"),
        ("case,image,mask\n../a,i,m\n", "cannot be the name of a file"),
        ("case,image,mask\n", "nothing to measure"),
    ],
)
def test_a_table_that_is_not_one(scanside: Command, folder: Path, table: str, words: str) -> None:  # noqa: F811
    (folder / "t.csv").write_text(table)
    done = scanside("radiomics", "extract", "--table", folder / "t.csv", "-o", folder / "out")
    assert done.code == 5 and words in done.err


def test_options_for_many_are_refused_for_one(scanside: Command, folder: Path) -> None:  # noqa: F811
    pair = (folder / "images" / "a_0000.nii.gz", folder / "masks" / "a.nii.gz")
    done = scanside("radiomics", "extract", *pair, "--resume")
    assert done.code == 2 and "--resume is for many images" in done.err
    assert scanside("radiomics", "extract", folder / "images", folder / "masks").code == 2
