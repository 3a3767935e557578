"""The thread that looks in archives for what complete studies lack, one study at a time.

Its state is in the store (`store/fetches.py`): who is killed in between goes on with the same study. A study waits
for it `fetch.seconds` at most, whether it gets anywhere or not.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from scanside.runtime.appliance.config import Archive, Config
from scanside.runtime.appliance.fetch.archive import UID, FetchError, Listed, Source
from scanside.runtime.appliance.fetch.missing import lacking, needed_of
from scanside.runtime.appliance.fetch.sources import source_of
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.scp import Receiver
from scanside.runtime.appliance.store.fetches import Due
from scanside.runtime.errors import ScansideError
from scanside.runtime.remark import Remark
from scanside.runtime.study.read import TITLES

_LOOK_SECONDS = 0.2
_FAILED_SECONDS = 5.0
"""Before the store is tried again after it could not be written."""
_ALL = 1 << 30
"""Images that have to come of a series of which an archive does not say how many it has, until all have come."""

log = logging.getLogger("scanside.fetch")


def work_until(stop: threading.Event, step: Callable[[], bool]) -> None:
    """Take step after step until told to stop, whatever becomes of one."""
    while not stop.wait(_LOOK_SECONDS):
        try:
            step()
        except (ScansideError, RuntimeError) as error:  # a full disk; the store is closed
            if stop.is_set():
                return
            log.error("%s", error)
            stop.wait(_FAILED_SECONDS)
        except Exception:
            log.exception("fetching failed unforeseen; it is tried again")
            stop.wait(_FAILED_SECONDS)


class OtherPatientError(FetchError):
    """In an archive, the study is of another patient."""


class Fetcher:
    """Asks archives."""

    def __init__(self, config: Config, receiver: Receiver, ledger: Ledger, conditions: Conditions) -> None:
        self._config, self._receiver, self._ledger = config, receiver, ledger
        self._conditions = conditions

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        work_until(stop, self.step)

    def step(self) -> bool:
        """Look for what one study lacks. Returns whether there was one."""
        one = self._ledger.due_fetch()
        if one is None:
            return False
        needed = needed_of(self._config)
        absent = self._absent(one, needed)
        if not absent:
            self._ledger.end_fetch(one, {"lacks": []})
            return True
        log.info("case %s: looking for %s", one.case_id, ", ".join(absent), extra={"case": one.case_id})
        brought, failures = 0, list[tuple[Archive, ScansideError]]()
        for archive in self._config.fetch.archives:
            if not absent or self._left(one) <= 0:
                break
            try:
                brought += self._ask(archive, one)
            except ScansideError as error:
                log.warning("case %s: %s", one.case_id, error, extra={"case": one.case_id})
                failures.append((archive, error))
            absent = self._absent(one, needed)
        self._conclude(one, absent, brought, failures)
        return True

    def _absent(self, one: Due, needed: tuple[str, ...]) -> tuple[str, ...]:
        return lacking(self._conditions.spool.folder / one.case_id, needed, self._config)

    def _left(self, one: Due) -> float:
        return one.begun + self._config.fetch.seconds - time.time()

    def _ask(self, archive: Archive, one: Due) -> int:
        """Bring the series of a study that are not here, or not all; returns the number of images that came."""
        source = source_of(archive, self._config, self._conditions, self._receiver)
        here = Counter(instance.series_uid for instance in self._ledger.instances_of(one.study_uid))
        listed_once = {series.series_uid: series for series in source.series(one.study_uid)}
        wanted = [
            series
            for uid, series in listed_once.items()
            if UID.fullmatch(uid) and series.modality in ("MR", "") and here[uid] < (series.instances or 1)
        ]
        most = self._config.fetch.most_instances
        if sum(max(0, listed.instances or 0) for listed in wanted) > most:
            raise FetchError(
                f"{archive.name} has more than {most} images that are not here; raise fetch.most_instances."
            )
        brought = 0
        for listed in wanted:
            left = self._left(one)
            if left <= 0:
                raise FetchError(f"{archive.name} is too slow for fetch.seconds; raise it.")
            brought += self._bring(source, archive, listed, one, left, new=not here[listed.series_uid])
        return brought

    def _bring(
        self, source: Source, archive: Archive, listed: Listed, one: Due, left: float, new: bool
    ) -> int:
        if new:
            self._ledger.expect(one, listed.series_uid, listed.instances or _ALL)
        with self._receiver.wanted.asking(one.study_uid, [listed.series_uid], one.patient_id) as asked:
            try:
                source.bring(one.study_uid, listed.series_uid, left)
            except ScansideError:
                if not asked.refused:
                    raise
        if asked.other_patient:
            raise OtherPatientError(
                f"{archive.name} sent {asked.other_patient} images of another patient, which were refused; compare the "
                "patient there with the one here."
            )
        if asked.strange:
            raise FetchError(
                f"{archive.name} sent {asked.strange} images that it was not asked for, which were refused; check it."
            )
        if len(asked.came) < (listed.instances or 1):
            raise FetchError(
                f"{archive.name} gave {len(asked.came)} of {listed.instances or 'all'} images of a series."
            )
        if new:
            self._ledger.expect(one, listed.series_uid, len(asked.came))
        return len(asked.came)

    def _conclude(
        self,
        one: Due,
        absent: Sequence[str],
        brought: int,
        failures: Sequence[tuple[Archive, ScansideError]],
    ) -> None:
        detail: dict[str, object] = {"images": brought, "lacks": list(absent)}
        if not failures or not (absent or self._ledger.incomplete(one)):
            self._ledger.end_fetch(one, detail)
            return
        fetch, (archive, error) = self._config.fetch, failures[0]
        wait = fetch.wait(one.tries)
        final = isinstance(error, OtherPatientError)  # it would send the same again
        if not final and one.tries + 1 < fetch.tries and self._left(one) > wait:
            self._ledger.fetch_again(one, str(error), wait)
            return
        code = "fetch-other-patient" if final else "fetch-failed"
        lacks = _named(absent) if absent else "a complete series"
        words = f"The study lacks {lacks}, which was not fetched from {archive.name}: {error}"
        self._ledger.end_fetch(one, {**detail, "why": str(error)}, Remark(words, code))


def _named(sequences: Sequence[str]) -> str:
    return " and ".join(f"a {TITLES[name]}" if name != "adc" else "an ADC map" for name in sequences)
