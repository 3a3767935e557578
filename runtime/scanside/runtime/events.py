"""What the pipeline announces while it works. Log, progress bars, report and benchmark all listen to these."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageStarted:
    """A stage of a case begins."""

    case: str
    stage: str


@dataclass(frozen=True)
class StageProgress:
    """Part of a stage is done: `done` of `total` tiles."""

    case: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class StageFinished:
    """A stage of a case ended after `ms` milliseconds."""

    case: str
    stage: str
    ms: float


@dataclass(frozen=True)
class CaseFinished:
    """A case is done and written."""

    case: str


@dataclass(frozen=True)
class CaseFailed:
    """A case was refused or failed; `reason` is the sentence for the user."""

    case: str
    reason: str


Event = StageStarted | StageProgress | StageFinished | CaseFinished | CaseFailed
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""
