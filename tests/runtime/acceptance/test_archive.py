"""Reading back from real archives: C-GET, C-MOVE where there is no C-GET, and an archive that offers neither."""

from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from scanside.runtime.acceptance import archive
from scanside.runtime.acceptance.sender import send_files
from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.classes import KEY_OBJECTS
from scanside.runtime.errors import OutputError
from tests.runtime.acceptance.site import configure
from tests.support import peers

STUDY = "1.2.826.0.1.3680043.8.498.77"


def _object(path: Path) -> str:
    """A small object of a kind that we send."""
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = KEY_OBJECTS, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    dataset.PatientID, dataset.PatientName, dataset.Modality = (
        "SCANSIDE-ACCEPTANCE",
        "SCANSIDE^ACCEPTANCE",
        "KO",
    )
    dataset.StudyDate = f"{datetime(2026, 1, 1):%Y%m%d}"
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


@pytest.mark.parametrize(("get", "way"), [(True, "C-GET"), (False, "C-MOVE")])
def test_what_was_stored_comes_back(tmp_path: Path, get: bool, way: str) -> None:
    config = configure(tmp_path, tmp_path)
    us = {
        "AET": "SCANSIDE",
        "Host": peers.LOOPBACK,
        "Port": config.send.commitment_port,
        "AllowGet": get,
        "AllowMove": True,
    }
    with peers.Orthanc(tmp_path / "pacs", options={"DicomModalities": {"us": us}}) as pacs:
        there = DicomDestination(name="pacs", ae_title="PACS", host=peers.LOOPBACK, port=pacs.port)
        uid = _object(tmp_path / "one.dcm")
        assert send_files(there, config, [tmp_path / "one.dcm"]) == {}
        assert archive.fetch(there, config, STUDY, [], tmp_path / "back", 10)[0] == way
        found = archive.fetch(there, config, STUDY, [], tmp_path / "back", 10)[1]
    assert list(found) == [uid]
    assert pydicom.dcmread(found[uid]) == pydicom.dcmread(tmp_path / "one.dcm")


def test_an_archive_that_gives_nothing_back(tmp_path: Path) -> None:
    from pynetdicom import AE

    config: Config = configure(tmp_path, tmp_path)
    entity = AE("PACS")
    entity.add_supported_context(KEY_OBJECTS)
    server = entity.start_server((peers.LOOPBACK, 0), block=False)
    assert server is not None
    there = DicomDestination(name="pacs", ae_title="PACS", host=peers.LOOPBACK, port=server.server_address[1])
    try:
        with pytest.raises(archive.NotAnsweredError, match=r"C-GET: .*C-MOVE: "):
            archive.fetch(there, config, STUDY, [], tmp_path / "back", 5)
    finally:
        server.shutdown()


def test_parts_of_an_answer_are_whole() -> None:
    """Whatever bytes a part holds, line ends among them."""
    kind = 'multipart/related; type="application/dicom"; boundary="a b"'
    parts = [b"\r\n\x00\r\n--a\r\n\n", b"", b"DICM\r"]
    body = b"".join(b"\r\n--a b\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts)
    assert archive._parts(kind, body[2:] + b"\r\n--a b--\r\n") == parts
    with pytest.raises(OutputError, match="not multipart"):
        archive._parts("application/dicom+json", b"[]")
