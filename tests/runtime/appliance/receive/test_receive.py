"""Instances as dcmtk and pynetdicom send them: kept as they are, in every encoding, until the receiver stops."""

import hashlib
import json
import subprocess
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from scanside.runtime.appliance.receive.classes import STORED, transfer_syntaxes
from scanside.runtime.appliance.receive.main import PORT_FILE, run
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import UsageError
from tests.runtime.appliance.receive.receiving import (
    MR,
    Desk,
    associate,
    configuration,
    data_set_of,
    mr_slice,
    receiver,
    send,
    series_files,
)
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT
from tests.support.peers import Orthanc, dcmsend, echoscu, free_port, need, storescu

EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, RLE = transfer_syntaxes()[:5]


def test_a_series_from_dcmtk_is_kept_as_it_was_sent(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files")
    with receiver(tmp_path / "data") as desk:
        sent = storescu(desk.port, files)
        assert sent.returncode == 0, sent.stdout
        case = desk.wait_for(State.QUEUED)
        assert (case.instances, case.series_count, case.calling) == (5, 1, "MR1")
        assert case.patient.patient_id == "P1" and case.patient.name == "Test^Phantom"
        assert desk.open_associations == 0
        rows = desk.instances()
    assert sorted(row.sop_uid for row in rows) == sorted(
        str(pydicom.dcmread(one).SOPInstanceUID) for one in files
    )
    for row in rows:
        path = tmp_path / "data" / "spool" / row.path
        content = path.read_bytes()
        assert (row.sha256, row.size) == (hashlib.sha256(content).hexdigest(), len(content))
        assert path.stat().st_mode & 0o077 == 0
        kept = pydicom.dcmread(path)
        assert kept.file_meta.MediaStorageSOPInstanceUID == kept.SOPInstanceUID == row.sop_uid
        assert kept.file_meta.TransferSyntaxUID == EXPLICIT
        (source,) = [one for one in files if pydicom.dcmread(one).SOPInstanceUID == row.sop_uid]
        assert data_set_of(path) == data_set_of(source)
        assert len(path.relative_to(tmp_path / "data" / "spool").parts) == 3 and ROOT not in str(row.path)
    assert not (tmp_path / "data" / PORT_FILE).exists(), "nothing listens any more"


def test_an_archive_forwards_a_study(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files")
    with (
        receiver(tmp_path / "data") as desk,
        Orthanc(tmp_path / "orthanc", modalities={"SCANSIDE": ("127.0.0.1", desk.port)}) as archive,
    ):
        assert storescu(archive.port, files, called="PACS").returncode == 0
        done = archive.post(
            "/modalities/SCANSIDE/store", {"Resources": archive.get("/studies"), "Synchronous": True}
        )
        assert done["FailedInstancesCount"] == 0 and done["InstancesCount"] == 5
        case = desk.wait_for(State.QUEUED)
        assert (case.instances, case.calling) == (5, "PACS")


def test_echo_is_answered(tmp_path: Path) -> None:
    with receiver(tmp_path / "data") as desk:
        assert echoscu(desk.port).returncode == 0
        association = associate(desk.port)
        assert association.send_c_echo().Status == 0
        association.release()
        assert desk.cases == []


@pytest.mark.parametrize(
    ("tool", "options", "syntax"),
    [
        ("dcmconv", ("+te", "-xe"), EXPLICIT),
        ("dcmconv", ("+ti", "-xi"), IMPLICIT),
        ("dcmconv", ("+tb", "-xb"), BIG_ENDIAN),
        ("dcmconv", ("+td", "-xd"), DEFLATED),
        ("dcmcrle", (), RLE),
        ("dcmcjpeg", ("+e1",), "1.2.840.10008.1.2.4.70"),
        ("dcmcjpeg", ("+el",), "1.2.840.10008.1.2.4.57"),
        ("dcmcjpeg", ("+ee",), "1.2.840.10008.1.2.4.51"),
        ("dcmcjpls", ("+el",), "1.2.840.10008.1.2.4.80"),
        ("dcmcjpls", ("+en",), "1.2.840.10008.1.2.4.81"),
    ],
)
def test_files_of_dcmtk_arrive_in_their_own_encoding(
    tmp_path: Path, tool: str, options: tuple[str, ...], syntax: str
) -> None:
    (file,) = series_files(tmp_path / "files", 1, 32)
    encoded = tmp_path / "encoded.dcm"
    subprocess.run([need(tool), *options[:1], str(file), str(encoded)], check=True, capture_output=True)
    with receiver(tmp_path / "data") as desk:
        if tool == "dcmconv":  # dcmsend chooses an encoding without compression by itself
            sent = storescu(desk.port, [encoded], options[1], "-R")
        else:
            sent = dcmsend(desk.port, [encoded], "-dn")
        assert sent.returncode == 0, sent.stdout
        (row,) = desk.instances()
    path = tmp_path / "data" / "spool" / row.path
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert data_set_of(path) == data_set_of(encoded)


def test_every_transfer_syntax_is_taken_as_it_is(tmp_path: Path) -> None:
    """Nothing is decoded: what is inside a fragment is the worker's affair."""
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port, syntaxes=transfer_syntaxes(), classes=(MR,))
        assert len(association.accepted_contexts) == len(transfer_syntaxes()) >= 13
        for number, syntax in enumerate(transfer_syntaxes()):
            dataset = mr_slice(number)
            dataset.file_meta.TransferSyntaxUID = UID(syntax)
            if syntax not in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
                dataset.PixelData = encapsulate([bytes(100)])
                dataset["PixelData"].VR = "OB"
                dataset["PixelData"].is_undefined_length = True
            dataset.set_original_encoding(syntax == IMPLICIT, syntax != BIG_ENDIAN)
            assert send(association, dataset) == 0, syntax
        association.release()
        kept = [pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in desk.spooled()]
    assert sorted(kept) == sorted(transfer_syntaxes())


def test_what_scanners_send_along_is_taken_and_other_modalities_are_not(tmp_path: Path) -> None:
    ct, find = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.2.1"
    report, private = "1.2.840.10008.5.1.4.1.1.88.33", "1.3.12.2.1107.5.9.1"

    def other(sop_class: str) -> Dataset:
        def change(dataset: Dataset) -> None:
            dataset.SOPClassUID = sop_class
            del dataset.PixelData

        return mr_slice(STORED.index(sop_class), change)

    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port, classes=(*STORED, ct, find))
        assert {one.abstract_syntax for one in association.accepted_contexts} == set(STORED)
        assert [send(association, other(one)) for one in (MR, report, private)] == [0, 0, 0]
        association.release()
        assert desk.wait_for(State.QUEUED).instances == 3


def test_what_is_sent_again_is_acknowledged_again_and_what_differs_is_refused(tmp_path: Path) -> None:
    def other(dataset: Dataset) -> None:
        dataset.InstanceNumber = 99

    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        (path,) = desk.spooled()
        before = path.read_bytes()
        path.unlink()  # a damaged disk, say
        assert send(association, mr_slice(1)) == 0
        assert path.read_bytes() == before, "what is acknowledged is there"
        assert send(association, mr_slice(1, other)) == 0x0111
        association.release()
        assert path.read_bytes() == before
        assert desk.wait_for(State.QUEUED).instances == 1
        assert desk.incoming() == []
        (entry,) = desk.audited("instance refused")
        assert json.loads(entry.detail)["status"] == "0x0111" and entry.case_id == desk.cases[0].case_id


def test_running_associations_may_finish_and_no_new_ones_begin_when_it_stops(tmp_path: Path) -> None:
    stop, data = threading.Event(), tmp_path / "data"
    thread = threading.Thread(target=run, args=(configuration(data), stop))
    thread.start()
    desk = Desk(data)
    port = desk.port
    association = associate(port)
    assert send(association, mr_slice(1)) == 0
    stop.set()
    until(lambda: not associate(port).is_established, 10, "no new associations")
    assert send(association, mr_slice(2)) == 0
    association.release()
    thread.join(20)
    assert not thread.is_alive()
    assert len(desk.instances()) == 2 and desk.open_associations == 0


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with receiver(tmp_path / "one") as desk, pytest.raises(UsageError, match="cannot be listened on"):
        run(configuration(tmp_path / "two", port=desk.port), threading.Event())
    assert not (tmp_path / "two" / PORT_FILE).exists()
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        run(
            configuration(
                tmp_path / "three",
                host="192.0.2.1",
                port=free_port(),
                plaintext=True,
                callers=[{"ae_title": "A"}],
            ),
            threading.Event(),
        )
