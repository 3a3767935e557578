"""What is wanted of an archive, of whatever kind it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from scanside.runtime.appliance.deliver.classes import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR
from scanside.runtime.errors import OutputError


class FetchError(OutputError):
    """An archive did not give what it was asked for."""


@dataclass(frozen=True)
class Listed:
    """A series that an archive says it has.

    Attributes:
        modality: As it says; empty where it does not.
        instances: How many; None where it does not say.
    """

    series_uid: str
    modality: str
    instances: int | None


@dataclass(frozen=True)
class Filed:
    """A structured report that an archive says it has. UIDs are nothing but digits and dots.

    Attributes:
        day: Date of its study, as `20260131`; empty where it does not say.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    day: str


UID = re.compile(r"[0-9.]{1,64}")
REPORTS = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR)
"""SOP classes of reports that are looked for."""
MOST_REPORT = 8 << 20
"""Bytes of a report that are read. One has 50 kB, and 100 kB with many slices."""


def is_of(stated: object, patient_id: str) -> bool:
    """Whether an answer that states this Patient ID, or none, is of no other patient: the report itself has to say."""
    return str(stated or patient_id).strip() == patient_id.strip()


class Source(Protocol):
    """One archive. `sources.source_of` makes the right one."""

    def series(self, study_uid: str) -> Sequence[Listed]:
        """The series of a study that it has; none where it does not know the study.

        Raises:
            FetchError: If its answer cannot be used.
            DeliveryError: If it cannot be reached.
        """
        ...

    def bring(self, study_uid: str, series_uid: str, seconds: float) -> None:
        """See that a series comes in; returns when all of it that comes is here.

        Args:
            seconds: For all of it.

        Raises:
            FetchError: If it gives not all of it.
            DeliveryError: If it cannot be reached.
        """
        ...

    def reports(self, patient_id: str, until: date, seconds: float) -> Sequence[Filed]:
        """Comprehensive and Comprehensive 3D reports of a patient's studies up to a day.

        Args:
            patient_id: Without what a search takes for a pattern.
            seconds: For all of it.

        Raises:
            FetchError: If its answer cannot be used.
            DeliveryError: If it cannot be reached.
        """
        ...

    def report(self, filed: Filed, seconds: float) -> bytes:
        """One of them, as a DICOM file that nobody has looked into.

        Args:
            seconds: For all of it.

        Raises:
            FetchError: If it does not give it.
            DeliveryError: If it cannot be reached.
        """
        ...

    def fault(self, seconds: float) -> str | None:
        """None if it answers, and would give; otherwise a sentence that says what is wrong.

        Args:
            seconds: For each answer.
        """
        ...
