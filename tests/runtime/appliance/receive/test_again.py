"""A study comes again: encoded otherwise it is the same, corrected it is refused or replaced, forgotten it is new."""

import json
import subprocess
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from scanside.runtime.appliance.receive.classes import DEFLATED, IMPLICIT
from scanside.runtime.appliance.receive.same_instance import Likeness, likeness
from scanside.runtime.appliance.store import audit, jobs, retention
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import NotAllowedError, State
from scanside.runtime.appliance.work.inputs import snapshot
from scanside.runtime.errors import InputError
from tests.runtime.appliance.receive.receiving import associate, mr_slice, receiver, send
from tests.support.peers import need, storescu
from tests.support.shared_data import shared_data

EXPLICIT = ExplicitVRLittleEndian


def rich(number: int = 1) -> Dataset:
    """An image with sequences in sequences, private elements, and numbers of every size."""
    dataset = mr_slice(number)
    code, inner = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99X", "inner"
    code.PurposeOfReferenceCodeSequence = [inner]
    code.ReferencedSOPClassUID, code.ReferencedSOPInstanceUID = "1.2.3", "1.2.3.4"
    dataset.ReferencedImageSequence = [code, Dataset()]
    dataset.ReferencedPatientSequence = []
    dataset.EchoTime, dataset.RescaleSlope, dataset.FrameIncrementPointer = 90.5, 1.25, 0x00182002
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "IS", "800")
    dataset.add_new(0x00191027, "FD", [1.5, -2.5, 1e-9])
    return dataset


def encoded(dataset: Dataset, syntax: str, path: Path) -> Path:
    copy = pydicom.dcmread(BytesIO(_bytes(dataset)))
    copy.file_meta.TransferSyntaxUID = UID(syntax)
    copy.save_as(path, enforce_file_format=True)
    return path


def _bytes(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [IMPLICIT, DEFLATED])
def test_one_data_set_in_two_encodings_is_the_same(tmp_path: Path, syntax: str) -> None:
    one = encoded(rich(), EXPLICIT, tmp_path / "one.dcm")
    other = encoded(rich(), syntax, tmp_path / "other.dcm")
    assert one.read_bytes() != other.read_bytes() and likeness(one, other) is Likeness.SAME


@settings(max_examples=40)
@given(
    keyword=st.sampled_from(
        ["PatientID", "PatientName", "AccessionNumber", "EchoTime", "ImagePositionPatient"]
    ),
    syntax=st.sampled_from([IMPLICIT, EXPLICIT, DEFLATED]),
)
def test_what_was_changed_is_found_in_every_encoding(
    tmp_path_factory: pytest.TempPathFactory, keyword: str, syntax: str
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    changed = rich()
    setattr(changed, keyword, {"EchoTime": 91.0, "ImagePositionPatient": [1, 2, 3]}.get(keyword, "OTHER"))
    one = encoded(rich(), EXPLICIT, folder / "one.dcm")
    assert likeness(one, encoded(changed, syntax, folder / "other.dcm")) is Likeness.HEADER
    changed.PixelData = bytes(len(changed.PixelData))
    assert likeness(one, encoded(changed, syntax, folder / "third.dcm")) is Likeness.OTHER


def test_files_of_vendors_are_the_same_in_dcmtks_encodings(tmp_path: Path) -> None:
    found = 0
    folders = ("headers_dicom2nifti", "ge_dwi_r2", "siemens_xa30_enhanced", "philips_enhanced_fieldmap")
    every = [
        file for name in folders for file in sorted(shared_data("dicom", name).rglob("*")) if file.is_file()
    ]
    for file in every[::5]:
        for option in ("+ti", "+te", "+tb"):
            other = tmp_path / f"{found}{option}.dcm"
            run = subprocess.run(
                [need("dcmconv"), option, str(file), str(other)], capture_output=True, check=False
            )
            if run.returncode == 0 and _native(file):
                assert likeness(file, other) is Likeness.SAME, (file, option)
                found += 1
    assert found > 10


def _native(file: Path) -> bool:
    try:
        return not pydicom.dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_encapsulated
    except (AttributeError, pydicom.errors.InvalidDicomError):
        return False


def test_a_study_in_another_encoding_is_acknowledged(tmp_path: Path) -> None:
    """An archive sends implicit and deflated what the scanner had sent explicit: 0, and one instance."""
    with receiver(tmp_path / "data") as desk:
        for number, (syntax, option) in enumerate(((EXPLICIT, "-xe"), (IMPLICIT, "-xi"), (DEFLATED, "-xd"))):
            file = encoded(rich(), syntax, tmp_path / f"{number}.dcm")
            assert storescu(desk.port, [file], option, "-R").returncode == 0
        assert desk.wait_for(State.QUEUED).instances == 1 and len(desk.spooled()) == 1
        assert not desk.audited("instance refused") and not desk.audited("instance replaced")


def corrected(dataset: Dataset) -> None:
    dataset.PatientID, dataset.PatientName = "P2", "Right^Name"


def repainted(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def test_a_corrected_study_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        answer = association.send_c_store(mr_slice(1, corrected))
        association.release()
        assert (answer.Status, answer.ErrorComment) == (
            0x0111,
            "its header was changed: forget the study, or allow it",
        )
        assert desk.wait_for(State.QUEUED).patient.patient_id == "P1"


def test_where_it_is_allowed_a_corrected_study_takes_the_place_and_is_computed_again(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", changed="replace") as desk:
        association = associate(desk.port)
        for number in (1, 2):
            assert send(association, mr_slice(number)) == 0
        association.release()
        case = desk.wait_for(State.QUEUED)
        with Database(tmp_path / "data" / "scanside.db") as db:
            assert jobs.claim(db, "w") is not None
        association = associate(desk.port)
        for number in (1, 2):
            assert send(association, mr_slice(number, corrected)) == 0
            assert send(association, mr_slice(number, corrected)) == 0, "acknowledged again"
        assert send(association, mr_slice(1, repainted)) == 0x0111, "another picture under its UID never is"
        association.release()
        after = desk.wait_for(State.QUEUED)
        assert (after.case_id, after.instances) == (case.case_id, 2)
        assert (after.patient.patient_id, after.patient.name) == ("P2", "Right^Name")
        entries = desk.audited("instance replaced")
        assert len(entries) == 2 and "P2" not in entries[0].detail
        now = {row.sha256 for row in desk.instances()}
        assert {json.loads(entry.detail)["after"] for entry in entries} == now
        with snapshot(
            desk.instances(), tmp_path / "data" / "spool", tmp_path / "r" / "c", lambda: None
        ) as study:
            assert {pydicom.dcmread(file).PatientID for file in study.rglob("*.dcm")} == {"P2"}


def test_a_forgotten_study_may_come_again_otherwise(tmp_path: Path) -> None:
    with receiver(tmp_path / "data") as desk, Database(tmp_path / "data" / "scanside.db") as db:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        (case,) = desk.cases
        with pytest.raises(NotAllowedError, match="being received"):
            retention.forget_now(db, case.case_id, "user ann")
        association.release()
        desk.wait_for(State.QUEUED)
        job = jobs.claim(db, "w")
        assert job is not None
        with pytest.raises(NotAllowedError, match="being computed"):
            retention.forget_now(db, case.case_id, "user ann")
        jobs.act(db, job.job, jobs.Action.CANCEL, "user ann")
        retention.forget_now(db, case.case_id, "user ann")
        with pytest.raises(InputError, match="no images"):
            retention.forget_now(db, case.case_id, "user ann")
        (gone,) = desk.cases
        assert (gone.instances, gone.patient.patient_id) == (0, "") and gone.deleted is not None
        association = associate(desk.port)
        assert send(association, mr_slice(1, corrected)) == 0
        association.release()
        again = desk.wait_for(State.QUEUED)
        assert (again.case_id, again.patient.patient_id, again.deleted) == (case.case_id, "P2", None)
        assert [entry.actor for entry in desk.audited("study deleted")] == ["user ann"]
        assert audit.verify(db)


def test_what_cannot_be_read_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\0" * 400)
    file = encoded(rich(), EXPLICIT, tmp_path / "one.dcm")
    assert likeness(file, tmp_path / "broken") is likeness(tmp_path / "none", file) is Likeness.OTHER
