"""Studies are streamed while processes are killed and the PACS fails; afterwards everything is counted.

What must hold: as many cases as studies, each done; the PACS holds exactly one set of results of each study; every
instance that was acknowledged is in the spool; the audit log is whole.
"""

import copy
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scanside.runtime.appliance.store import audit, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import ENDED, SETTLED, State
from scanside.runtime.errors import ScansideError
from tests.support.appliance import Appliance, until
from tests.support.flaky import FlakyProxy, Mood
from tests.support.small_studies import small_study

KINDS = Counter({"SEG": 2, "SR": 1, "OT": 1, "KO": 1})
"""Modalities of one study's results (OT: the secondary capture)."""


@dataclass
class Tally:
    """What was done to it."""

    kills: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    tries: int = 0
    acknowledged: int = 0


class Senders:
    """Stream studies; each is sent, whole, until every instance of it has been acknowledged."""

    def __init__(self, port: int, numbers: range, threads: int, tally: Tally) -> None:
        self._port, self._tally = port, tally
        self._left, self._studies, self._sent = list(reversed(numbers)), len(numbers), 0
        self._random = random.Random(len(self._left))
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(i,), daemon=True) for i in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def done(self) -> bool:
        """Whether every instance of every study has been acknowledged."""
        return self._sent == self._studies

    def _send_all(self, seed: int) -> None:
        patience = random.Random(seed)
        while not self._stop.is_set():
            with self._lock:
                if not self._left:
                    return
                number = self._left.pop()
            while not self._send(number):
                if self._stop.wait(patience.uniform(0.05, 0.3)):
                    return
            with self._lock:
                self._sent += 1

    def _send(self, number: int) -> bool:
        from pynetdicom import AE
        from pynetdicom.sop_class import MRImageStorage

        self._tally.tries += 1
        ae = AE("MR1")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.add_requested_context(MRImageStorage, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", self._port, ae_title="SCANSIDE")
        if not association.is_established:
            return False
        try:
            with self._lock:  # `small_study` changes one set of objects
                instances = [copy.deepcopy(instance) for instance in small_study(number)]
            broken = self._random.randrange(4 * len(instances))
            for place, instance in enumerate(instances):
                if place == broken:  # as scanners do
                    association.abort()
                    return False
                status = association.send_c_store(instance)
                if "Status" not in status or status.Status != 0:
                    return False
                self._tally.acknowledged += 1
            return True
        except Exception:  # whatever pynetdicom makes of an association that was lost
            return False
        finally:
            with suppress(Exception):
                association.release()


class Killer:
    """SIGKILL to a process of the appliance, or a bad mood of the PACS, every now and then."""

    def __init__(
        self, appliance: Appliance, proxy: FlakyProxy, seed: int, every: float, tally: Tally
    ) -> None:
        self._appliance, self._proxy, self._tally = appliance, proxy, tally
        self._random, self._every, self._stop = random.Random(seed), every, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._proxy.mood = Mood.PASS

    def _run(self) -> None:
        while not self._stop.wait(self._random.uniform(0.3, 1.7) * self._every):
            self._proxy.mood = self._random.choice([Mood.PASS, Mood.PASS, *Mood])
            self._tally.moods[self._proxy.mood.value] += 1
            name = self._random.choice(["receive", "work", "deliver", "work", "receive", "deliver", "serve"])
            if self._appliance.kill(name):
                self._tally.kills[name] += 1
            if name == "serve":
                self._appliance.start()


def wait_until_done(
    appliance: Appliance, studies: int, seconds: float, say: Callable[[str], None]
) -> list[Case]:
    """Wait until every study has come to an end."""
    last = time.monotonic()

    def look() -> list[Case] | None:
        nonlocal last
        with suppress(ScansideError), Database(appliance.data / "scanside.db") as database:
            cases = worklist.cases(database)
            if time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"{len(cases)} cases: {dict(Counter(str(case.state) for case in cases))}")
            if len(cases) == studies and all(case.state in ENDED for case in cases):
                return cases
        time.sleep(0.2)
        return None

    return until(look, seconds, f"{studies} studies are done")


def check(
    appliance: Appliance, cases: list[Case], studies: int, instances: int, found: dict[str, list[str]]
) -> None:
    """Count everything.

    Args:
        instances: Of a study.
        found: What the PACS holds: study UID → modality of every object.
    """
    assert Counter(case.state for case in cases) == {State.DONE: studies}
    assert all(set(case.sending) <= SETTLED and case.instances == instances for case in cases)
    assert set(found) == {case.study_uid for case in cases}, "results of every study, and of no other"
    wrong = {uid: Counter(kinds) for uid, kinds in found.items() if Counter(kinds) != KINDS}
    assert not wrong, f"not exactly one set of results: {wrong}"
    with Database(appliance.data / "scanside.db") as database:
        audit.verify(database)
        for case in cases:
            for instance in worklist.instances_of(database, case.study_uid):
                file = appliance.data / "spool" / instance.path
                assert file.stat().st_size == instance.size, f"{file} is not what was acknowledged"
    leftovers = [path for path in (appliance.data / "results").glob("*/*") if path.name.startswith(".")]
    assert not leftovers, f"left behind: {leftovers[:3]}"


def forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
