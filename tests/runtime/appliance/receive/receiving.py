"""A receiver for tests: in a thread, where it can be looked into, or as a process, which can be killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.receive.classes import STORED, VERIFICATION, transfer_syntaxes
from scanside.runtime.appliance.receive.main import PORT_FILE, run
from scanside.runtime.appliance.store import audit, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Entry, Instance
from scanside.runtime.appliance.store.states import State
from tests.support.appliance import toml, until
from tests.support.dicom_factory import ROOT, Grid, slice_of, stored_values, write_series

MR = STORED[0]


class Desk:
    """The data folder of a receiver, from outside."""

    def __init__(self, data: Path) -> None:
        self.data = data

    @property
    def port(self) -> int:
        found: dict[str, Any] = until(self._announced, 30, "the receiver")
        return int(found["port"])

    def _announced(self) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.data / PORT_FILE).read_text()))
        return None

    @property
    def cases(self) -> list[Case]:
        with Database(self.data / "scanside.db") as db:
            return worklist.cases(db)

    def instances(self, study_uid: str = f"{ROOT}.1") -> list[Instance]:
        with Database(self.data / "scanside.db") as db:
            return worklist.instances_of(db, study_uid)

    @property
    def open_associations(self) -> int:
        with Database(self.data / "scanside.db") as db:
            return int(db.rows("SELECT count(*) FROM associations")[0][0])

    def audited(self, action: str) -> list[Entry]:
        with Database(self.data / "scanside.db") as db:
            return [entry for entry in audit.entries(db) if entry.action == action]

    def wait_for(self, state: State, seconds: float = 20) -> Case:
        return until(
            lambda: next((case for case in self.cases if case.state is state), None),
            seconds,
            f"a {state} case",
        )

    def spooled(self) -> list[Path]:
        """By `os.walk`, which lets a folder go that the receiver takes away while it looks; `rglob` raises."""
        walked = os.walk(self.data / "spool")
        return sorted(Path(at) / name for at, _, names in walked for name in names if name.endswith(".dcm"))

    def incoming(self) -> list[Path]:
        return sorted((self.data / "spool" / "incoming").iterdir())


def configuration(data: Path, tables: dict[str, Any] | None = None, **receive: Any) -> Config:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Config.model_validate(
        {
            "service": {"data": data, "bundle": data / "bundle", "research_use_only": True},
            "receive": {"port": 0, "quiet_seconds": 0, "reserve_gb": 0.0, **receive},
            **(tables or {}),
        }
    )


@contextmanager
def receiver(data: Path, tables: dict[str, Any] | None = None, **receive: Any) -> Iterator[Desk]:
    """In a thread of this process; `tables` are further ones of its configuration."""
    stop, failed = threading.Event(), []

    def work() -> None:
        try:
            run(configuration(data, tables, **receive), stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    desk = Desk(data)
    try:
        until(lambda: bool(failed) or desk._announced(), 30, "the receiver")
        if failed:
            raise failed[0]
        yield desk
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


class Child(Desk):
    """As a process of its own, as the supervisor starts it."""

    def __init__(self, folder: Path, **receive: Any) -> None:
        super().__init__(folder / "data")
        self.data.mkdir(mode=0o700, parents=True)
        self.path = folder / "scanside.toml"
        document = {
            "service": {"data": self.data, "bundle": folder / "bundle", "research_use_only": True},
            "receive": {"port": 0, "quiet_seconds": 0, "reserve_gb": 0.0, **receive},
        }
        self.path.write_text(toml(document))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.data / PORT_FILE).unlink(missing_ok=True)
        with (self.data.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scanside.runtime.appliance.process", "receive", str(self.path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        assert self.port

    def log(self) -> str:
        return (self.data.parent / "log").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def memory_mib(self, peak: bool = False) -> float:
        assert self.process is not None
        wanted = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(wanted):
                return int(line.split()[1]) / 1024
        raise AssertionError("no memory in /proc")


@contextmanager
def child(folder: Path, **receive: Any) -> Iterator[Child]:
    made = Child(folder, **receive)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def associate(
    port: int,
    *,
    classes: tuple[str, ...] = (MR, VERIFICATION),
    syntaxes: tuple[str, ...] | None = None,
    calling: str = "MR1",
    called: str = "SCANSIDE",
    **options: Any,
) -> Association:
    """pynetdicom as sender; each class is proposed with each transfer syntax in a context of its own."""
    entity = AE(calling)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    contexts = [
        build_context(sop_class, syntax)
        for sop_class in classes
        for syntax in (syntaxes or transfer_syntaxes()[:1])
    ]
    return entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called, **options)


def send(association: Association, dataset: Dataset) -> int:
    """The status; -1 when there was no answer."""
    answer = association.send_c_store(dataset)
    return int(answer.Status) if "Status" in answer else -1


def send_bytes(
    association: Association, data: bytes, sop_class: str, sop_uid: str, syntax: str | None = None
) -> tuple[int, str]:
    """Send any bytes as any instance, true or not; the status and its comment, -1 without an answer."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_uid
    request.DataSet = BytesIO(data)
    fits = [
        one.context_id
        for one in association.accepted_contexts
        if one.abstract_syntax != VERIFICATION and syntax in (None, one.transfer_syntax[0])
    ]
    association._reactor_checkpoint.clear()
    until(lambda: association._is_paused or not association.is_alive(), 10, "the reactor of the sender")
    association.dimse.send_msg(request, fits[0])
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return (-1, "") if answer is None else (int(answer.Status), str(answer.ErrorComment or ""))


def data_set_of(path: Path) -> bytes:
    """The bytes behind the file meta."""
    with path.open("rb") as file:
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        return file.read()


def mr_slice(number: int = 0, change: Callable[[Dataset], None] | None = None, study: str = "1") -> Dataset:
    """One small MR image of study `ROOT.<study>`."""
    dataset = slice_of(stored_values((1, 8, 6), seed=number), 0, Grid())
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.2"
    dataset.SOPInstanceUID = f"{ROOT}.{study}.3.{number}"
    if change:
        change(dataset)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", MR)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    return dataset


def series_files(folder: Path, count: int = 5, size: int = 8) -> list[Path]:
    """A series of the study `ROOT.1` on disk."""
    return sorted(write_series(folder, stored_values((count, size, size))).iterdir())


def wait_until_closed(sock: Any, seconds: float = 20) -> None:
    """Read until the other side closes."""
    sock.settimeout(seconds)
    deadline = time.monotonic() + seconds
    with suppress(ConnectionError):
        while sock.recv(4096):
            assert time.monotonic() < deadline
