"""Peers that negotiate LABELMAP get Segmentations of that kind and a report on them; all others get BINARY."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ComprehensiveSRStorage
from pynetdicom.sop_class import (
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

from scanside.runtime.appliance.deliver import main as deliver
from scanside.runtime.appliance.deliver.classes import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    LABELMAP_STORAGE,
)
from scanside.runtime.appliance.deliver.labelmap import labelmap_takers
from scanside.runtime.appliance.store import orders
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.work.main import Worker
from tests.runtime.appliance.deliver.desk import thread_of
from tests.runtime.appliance.deliver.scripted import STORAGE, Peer, peer
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.support.appliance import free_port, until
from tests.support.dciodvfy import errors_of

TAKES = (
    *STORAGE,
    ComprehensiveSRStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    KeyObjectSelectionDocumentStorage,
)
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


@contextmanager
def two_peers() -> Iterator[tuple[Peer, Peer]]:
    with peer(takes=(*TAKES, LABELMAP_STORAGE)) as modern, peer(takes=TAKES) as old:
        yield modern, old


def held(at: Peer) -> list[Any]:
    """What it was sent, in order."""
    found = []
    for uid in at.got:
        (content,) = at.held[uid]
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        found.append(dataset)
    return found


def segments_of(report: Any) -> set[str]:
    """SOP Instance UIDs of the Segmentations that a report refers to."""
    found = set()
    for item in report.get("ContentSequence", []):
        if item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]:
            found.add(str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID))
        found |= segments_of(item)
    return found


def test_who_negotiates_labelmap_gets_it_and_all_others_binary(
    tmp_path: Path, bundle: Path, dicom_study: Path
) -> None:
    with two_peers() as (modern, old):
        destinations = [
            {
                "name": name,
                "ae_title": "PEER",
                "host": "127.0.0.1",
                "port": at.port,
                "labelmap": True,
                "comprehensive_sr": name == "old",
            }
            for name, at in (("modern", modern), ("old", old))
        ]
        path = configured(tmp_path, bundle, destinations=destinations, send={"commitment_port": free_port()})
        config, database = opened(path)
        case_id = received(config, database, sorted(dicom_study.rglob("*.dcm")))
        worker = Worker(config, database, threading.Event())
        with database, thread_of(lambda stop: deliver.run(config, stop)):
            until(lambda: labelmap_takers(config, database) == {"modern"}, 20, "the sender has asked")
            assert worker.step()
            until(lambda: shown(database, case_id).state is State.DONE, 60, "everything is sent")
            sent = {name: held(at) for name, at in (("modern", modern), ("old", old))}
            files = sorted((config.results / case_id / "1" / "labelmap").iterdir())
            first = {file.name: file.read_bytes() for file in files}
            orders.rerun(database, case_id, "user ann")
            assert worker.step()
            again = {file.name: (config.results / case_id / "2" / "labelmap" / file.name) for file in files}
            assert {name: file.read_bytes() for name, file in again.items()} == first, "deterministic"
        worker.close()
    for name, kind, sop_class in (("modern", "LABELMAP", LABELMAP_STORAGE), ("old", "BINARY", SEG)):
        t2w, dwi, report, capture, key = sent[name]
        assert [(one.SOPClassUID, one.SegmentationType) for one in (t2w, dwi)] == [(sop_class, kind)] * 2
        assert report.SOPClassUID == (COMPREHENSIVE_SR if name == "old" else COMPREHENSIVE_3D_SR)
        assert (report.Modality, capture.Modality, key.Modality) == ("SR", "OT", "KO")
        assert segments_of(report) and segments_of(report) <= {t2w.SOPInstanceUID, dwi.SOPInstanceUID}
    segs, reports = (
        {one.SOPInstanceUID for at in sent.values() for one in at[part]} for part in (slice(2), slice(2, 3))
    )
    assert (len(segs), len(reports)) == (4, 2), "another kind is another object"
    wrong = [line for file in files for line in errors_of(file) if "that is not segmentation" not in line]
    assert errors_of(config.results / case_id / "1" / "report_comprehensive_sr.dcm") == []
    assert (
        wrong == []
    )  # dciodvfy does not know that reports may refer to segments of a Label Map (PS3.3 table 10-3)


def test_a_job_asks_no_peer_so_that_one_that_hangs_costs_it_nothing(
    tmp_path: Path, bundle: Path, dicom_study: Path
) -> None:
    """The worker reads what the sender has learned; it once waited for such a peer in the middle of a job."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        silent.setblocking(False)
        port = silent.getsockname()[1]
        destination = {
            "name": "silent", "ae_title": "PEER", "host": "127.0.0.1", "port": port, "labelmap": True,
        }  # fmt: skip
        path = configured(tmp_path, bundle, destinations=[destination])
        config, database = opened(path)
        case_id = received(config, database, sorted(dicom_study.rglob("*.dcm")))
        worker = Worker(config, database, threading.Event())
        with database:
            assert worker.step()
            assert shown(database, case_id).state is State.SENDING
        worker.close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    result = config.results / case_id / "1"
    assert sorted(result.glob("*.dcm")) and not (result / "labelmap").exists()
