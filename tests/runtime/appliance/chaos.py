"""Studies are streamed while processes are killed and the PACS fails; afterwards everything is counted.

One in four is told of by procedure steps (MPPS). One in twenty does not come once and whole: it is sent again, or
corrected, or split over two associations, or forgotten and sent anew.

What must hold: as many cases as studies, each done; the PACS holds exactly the objects that were made, each once, and
of every study that came once and whole exactly one set; what was corrected has the corrected patient in its last
report; every instance that was acknowledged is in the spool; the audit log is whole.
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

from pydicom.dataset import Dataset

from scanside.runtime.appliance.store import audit, outbox, retention, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import ENDED, SETTLED, State
from scanside.runtime.errors import ScansideError
from tests.support import peers
from tests.support.appliance import Appliance, until
from tests.support.flaky import FlakyProxy, Mood
from tests.support.small_studies import small_study, small_study_uids

KINDS = Counter({"SEG": 2, "SR": 1, "OT": 1, "KO": 1})
"""Modalities of one study's results (OT: the secondary capture)."""


@dataclass
class Tally:
    """What was done to it."""

    kills: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    tries: int = 0
    acknowledged: int = 0


ODD_WAYS = ("again", "corrected", "split", "forgotten")
CORRECTED = "Corrected^Patient"
_MPPS = "1.2.840.10008.3.1.2.3.3"


def way_of(number: int, odd_every: int) -> str:
    """How a study comes: `once`, or in one of the odd ways."""
    return "once" if number % odd_every else ODD_WAYS[number // odd_every % len(ODD_WAYS)]


class Senders:
    """Stream studies; each is sent until every instance of it has been acknowledged, and so is each procedure step."""

    def __init__(
        self, port: int, numbers: range, threads: int, tally: Tally, database: Path, odd_every: int = 20
    ) -> None:
        self._port, self._tally, self._database, self._odd_every = port, tally, database, odd_every
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
            if not self._send_in_its_way(number, patience):
                return
            with self._lock:
                self._sent += 1

    def _send_in_its_way(self, number: int, patience: random.Random) -> bool:
        """False if it was told to stop."""
        way, told = way_of(number, self._odd_every), number % 4 == 0
        self._tally.ways[way] += 1
        self._tally.ways["told by procedure steps"] += told
        first, whole = (0.0, 0.5), (0.0, 1.0)
        parts = [first, (0.5, 1.0)] if way == "split" else [whole, whole] if way == "again" else [whole]
        steps: list[Callable[[], bool]] = []
        if told:
            steps.append(lambda: self._tell(number, "IN PROGRESS"))
        steps += [lambda part=part: self._send(number, part) for part in parts]  # type: ignore[misc]
        if told:
            steps.append(lambda: self._tell(number, "COMPLETED"))
        if way == "corrected":
            steps.append(lambda: self._send(number, whole, corrected=True))
        if way == "forgotten":
            steps += [lambda: self._forget(number), lambda: self._send(number, whole)]
        for step in steps:
            while not step():
                if self._stop.wait(patience.uniform(0.05, 0.3)):
                    return False
        return True

    def _forget(self, number: int) -> bool:
        """As `scanside queue forget` does, as soon as the study is done. Whether it is forgotten."""
        uid = next(small_study_uids(number))
        with suppress(ScansideError), Database(self._database) as database:
            case = next((one for one in worklist.cases(database) if one.study_uid == uid), None)
            if case is not None and case.deleted is not None:
                return True
            if case is not None and case.state is State.DONE:
                retention.forget_now(database, case.case_id, "user chaos")
                return True
        return False

    def _tell(self, number: int, state: str) -> bool:
        """N-CREATE or N-SET; one that was taken before its answer was lost is a duplicate, or final."""
        from pynetdicom import AE

        ae = AE("MR1")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.add_requested_context(_MPPS, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", self._port, ae_title="SCANSIDE")
        if not association.is_established:
            return False
        study, *uids = small_study_uids(number)
        step, scheduled, series = Dataset(), Dataset(), Dataset()
        step.PerformedProcedureStepStatus = state
        try:
            if state == "IN PROGRESS":
                scheduled.StudyInstanceUID = study
                step.ScheduledStepAttributesSequence = [scheduled]
                status, _ = association.send_n_create(step, _MPPS, f"{study}.77")
                return status.get("Status") in (0x0000, 0x0111)
            series.ReferencedImageSequence = [_reference(uid) for uid in uids]
            step.PerformedSeriesSequence = [series]
            status, _ = association.send_n_set(step, _MPPS, f"{study}.77")
            return status.get("Status") in (0x0000, 0x0110)
        except Exception:  # whatever pynetdicom makes of an association that was lost
            return False
        finally:
            with suppress(Exception):
                association.release()

    def _send(self, number: int, part: tuple[float, float] = (0.0, 1.0), *, corrected: bool = False) -> bool:
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
            count = len(instances)
            instances = instances[round(part[0] * count) : round(part[1] * count)]
            for instance in instances if corrected else ():
                instance.PatientName = CORRECTED
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


def _reference(uid: str) -> Dataset:
    from pynetdicom.sop_class import MRImageStorage

    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = MRImageStorage, uid
    return made


class Killer:
    """SIGKILL to a process of the appliance, or a bad mood of the PACS, every now and then."""

    def __init__(
        self, appliance: Appliance, proxy: FlakyProxy, seed: int, every: float, tally: Tally, most: int
    ) -> None:
        """Prepare it.

        Args:
            most: Kills after which it stops by itself: who forgets a study waits until that is done.
        """
        self._most = most
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
            if self._tally.kills.total() >= self._most:
                self._proxy.mood = Mood.PASS
                return


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


@dataclass(frozen=True)
class Found:
    """What the PACS holds of a study: SOP Instance UID → modality, and the patient's name of each report."""

    kinds: dict[str, str]
    names: dict[str, str]


def held_by(pacs: peers.Orthanc) -> dict[str, Found]:
    """What an archive holds, by study UID."""
    found: dict[str, Found] = {}
    for one in pacs.get("/studies?expand"):
        made = found[one["MainDicomTags"]["StudyInstanceUID"]] = Found({}, {})
        for name in one["Series"]:
            series = pacs.get(f"/series/{name}")
            for instance in series["Instances"]:
                uid = pacs.get(f"/instances/{instance}")["MainDicomTags"]["SOPInstanceUID"]
                made.kinds[uid] = series["MainDicomTags"]["Modality"]
                if made.kinds[uid] == "SR":
                    made.names[uid] = pacs.get(f"/instances/{instance}/simplified-tags")["PatientName"]
    return found


def check(
    appliance: Appliance,
    cases: list[Case],
    studies: int,
    instances: int,
    found: dict[str, Found],
    odd_every: int = 20,
) -> None:
    """Count everything.

    Args:
        instances: Of a study.
        found: What the PACS holds, by study UID.
    """
    assert Counter(case.state for case in cases) == {State.DONE: studies}
    assert all(set(case.sending) <= SETTLED and case.instances == instances for case in cases)
    assert set(found) == {case.study_uid for case in cases}, "results of every study, and of no other"
    whole = {
        next(small_study_uids(number))
        for number in range(1, studies + 1)
        if way_of(number, odd_every) in ("once", "again", "forgotten")
    }
    wrong = {
        uid: Counter(one.kinds.values())
        for uid, one in found.items()
        if uid in whole and Counter(one.kinds.values()) != KINDS
    }
    assert not wrong, f"not exactly one set of results: {wrong}"
    with Database(appliance.data / "scanside.db") as database:
        audit.verify(database)
        for case in cases:
            made = {
                item.sop_uid: item.kind
                for job in worklist.jobs_of(database, case.case_id)
                for item in outbox.of_job(database, job.job)
            }
            assert set(found[case.study_uid].kinds) == set(made), "what was made is there, and nothing else"
            last = [item.sop_uid for item in outbox.of_job(database, case.job) if item.kind == "sr"]
            name = found[case.study_uid].names[last[0]]
            number = int(case.study_uid.rsplit(".", 1)[1])
            corrected = way_of(number, odd_every) == "corrected"
            assert (name == CORRECTED) is corrected, f"the last report of study {number} is of {name}"
            for instance in worklist.instances_of(database, case.study_uid):
                file = appliance.data / "spool" / instance.path
                assert file.stat().st_size == instance.size, f"{file} is not what was acknowledged"
    leftovers = [path for path in (appliance.data / "results").glob("*/*") if path.name.startswith(".")]
    assert not leftovers, f"left behind: {leftovers[:3]}"


def forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
