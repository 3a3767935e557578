"""A data folder whose outbox holds real objects, and the sender on it: in a thread, or as a process to be killed."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from scanside.runtime.appliance.config import Config, Destination
from scanside.runtime.appliance.deliver.main import run
from scanside.runtime.appliance.store import intake, jobs, outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Item, Made, Outcome, Patient
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.seg import write_seg
from tests.support.appliance import toml, until
from tests.support.dicom_factory import Grid, slice_of, stored_values, write_series

PATIENT = Patient("4711", "Doe^Ann")
_ROOT = "1.2.826.0.1.3680043.8.498.9"
_SECONDS = 30.0


@functools.cache
def templates() -> dict[str, bytes]:
    """A Segmentation, a report and a secondary capture, as files."""
    with tempfile.TemporaryDirectory() as folder:
        made = {"seg": _seg(Path(folder)), "sr": _sr(), "sc": _sc()}
        found = {}
        for kind, dataset in made.items():
            path = Path(folder) / f"{kind}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            found[kind] = path.read_bytes()
    return found


def _seg(folder: Path) -> Dataset:
    stored = stored_values()
    _, series = read_series(write_series(folder / "series", stored))
    mask = np.zeros(series.geometry.shape, np.uint8)
    mask[1:4, 2:6, 2:5] = 1
    write_seg(
        mask, {"lesion": 1}, series, folder / "made.dcm",
        algorithm_name="tiny", algorithm_version="1", bundle_sha256="0" * 64,
    )  # fmt: skip
    return pydicom.dcmread(folder / "made.dcm")


def _source() -> Dataset:
    source = slice_of(stored_values(), 0, Grid())
    source.PatientName, source.PatientID = PATIENT.name, PATIENT.patient_id
    return source


def _sc() -> Dataset:
    source = _source()
    return highdicom.sc.SCImage(
        pixel_array=np.zeros((16, 16, 3), np.uint8), photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=f"{_ROOT}.2", sop_instance_uid=f"{_ROOT}.2.1", series_number=9002, instance_number=1,
        manufacturer="scanside", patient_orientation=("L", "P"), patient_id=source.PatientID,
        patient_name=source.PatientName,
    )  # fmt: skip


def _sr() -> Dataset:
    source = _source()
    report = Dataset()
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = Comprehensive3DSRStorage
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID = f"{_ROOT}.3.1"
    report.StudyInstanceUID, report.SeriesInstanceUID = source.StudyInstanceUID, f"{_ROOT}.3"
    report.PatientID, report.PatientName = source.PatientID, source.PatientName
    report.PatientBirthDate = report.PatientSex = report.StudyID = report.AccessionNumber = ""
    report.StudyDate = report.ContentDate = "20260101"
    report.StudyTime = report.ContentTime = "120000"
    report.ReferringPhysicianName = ""
    report.Modality, report.SeriesNumber, report.InstanceNumber = "SR", 9001, 1
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    return report


class Desk:
    """An appliance that does nothing but send."""

    def __init__(self, folder: Path, *destinations: Destination, **send: Any) -> None:
        self.folder = folder
        self.tables: dict[str, Any] = {
            "service": {"data": folder / "data", "bundle": folder / "bundle", "research_use_only": True},
            "send": {
                "commitment_port": 0, "retry_seconds": 0.1, "retry_most_seconds": 0.5, "timeout_seconds": 3, **send,
            },
        }  # fmt: skip
        self.database = Database(folder / "data" / "scanside.db", create=True)
        self.destinations(*destinations)

    def destinations(self, *destinations: Destination) -> None:
        """Set who is sent to."""
        self.config = Config.model_validate({**self.tables, "destinations": destinations})
        self.config.results.mkdir(parents=True, exist_ok=True)

    def put(
        self, *names: str, kinds: Sequence[str] = ("seg", "sr", "sc"), study: int = 1, hold: bool = False
    ) -> list[Made]:
        """Finish a job whose objects are to go to the destinations called `names`."""
        study_uid = f"{_ROOT}.1.{study}"
        intake.add_instance(
            self.database, Instance(f"{study_uid}.9", study_uid, f"{study_uid}.8", "x", "0" * 64, 1),
            association="a", calling="MR1", patient=PATIENT, most=10,
        )  # fmt: skip
        intake.close_association(self.database, "a")
        (case_id,) = intake.complete_studies(self.database, quiet_seconds=0, series=None)
        job = jobs.claim(self.database, "w")
        assert job is not None
        made = [
            self._write(kind, f"{case_id}/{job.job}", study_uid, number)
            for number, kind in enumerate(kinds, 1)
        ]
        sends = tuple((name, one) for name in names for one in made)
        result = Outcome("ok", None, 0.5, 0.4, 0.6, f"{case_id}/{job.job}", {}, sends)
        jobs.succeed(self.database, job.job, result, hold=hold)
        return made

    def _write(self, kind: str, folder: str, study_uid: str, number: int) -> Made:
        place = self.config.results / folder
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number}.dcm"
        path.write_bytes(templates()[kind])
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = study_uid
        dataset.SeriesInstanceUID = f"{study_uid}.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{study_uid}.{number}.1"
        dataset.save_as(path, enforce_file_format=True)
        return Made(kind, dataset.SOPClassUID, dataset.SOPInstanceUID, f"{folder}/{path.name}")

    def items(self) -> list[Item]:
        """Everything in the outbox."""
        (most,) = self.database.rows("SELECT coalesce(max(job), 0) AS n FROM jobs")
        return [item for job in range(1, most["n"] + 1) for item in outbox.of_job(self.database, job)]

    def states(self, destination: str) -> set[Sending]:
        return {item.state for item in self.items() if item.destination == destination}

    def job_states(self) -> set[State]:
        return {State(row["state"]) for row in self.database.rows("SELECT state FROM jobs")}

    def wait(self, destination: str, state: Sending, seconds: float = _SECONDS) -> list[Item]:
        """Until all objects for a destination are in a state."""
        until(lambda: self.states(destination) == {state}, seconds, f"{destination} {state}")
        return [item for item in self.items() if item.destination == destination]

    def reason(self, destination: str, words: str, seconds: float = _SECONDS) -> str:
        """Until an object for a destination waits for a reason with certain words."""

        def found() -> str | None:
            reasons = [i.reason for i in self.items() if i.destination == destination and i.reason]
            return next((reason for reason in reasons if words in reason), None)

        try:
            return until(found, seconds, f"{destination}: {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}; but {[(i.state, i.reason) for i in self.items()]}") from None

    def audited(self, action: str) -> int:
        (row,) = self.database.rows("SELECT count(*) AS n FROM audit WHERE action = ?", (action,))
        return int(row["n"])

    @contextmanager
    def sending(self) -> Iterator[None]:
        """The sender, in a thread."""
        stop = threading.Event()
        faults: list[BaseException] = []

        def guarded() -> None:
            try:
                run(self.config, stop)
            except BaseException as error:
                faults.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
        assert not thread.is_alive(), "the sender does not stop"
        assert not faults, faults

    def start_process(self) -> "subprocess.Popen[bytes]":
        """The sender, as the supervisor starts it."""
        document = self.config.model_dump(mode="json", exclude_none=True)
        tables = {name: document[name] for name in ("service", "send")}
        path = self.folder / "scanside.toml"
        path.write_text(toml({**tables, "destinations": document["destinations"]}))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with (self.folder / "deliver.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "scanside.runtime.appliance.process", "deliver", str(path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip


def end(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGKILL) -> None:
    """Kill a sender."""
    process.send_signal(number)
    process.wait(30)


@contextmanager
def thread_of(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Something in the background until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
