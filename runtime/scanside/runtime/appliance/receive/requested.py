"""What we have asked archives for: nothing else is taken from them, and nothing of another patient."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scanside.runtime.appliance.receive.identity import Identity
from scanside.runtime.appliance.receive.incoming import NOT_ASKED_FOR, Refusal

NOT_WANTED = Refusal(NOT_ASKED_FOR, "it was not asked for")
_OTHER_PATIENT = Refusal(NOT_ASKED_FOR, "it is of another patient than the study here")


@dataclass
class Asked:
    """Series of one study that an archive is asked for.

    Attributes:
        patient_id: Of the study here.
        came: SOP Instance UIDs that were kept.
        other_patient: Instances of these series and another patient, which were refused.
        strange: Those of other series or studies, which were refused as well.
    """

    study_uid: str
    series: frozenset[str]
    patient_id: str
    came: set[str] = field(default_factory=set)
    other_patient: int = 0
    strange: int = 0

    @property
    def refused(self) -> int:
        """Number of instances that were refused."""
        return self.other_patient + self.strange


class Wanted:
    """Asked by every association."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Asked] = []

    @contextmanager
    def asking(self, study_uid: str, series: Collection[str], patient_id: str) -> Iterator[Asked]:
        """What comes meanwhile is taken."""
        one = Asked(study_uid, frozenset(series), patient_id)
        with self._lock:
            self._asked.append(one)
        try:
            yield one
        finally:
            with self._lock:
                self._asked.remove(one)

    def refuses(self, identity: Identity) -> Refusal | None:
        """Why an instance from an archive is not taken; None where it is what was asked for."""
        with self._lock:
            for one in self._asked:
                if identity.study_uid == one.study_uid and identity.series_uid in one.series:
                    if identity.patient.patient_id.strip() == one.patient_id.strip():
                        return None
                    one.other_patient += 1
                    return _OTHER_PATIENT
            for one in self._asked:
                one.strange += 1
        return NOT_WANTED

    def came(self, identity: Identity) -> None:
        """An instance is on disk and in the store."""
        with self._lock:
            for one in self._asked:
                if identity.study_uid == one.study_uid and identity.series_uid in one.series:
                    one.came.add(identity.sop_uid)
