"""`scanside deidentify` of a folder, and of a case of the store."""

from pathlib import Path

import pydicom
import pytest

from scanside.runtime.appliance.store import audit, intake
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Patient
from tests.runtime.cli.conftest import Command
from tests.support.dicom_factory import Grid, save, slice_of, stored_values, write_series
from tests.support.sentences import assert_one_sentence


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = write_series(tmp_path / "study", stored_values())
    capture = slice_of(stored_values(), 0, Grid())
    capture.SOPClassUID, capture.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.7"
    save(capture, folder / "capture.dcm")
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "research.key"
    path.write_bytes(b"k" * 32)
    return path


def ids(folder: Path) -> set[tuple[str, str, str]]:
    headers = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return {(str(h.PatientID), str(h.StudyID), str(h.StudyInstanceUID)) for h in headers}


def test_a_folder_becomes_a_copy(scanside: Command, study: Path, key: Path, tmp_path: Path) -> None:
    found = scanside("deidentify", study, "-o", tmp_path / "copy", "--key", key, "--json")
    assert found.code == 0 and len(found.json["written"]) == 5
    assert found.json["left_out"] == {"is no MR image": 1} and "1 left out" in found.err
    assert scanside("deidentify", study, "-o", tmp_path / "again", "--key", key).code == 0
    assert ids(tmp_path / "copy") == ids(tmp_path / "again") and len(ids(tmp_path / "copy")) == 1


def test_without_a_key_no_two_copies_belong_together(scanside: Command, study: Path, tmp_path: Path) -> None:
    found = scanside("deidentify", study, "-o", tmp_path / "one")
    assert found.out.strip() == str(tmp_path / "one") and "forgotten" in found.err
    scanside("deidentify", study, "-o", tmp_path / "two")
    assert not ids(tmp_path / "one") & ids(tmp_path / "two")


def test_a_case_is_copied_under_its_id_and_the_audit_log_tells(
    scanside: Command, study: Path, tmp_path: Path
) -> None:
    config = tmp_path / "scanside.toml"
    config.write_text('[service]\ndata = "data"\nbundle = "b"\nresearch_use_only = true\n')
    with Database(tmp_path / "data" / "scanside.db", create=True) as database:
        for path in sorted(study.iterdir()):
            header = pydicom.dcmread(path)
            uids = (header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID)
            instance = Instance(*map(str, uids), f"x/{path.name}", "a" * 64, 1)
            intake.add_instance(
                database, instance, association="a", calling="MR1", patient=Patient("P1", "Doe"), most=99
            )
        (case,) = [row["case_id"] for row in database.rows("SELECT case_id FROM studies")]
    (tmp_path / "data" / "spool").mkdir()
    study.rename(tmp_path / "data" / "spool" / case)
    found = scanside("deidentify", "--case", case, "-c", config, "-o", tmp_path / "copy")
    assert found.code == 0, found.err
    assert {study_id for _, study_id, _ in ids(tmp_path / "copy")} == {case}
    with Database(tmp_path / "data" / "scanside.db") as database:
        last = list(audit.entries(database, case_id=case))[-1]
        audit.verify(database)
    assert last.action == "research copy" and '"files": 5' in last.detail and last.actor.startswith("user ")
    nobody = scanside("deidentify", "--case", "NOBODY", "-c", config, "-o", tmp_path / "none")
    assert nobody.code == 5 and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((), 2, "--case"),
        (("{study}", "--case", "X"), 2, "--case"),
        (("{study}", "--key", "{study}/none.key"), 2, "urandom"),
        (("{study}/none",), 5, "none"),
        (("{study}/capture.dcm",), 5, "MR images"),
    ],
)
def test_nonsense_is_refused(
    scanside: Command, study: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    words = [argument.format(study=study) for argument in arguments]
    found = scanside("deidentify", *words, "-o", tmp_path / "copy")
    assert found.code == code and not (tmp_path / "copy").exists()
    assert_one_sentence(found.err.strip(), word)


def test_a_key_that_is_too_short_is_refused(
    scanside: Command, study: Path, key: Path, tmp_path: Path
) -> None:
    key.write_bytes(b"short")
    found = scanside("deidentify", study, "-o", tmp_path / "copy", "--key", key)
    assert found.code == 5 and "16 bytes" in found.err
