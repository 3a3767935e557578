"""The store as the receiver uses it: one connection, in one thread, for all associations."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from scanside.runtime.appliance.receive.limits import Sparing
from scanside.runtime.appliance.store import (
    audit,
    fetches,
    intake,
    mpps,
    prior_lookups,
    priors,
    retention,
    worklist,
)
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.fetches import Due
from scanside.runtime.appliance.store.intake import RECEIVER, Added, pseudonym
from scanside.runtime.appliance.store.mpps import Noted, Step
from scanside.runtime.appliance.store.prior_lookups import Archived, Sought
from scanside.runtime.appliance.store.records import Case, Instance, Patient
from scanside.runtime.errors import InputError, OutputError
from scanside.runtime.remark import Remark

T = TypeVar("T")

log = logging.getLogger("scanside.receive")


class Ledger:
    """Every method may be called from any thread; it waits for its turn. Writers have one at a time anyway."""

    def __init__(self, path: Path) -> None:
        """Open the store; no association is open yet.

        Raises:
            InputError: If it is damaged.
            OutputError: If it cannot be written.
        """
        self._thread = ThreadPoolExecutor(1, "store")
        self._sparing, self._all_sparing = Sparing(), Sparing(times=100)
        self._database = self._do(lambda: Database(path, create=True))
        self._do(lambda: intake.forget_associations(self._database))
        self._key = str(self._do(lambda: self._database.meta("site_key")))

    def _do(self, what: Callable[[], T]) -> T:
        return self._thread.submit(what).result()

    def case_of(self, study_uid: str) -> str:
        """The pseudonym of a study, known or not."""
        return pseudonym(self._key, study_uid)

    def add(
        self,
        instance: Instance,
        association: str,
        calling: str,
        patient: Patient,
        most: int,
        priority: int = 0,
    ) -> Added:
        """See `intake.add_instance`."""
        return self._do(
            lambda: intake.add_instance(
                self._database,
                instance,
                association=association,
                calling=calling,
                patient=patient,
                most=most,
                priority=priority,
            )
        )

    def replace(
        self, instance: Instance, before: str, association: str, calling: str, patient: Patient
    ) -> Added:
        """See `intake.replace_instance`."""
        return self._do(
            lambda: intake.replace_instance(
                self._database,
                instance,
                before=before,
                association=association,
                calling=calling,
                patient=patient,
            )
        )

    def find(self, sop_uid: str) -> Instance | None:
        """The instance that has this UID, if there is one."""
        return self._do(lambda: worklist.instance(self._database, sop_uid))

    def begin_step(self, step_uid: str, study_uid: str, calling: str, state: Step) -> Noted:
        """See `mpps.begin_step`."""
        case_id = self.case_of(study_uid)
        return self._do(lambda: mpps.begin_step(self._database, step_uid, study_uid, case_id, calling, state))

    def change_step(
        self, step_uid: str, state: Step | None, images: Sequence[str], calling: str, reason: str | None
    ) -> Noted:
        """See `mpps.change_step`."""
        study_uid = self._do(lambda: mpps.study_of_step(self._database, step_uid))
        if study_uid is None:
            return Noted.UNKNOWN
        case_id = self.case_of(study_uid)
        return self._do(
            lambda: mpps.change_step(self._database, step_uid, state, images, calling, case_id, reason)
        )

    def forget_old_steps(self, seconds: float) -> None:
        """See `mpps.forget_old_steps`."""
        self._do(lambda: mpps.forget_old_steps(self._database, seconds))

    def case(self, study_uid: str) -> Case | None:
        """A study's line in the worklist."""
        return self._do(lambda: worklist.case(self._database, pseudonym(self._key, study_uid)))

    def instances_of(self, study_uid: str) -> list[Instance]:
        """What has been received of a study."""
        return self._do(lambda: worklist.instances_of(self._database, study_uid))

    def close_association(self, name: str) -> None:
        """See `intake.close_association`."""
        self._do(lambda: intake.close_association(self._database, name))

    def complete(
        self,
        quiet_seconds: float,
        series: int | None,
        step_seconds: float,
        fetch_seconds: float | None = None,
    ) -> list[str]:
        """See `intake.complete_studies`."""
        return self._do(
            lambda: intake.complete_studies(
                self._database,
                quiet_seconds=quiet_seconds,
                series=series,
                step_seconds=step_seconds,
                fetch_seconds=fetch_seconds,
            )
        )

    def due_fetch(self) -> Due | None:
        """See `fetches.due`."""
        return self._do(lambda: fetches.due(self._database))

    def end_fetch(self, one: Due, detail: dict[str, object], remark: Remark | None = None) -> None:
        """See `fetches.end`."""
        self._do(lambda: fetches.end(self._database, one, detail, remark))

    def fetch_waits(self, study_uid: str) -> bool:
        """See `fetches.waits`."""
        return self._do(lambda: fetches.waits(self._database, study_uid))

    def expect(self, one: Due, series_uid: str, images: int) -> None:
        """See `fetches.expect`."""
        self._do(lambda: fetches.expect(self._database, one.job, series_uid, images))

    def incomplete(self, one: Due) -> int:
        """Number of images of series of which a fetch brought a part alone."""

        def count() -> int:
            here = worklist.instances_of(self._database, one.study_uid)
            return len(here) - len(fetches.without_incomplete(self._database, one.job, here))

        return self._do(count)

    def fetch_again(self, one: Due, why: str, wait: float) -> None:
        """See `fetches.try_again`."""
        self._do(lambda: fetches.try_again(self._database, one, why, wait))

    def sought(self) -> list[Sought]:
        """See `prior_lookups.sought`."""
        return self._do(lambda: prior_lookups.sought(self._database))

    def computed_here(self, study_uid: str) -> bool:
        """See `prior_lookups.computed_here`."""
        return self._do(lambda: prior_lookups.computed_here(self._database, study_uid))

    def pseudonym_of(self, person: str) -> str:
        """See `priors.pseudonym_of`."""
        return self._do(lambda: priors.pseudonym_of(self._database, person))

    def keep_archived(self, person: str, before: date, found: Archived | None, whole: bool) -> None:
        """See `prior_lookups.keep`.

        Args:
            person: What `dicom.patient.person_of` says.
        """
        of = self.pseudonym_of(person)
        self._do(lambda: prior_lookups.keep(self._database, of, before, found, whole))

    def end_lookup(self, one: Sought, detail: dict[str, object], remark: Remark | None = None) -> None:
        """See `prior_lookups.end`."""
        self._do(lambda: prior_lookups.end(self._database, one, detail, remark))

    def paths(self) -> set[str]:
        """Of every instance, below the spool."""
        return self._do(lambda: worklist.paths(self._database))

    def knows_path(self, path: str) -> bool:
        """Whether an instance is there."""
        return self._do(lambda: worklist.knows_path(self._database, path))

    def deleted(self) -> list[str]:
        """Cases that retention has forgotten."""
        return self._do(lambda: retention.deleted(self._database))

    def note(
        self,
        action: str,
        detail: Mapping[str, Any],
        *,
        case_id: str | None = None,
        again: tuple[str, ...] = (),
    ) -> None:
        """Write to the log and the audit log, a few times a minute only for the same `again`.

        Does not wait for the store. One that cannot be written leaves the line in the log.
        """
        kept = self._sparing.may(action, *again)
        if kept is None or self._all_sparing.may(action) is None:
            return
        full = {**detail, "unsaid": kept} if kept else dict(detail)
        words = ", ".join(f"{key} {value}" for key, value in full.items())
        log.warning(
            "%s%s: %s", f"case {case_id}: " if case_id else "", action, words, extra={"case": case_id}
        )
        with suppress(RuntimeError):  # it is closed
            self._thread.submit(self._record, action, full, case_id)

    def _record(self, action: str, detail: Mapping[str, Any], case_id: str | None) -> None:
        with suppress(OutputError, InputError):
            audit.record(self._database, RECEIVER, action, case_id=case_id, detail=detail)

    def close(self) -> None:
        """Close the store."""
        self._do(self._database.close)
        self._thread.shutdown()
