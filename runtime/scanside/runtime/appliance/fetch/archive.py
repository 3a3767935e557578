"""What is wanted of an archive, of whatever kind it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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

    def fault(self, seconds: float) -> str | None:
        """None if it answers, and would give; otherwise a sentence that says what is wrong.

        Args:
            seconds: For each answer.
        """
        ...
