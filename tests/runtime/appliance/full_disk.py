"""Studies are streamed to an appliance whose disk fills up. Run where `data` of a folder is a small disk.

`python -m tests.runtime.appliance.full_disk FOLDER STUDIES` prints one JSON line: what was sent, refused and found.

Each study ends with a series of one image, and is complete with its fourth series, so that no clock decides when.
"""

import copy
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from scanside.runtime.appliance.store import audit, orders, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import ENDED, State
from tests.runtime.appliance.chaos import check, held_by
from tests.runtime.appliance.hospital import all_cases
from tests.runtime.study.tiny_study import write_bundle
from tests.support import peers
from tests.support.appliance import Appliance, appliance, free_port, until
from tests.support.small_studies import small_study

RESERVE = 4_000_000
"""Bytes below which the receiver refuses."""
SECONDS = 240.0
EARLY = 3
"""Studies that wait for the worker when the disk fills up."""
A700 = 0xA700
_MAKING = threading.Lock()
WAITS = "the service starts when the disk has room"


def study(number: int) -> list[Dataset]:
    """A small study; a localizer comes last."""
    with _MAKING:  # `small_study` changes one set of objects
        made = [copy.deepcopy(one) for one in small_study(number)]
    last = copy.deepcopy(made[0])
    last.SeriesDescription, last.SeriesNumber = "localizer", 1
    last.SeriesInstanceUID += ".9"
    last.SOPInstanceUID = last.file_meta.MediaStorageSOPInstanceUID = f"{last.SOPInstanceUID}.9"
    return [*made, last]


@dataclass
class Sender:
    """Sends studies one after the other, each instance until it is taken, as a scanner does that may not give up.

    Attributes:
        taken: SOP Instance UIDs that were acknowledged.
        answers: Statuses that were not success.
        lost: Associations that were lost or refused.
    """

    port: int
    numbers: list[int]
    taken: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while self.numbers and not self.stop.is_set():
            if self._send(study(self.numbers[0])):
                self.numbers.pop(0)
            else:
                self.lost += 1
                self.stop.wait(0.2)

    def _send(self, instances: list[Dataset]) -> bool:
        from pynetdicom import AE
        from pynetdicom.sop_class import MRImageStorage

        entity = AE("MR1")
        # Short: on a busy machine pynetdicom's own sender loses an answer now and then, and would wait for it.
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 8
        entity.add_requested_context(MRImageStorage, "1.2.840.10008.1.2.1")
        association = entity.associate(peers.LOOPBACK, self.port, ae_title="SCANSIDE")
        if not association.is_established:
            return False
        try:
            return all(self._store(association, one) for one in instances)
        finally:
            with suppress(Exception):
                association.release()

    def _store(self, association: Any, instance: Dataset) -> bool:
        while not self.stop.is_set():
            try:
                status = association.send_c_store(instance)
            except (RuntimeError, ValueError):  # the association is lost
                return False
            if "Status" not in status:
                return False
            if status.Status == 0:
                self.taken.add(instance.SOPInstanceUID)
                return True
            self.answers[f"{status.Status:04X}"] += 1
            self.stop.wait(0.05)
        return False


class Ballast:
    """What else lies on the disk, and grows."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "ballast"

    def leave(self, free: int) -> None:
        """Take so much that no more is free."""
        with self._path.open("ab", buffering=0) as file, suppress(OSError):
            while (most := shutil.disk_usage(self._folder).free - free) > 0:
                file.write(b"\0" * min(most, 1 << 20))

    def hold(self, stop: threading.Event) -> None:
        """Take every byte that anybody gives back."""
        while not stop.wait(0.01):
            self.leave(0)

    def remove(self) -> None:
        self._path.unlink()


class Scenario:
    """A disk that fills up, is full, and has room again."""

    def __init__(self, scanside: Appliance, studies: int) -> None:
        self.scanside, self.studies = scanside, studies
        self.ballast = Ballast(scanside.data)
        numbers = list(range(1, studies + 1))
        self.senders = [
            Sender(scanside.receive_port, some)
            for some in (numbers[:EARLY], numbers[EARLY::2], numbers[EARLY + 1 :: 2])
        ]

    def refused(self) -> int:
        return sum(sender.answers[f"{A700:04X}"] for sender in self.senders)

    def play(self) -> dict[str, Any]:
        """All of it; returns what was seen."""
        early, *later = [threading.Thread(target=sender.run, daemon=True) for sender in self.senders]
        self._pause(True)
        early.start()
        early.join(SECONDS)
        self._until(lambda: self._queued() == EARLY, "the first studies wait for the worker")
        self.ballast.leave(RESERVE + 600_000)
        for thread in later:
            thread.start()
        seen: dict[str, Any] = {}
        self._until(lambda: self.refused() >= 10, "refusals below the reserve")
        seen["taken below the reserve"] = self._all_there()
        self._full(seen)
        self.ballast.remove()
        self._until(lambda: not any(sender.numbers for sender in self.senders), "everything is taken")
        self._until(self._done, "every study is done")
        for thread in later:
            thread.join(30)
        return seen

    def _pause(self, paused: bool) -> None:
        with Database(self.scanside.data / "scanside.db") as database:
            orders.pause_queue(database, paused, "test")

    def _queued(self) -> int:
        return sum(case.state is State.QUEUED for case in all_cases(self.scanside))

    def _worker_fails(self) -> bool:
        return any(
            '"process": "work"' in line and '"ERROR"' in line for line in self.scanside.log().splitlines()
        )

    def _full(self, seen: dict[str, Any]) -> None:
        """Not a byte is left; and now everything is killed as well, and started again."""
        stop = threading.Event()
        holder = threading.Thread(target=self.ballast.hold, args=(stop,))
        self._pause(False)
        holder.start()
        try:
            before = self.refused()
            self._until(lambda: self.refused() >= before + 5, "refusals on a full disk")
            self._until(self._worker_fails, "a result that finds no room")
            for name in ("work", "deliver", "receive"):
                self.scanside.kill(name)
            seen["taken on the full disk"] = self._all_there()
            self.scanside.kill("serve")
            self.scanside.start()
            self._until(
                lambda: bool(self.scanside.pids("receive")) or WAITS in self.scanside.log(),
                "the service goes on, or waits for room",
            )
            seen["free bytes"] = shutil.disk_usage(self.scanside.data).free
        finally:
            stop.set()
            holder.join()

    def _all_there(self) -> int:
        """Every acknowledged instance is in the store, and its file is what the store says."""
        taken = set().union(*(sender.taken for sender in self.senders))
        found = {}
        with Database(self.scanside.data / "scanside.db") as database:
            for case in worklist.cases(database):
                for one in worklist.instances_of(database, case.study_uid):
                    found[one.sop_uid] = (self.scanside.data / "spool" / one.path, one.sha256)
        missing = taken - set(found)
        assert not missing, f"{len(missing)} acknowledged instances are not in the store"
        for path, digest in found.values():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        return len(taken)

    def _done(self) -> bool:
        cases = all_cases(self.scanside)
        return len(cases) == self.studies and all(case.state in ENDED for case in cases)

    def _until(self, look: Callable[[], bool], what: str) -> None:
        try:
            until(look, SECONDS, what)
        except AssertionError as error:
            states = Counter(str(case.state) for case in all_cases(self.scanside))
            told = [(sender.numbers, dict(sender.answers), sender.lost) for sender in self.senders]
            raise AssertionError(f"{error}; {states}; {told}\n{self.scanside.log()[-3000:]}") from None


def main(folder: Path, studies: int) -> None:
    started, commitment = time.monotonic(), free_port()
    bundle = write_bundle(folder / "tiny.bundle")
    with (
        peers.Orthanc(folder / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)}) as pacs,
        appliance(
            folder,
            bundle,
            receive={"quiet_seconds": 3600, "complete_series": 4, "reserve_gb": RESERVE / 1e9},
            work={"tries": 5},
            send={"commitment_port": commitment},
            watch={"log_level": "INFO"},
            destinations=[
                {
                    "name": "PACS", "ae_title": "PACS", "host": peers.LOOPBACK, "port": pacs.port,
                    "commitment_seconds": 8,
                }
            ],
        ) as scanside,
    ):  # fmt: skip
        scanside.wait_for_receiver()
        scenario = Scenario(scanside, studies)
        seen = scenario.play()
        cases = all_cases(scanside)
        check(scanside, cases, studies, len(study(1)), held_by(pacs), studies + 1)
        scenario._all_there()
        with Database(scanside.data / "scanside.db") as database:
            actions = Counter(entry.action for entry in audit.entries(database))
        print(
            json.dumps(
                {
                    **seen,
                    "studies": studies,
                    "taken": len(set().union(*(sender.taken for sender in scenario.senders))),
                    "answers": dict(sum((sender.answers for sender in scenario.senders), Counter())),
                    "associations lost": sum(sender.lost for sender in scenario.senders),
                    "statuses": dict(Counter(case.status for case in cases)),
                    "jobs": max(case.job for case in cases),
                    "attempts": max(case.attempts for case in cases),
                    "audit": {name: actions[name] for name in ("disk low", "quarantine")},
                    "seconds": round(time.monotonic() - started, 1),
                    "log": scanside.log().splitlines(),
                }
            )
        )


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    main(Path(sys.argv[1]), int(sys.argv[2]))
