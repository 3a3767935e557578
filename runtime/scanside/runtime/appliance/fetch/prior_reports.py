"""The thread that looks in archives for earlier results of a patient: reports that Scanside wrote (ADR 43).

It works while a study comes in and is computed, and no job waits for it. Its state is in the store
(`store/prior_lookups.py`): who is killed in between looks again.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from pathlib import Path

from scanside.runtime.appliance.config import Archive, Config
from scanside.runtime.appliance.fetch.archive import FetchError, Filed
from scanside.runtime.appliance.fetch.fetcher import work_until
from scanside.runtime.appliance.fetch.sources import source_of
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.store.prior_lookups import Archived, Sought
from scanside.runtime.appliance.store.records import Measured
from scanside.runtime.dicom.header import read_instance
from scanside.runtime.dicom.patient import day_of, person_of
from scanside.runtime.errors import InputError, ScansideError
from scanside.runtime.remark import Remark
from scanside.runtime.study.prior_report import NotUsedError, Stated, Whose, read_prior_report

_PATTERN = frozenset("*?\\")
"""What a search takes for a pattern, or for several values (PS3.4 C.2.2.2)."""

log = logging.getLogger("scanside.fetch")


@dataclass
class _Look:
    """One look.

    Attributes:
        person, day: Of the study that comes in.
        ends: When its time is over.
        failures: Of archives.
        refused: Why reports are not used → their number.
        found: The latest earlier result.
    """

    one: Sought
    person: str
    day: date
    ends: float
    failures: list[ScansideError] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    found: Archived | None = None

    @property
    def left(self) -> float:
        """Seconds.

        Raises:
            FetchError: If there are none.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise FetchError("Their time, fetch.seconds, is over.")
        return left

    @property
    def remark(self) -> Remark | None:
        """For the result."""
        if self.failures:
            words = f"Earlier results of the patient were not read from an archive: {self.failures[0]}"
            return Remark(words, "prior-failed")
        if not self.refused:
            return None
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        words = f"Reports that an archive gave as earlier results of the patient are not used: {why}."
        return Remark(words, "prior-refused")


class PriorFetcher:
    """Asks archives that have `priors = true`."""

    def __init__(self, config: Config, ledger: Ledger, spool: Path) -> None:
        self._config, self._ledger, self._spool = config, ledger, spool
        self._tried: dict[int, tuple[int, float]] = {}
        """Job → failed tries, and when the next one may be."""

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        work_until(stop, self.step)

    def step(self) -> bool:
        """Look for earlier results of the patient of one study. Returns whether there was one."""
        sought = self._ledger.sought()
        self._tried = {one.job: self._tried.get(one.job, (0, 0.0)) for one in sought}
        due = [one for one in sought if self._tried[one.job][1] <= time.monotonic()]
        if not due:
            return False
        one = min(due, key=lambda one: self._tried[one.job])
        tries, now = self._tried[one.job][0], time.monotonic()
        self._tried[one.job] = tries, now + self._config.fetch.retry_seconds  # should it fail unforeseen
        self._look(one)
        return True

    def _look(self, one: Sought) -> None:
        """By one of its images whose study it is; who computes it asks all of them once more."""
        try:
            header = read_instance(self._spool / one.path).header
        except (InputError, OSError):  # the worker says what is wrong with it
            self._ledger.end_lookup(one, {"person": "not known"})
            return
        person, day = person_of([header]), day_of([header])
        if person is None or day is None:
            self._ledger.end_lookup(one, {"person": "not certain"})
            return
        look = _Look(one, person, day, time.monotonic() + self._config.fetch.seconds)
        if _PATTERN & set(one.patient_id) or not one.patient_id.isascii():
            words = "A Patient ID with *, ?, \\ or letters beyond ASCII cannot be searched for."
            look.failures.append(FetchError(words))
        else:
            self._search(look)
        self._ledger.keep_archived(person, day, look.found, whole=not look.failures)
        self._conclude(look)

    def _search(self, look: _Look) -> None:
        """The latest earlier study with a report that states a size; of that study the latest report."""
        try:
            for study_uid, reports in self._studies(look):
                if study_uid == look.one.study_uid or self._ledger.computed_here(study_uid):
                    continue
                latest = self._latest(look, reports)
                if latest is not None:
                    archive, said = latest
                    person = self._ledger.pseudonym_of(look.person)
                    made = Measured(person, said.day, said.algorithm, said.bundle_sha256, said.sizes)
                    look.found = Archived(self._ledger.case_of(study_uid), made, archive.name)
                    return
        except ScansideError as error:
            look.failures.append(error)

    def _studies(self, look: _Look) -> Iterator[tuple[str, list[tuple[Archive, Filed]]]]:
        """Reports by study, the latest study first; each report once, of the first archive that has it."""
        listed: dict[str, tuple[Archive, Filed]] = {}
        for archive in self._config.fetch.prior_archives:
            try:
                source = source_of(archive, self._config)
                for filed in source.reports(look.one.patient_id.strip(), look.day, look.left):
                    listed.setdefault(filed.sop_uid, (archive, filed))
            except ScansideError as error:
                look.failures.append(error)
        days: dict[str, str] = {}
        for _, filed in listed.values():
            days[filed.study_uid] = max(filed.day, days.get(filed.study_uid, ""))
        by_study = sorted(
            listed.values(), key=lambda it: (days[it[1].study_uid], it[1].study_uid), reverse=True
        )
        for study_uid, group in groupby(by_study, key=lambda it: it[1].study_uid):
            yield study_uid, list(group)

    def _latest(self, look: _Look, reports: Iterable[tuple[Archive, Filed]]) -> tuple[Archive, Stated] | None:
        """Of one study; None where it states no size, or where a report is not used that may be the latest.

        Raises:
            ScansideError: If an archive does not give a report.
        """
        found: list[tuple[Archive, Stated]] = []
        refused = False
        for archive, filed in reports:
            whose = Whose(filed.study_uid, filed.sop_uid, look.one.patient_id, look.person)
            file = source_of(archive, self._config).report(filed, look.left)
            try:
                said = read_prior_report(file, whose)
            except NotUsedError as error:
                case_id = look.one.case_id
                words = "case %s: a report from %s %s; it is not used"
                log.warning(words, case_id, archive.name, error, extra={"case": case_id})
                look.refused[str(error)] += 1
                refused = True
                continue
            if said is not None:
                found.append((archive, said))
        if refused or not found:
            return None
        archive, said = max(found, key=lambda it: it[1].order)
        return (archive, said) if said.sizes and said.day < look.day else None

    def _conclude(self, look: _Look) -> None:
        one, fetch = look.one, self._config.fetch
        tries = self._tried[one.job][0] + 1
        for error in look.failures:
            log.warning("case %s: %s", one.case_id, error, extra={"case": one.case_id})
        if look.failures and tries < fetch.tries:
            self._tried[one.job] = tries, time.monotonic() + fetch.wait(tries - 1)
            return
        detail = {
            "found": look.found is not None,
            "not used": dict(look.refused),
            "failures": [str(error) for error in look.failures],
        }
        self._ledger.end_lookup(one, detail, look.remark)
