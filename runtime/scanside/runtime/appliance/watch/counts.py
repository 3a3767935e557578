"""What monitoring reads of the store. Histories are read once and then only what is new, however long they get."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import figures, orders, worklist
from scanside.runtime.appliance.store.database import Database, clock
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.errors import InputError
from scanside.runtime.study.report import read_report

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Upper bounds of the stage histogram, s."""
MOST_LABELS = 64
"""Distinct stages or kinds of failure; further ones count as `other`, so that monitoring stays bounded."""


@dataclass(frozen=True)
class Stage:
    """Durations of one stage.

    Attributes:
        buckets: Number of runs up to each of `BUCKETS` and, last, above: not cumulative.
        seconds: Sum.
    """

    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0

    def add(self, seconds: float) -> "Stage":
        """With one more run."""
        place = sum(seconds > bound for bound in BUCKETS)
        counts = tuple(n + (index == place) for index, n in enumerate(self.buckets))
        return Stage(counts, self.seconds + seconds)


@dataclass(frozen=True)
class Counts:
    """The store at one moment.

    Attributes:
        jobs, outbox: How many in each state; (destination, state) for the outbox.
        results: Jobs with a result, by its status.
        failures: Failed tries by kind.
        stages: Durations by stage.
        studies: Received since the store was made.
        oldest_job, oldest_delivery: Since when, in seconds, the oldest job waits to be computed, the oldest object to
            be delivered; None when nothing waits.
        paused: Whether the queue is paused.
        device: (asked, obtained) of the latest result; None where there is none.
        audit_number: Of the newest audit entry.
    """

    jobs: Mapping[State, int]
    outbox: Mapping[tuple[str, Sending], int]
    results: Mapping[str, int]
    failures: Mapping[str, int]
    stages: Mapping[str, Stage]
    studies: int
    oldest_job: float | None
    oldest_delivery: float | None
    paused: bool
    device: tuple[str, str] | None
    audit_number: int


@dataclass
class History:
    """What has been read of timings and failures so far."""

    timing: int = 0
    entry: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


def read_counts(config: Config, history: History) -> Counts:
    """Read the store.

    Args:
        history: Is brought up to date.

    Raises:
        InputError: If there is no store, or it cannot be read.
    """
    with Database(config.database) as database:
        _continue(database, history)
        now = clock(None)
        return Counts(
            jobs=worklist.count_states(database),
            outbox=worklist.count_outbox(database),
            results=figures.count_results(database),
            failures=dict(history.failures),
            stages=dict(history.stages),
            studies=figures.count_studies(database),
            oldest_job=_age(figures.oldest_job(database), now),
            oldest_delivery=_age(figures.oldest_delivery(database), now),
            paused=orders.is_paused(database),
            device=_device(config, database),
            audit_number=history.entry,
        )


def _continue(database: Database, history: History) -> None:
    entry, timing = figures.newest(database)
    if entry < history.entry or timing < history.timing:  # another store: restored from a backup
        history.__init__()  # type: ignore[misc]
    added = figures.news(database, history.entry, history.timing)
    for kind, number in added.failures.items():
        name = _bounded(kind, history.failures)
        history.failures[name] = history.failures.get(name, 0) + number
    for stage, ms in added.stages:
        name = _bounded(stage, history.stages)
        history.stages[name] = history.stages.get(name, Stage()).add(ms / 1000)
    history.entry, history.timing = added.entry, added.timing


def _bounded(name: str, known: Mapping[str, object]) -> str:
    return name if name in known or len(known) < MOST_LABELS else "other"


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)


def _device(config: Config, database: Database) -> tuple[str, str] | None:
    """Of the latest result, as its result.json says; None where that has been deleted already."""
    folder = figures.latest_result(database)
    if folder is None:
        return None
    try:
        device = read_report(config.results / folder).device
        return device.asked, str(device.obtained)
    except InputError:
        return None
