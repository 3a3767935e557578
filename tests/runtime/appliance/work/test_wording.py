"""No sentence that reaches a queue or an archive speaks of folders, options or names in the spool."""

import ast
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

import scanside.runtime.dicom.study as somewhere
from scanside.runtime.appliance.receive.spool import short_hash
from scanside.runtime.appliance.store import outbox
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.appliance.work.wording import in_words
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("no-patient-data")

RUNTIME = Path(somewhere.__file__).parents[1]
FORBIDDEN = re.compile(r"--\w|\bfolder|\bpath\b|\.nii|scanside |`|\bpass\b|\bexport\b|[0-9a-f]{20}")


def sentences() -> Iterator[str]:
    """Every text of the modules that read, check and refuse studies that has an advice; X for what is filled in."""
    for name in ("dicom", "study"):
        for file in sorted((RUNTIME / name).glob("*.py")):
            tree = ast.parse(file.read_text())
            documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                text = "" if id(node) in documented else _text(node)
                if re.search(r"; [^;]*\.$", text) and "result.json" not in text:
                    yield text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_advice_of_the_library_is_one_for_a_queue(tmp_path: Path) -> None:
    found = [text for text in sentences() if "`" not in text.rpartition(";")[0]]
    assert len(found) > 60, "they are found at all"
    wrong = [text for text in found if FORBIDDEN.search(in_words(text, tmp_path).rpartition("; ")[2])]
    assert wrong == []


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("C holds no T2-weighted series; add it, or name it with --t2w PATH.",
         "C holds no T2-weighted series; send it too, or choose the series in the queue."),
        ("In X 2 slice(s) are missing; send the series again.", "In X 2 slice(s) are missing; send the series again."),
        ("X is not axial; give an axial series.", "X is not axial; send an axial series."),
        ("No SEG can be made for X (why); choose .nii.gz.", "No SEG can be made for X (why); its mask is kept here."),
        ("Two lesions: look.", "Two lesions: look."),
    ],
)  # fmt: skip
def test_advice(tmp_path: Path, sentence: str, expected: str) -> None:
    assert in_words(sentence, tmp_path) == expected


def test_images_are_called_by_series_and_number(tmp_path: Path, dicom_study: Path, bundle: Path) -> None:
    """A slice at the place of another: the sentence names both, in the queue and in the archive's report."""
    study = Path(shutil.copytree(dicom_study, tmp_path / "study"))
    files = sorted((study / "a" / "t2").rglob("*.dcm"))
    extra = pydicom.dcmread(files[7])
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = f"{extra.SOPInstanceUID}.9"
    extra.InstanceNumber = 77
    extra.save_as(files[7].with_name("extra.dcm"))
    config, database = opened(configured(tmp_path, bundle))
    with database:
        case_id = received(config, database, sorted(study.rglob("*.dcm")))
        worker = Worker(config, database, threading.Event())
        worker.step()
        case = shown(database, case_id)
        assert case.reason is not None and not FORBIDDEN.search(case.reason)
        assert_one_sentence(case.reason, "image 77 of series 5 't2_tse_tra_fs'", "same position", "send")
        (item,) = outbox.of_job(database, case.job)
        report = pydicom.dcmread(config.results / item.path).to_json()
    assert "image 77 of series 5" in report and "scanside queue" not in report


def test_what_cannot_be_looked_up_has_no_hash_either(tmp_path: Path) -> None:
    name = short_hash("1.2.3")
    assert in_words(f"{name}/{name}.dcm cannot be read; copy it again.", tmp_path) == (
        "an image of a series cannot be read; send it again."
    )
