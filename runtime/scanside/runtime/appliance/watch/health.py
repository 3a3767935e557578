"""Does the appliance work? One document for monitoring: healthy, or every reason why not."""

import shutil
import sqlite3
from collections.abc import Iterator
from typing import Any

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.deliver.retry import cannot_answer
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store.database import why_not_writable
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.watch.counts import Counts, History, read_counts
from scanside.runtime.appliance.watch.heartbeat import STALE_SECONDS, alive
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import ScansideError

SCHEMA = "scanside.health/1"
_WRITE_SECONDS = 2.0


def examine(config: Config, history: History | None = None) -> dict[str, Any]:
    """Examine processes, store, disk and bundle. Never raises.

    Returns:
        `scanside.health/1`: `healthy`, `reasons` (what keeps studies from being received, computed or delivered),
        `notes` (what a person should look at), and the figures behind them. No patient data.
    """
    reasons: list[str] = []
    ages = {name: alive(config, name) for name in NAMES}
    reasons += _silent(ages)
    counts = _store(config, history or History(), reasons)
    return {
        "schema": SCHEMA,
        "processes": {name: None if age is None else round(age, 1) for name, age in ages.items()},
        "disk": _disk(config, reasons),
        "bundle": _bundle(config, reasons),
        "store": None if counts is None else _figures(counts),
        "notes": [*_callbacks(config), *([] if counts is None else _notes(counts))],
        "reasons": reasons,
        "healthy": not reasons,
    }


def _silent(ages: dict[str, float | None]) -> Iterator[str]:
    for name, age in ages.items():
        if age is None:
            yield f"process {name} has not started"
        elif age >= STALE_SECONDS:
            yield f"process {name} has been silent for {age:.0f} s"


def _store(config: Config, history: History, reasons: list[str]) -> Counts | None:
    try:
        counts = read_counts(config, history)
    except (ScansideError, sqlite3.Error, OSError):
        reasons.append("the store cannot be read")
        return None
    why = why_not_writable(config.database, _WRITE_SECONDS)
    if why is not None:
        reasons.append(f"the store cannot be written ({why})")
    return counts


def _disk(config: Config, reasons: list[str]) -> dict[str, int] | None:
    try:
        usage = shutil.disk_usage(config.service.data)
    except OSError as error:
        reasons.append(f"the data folder cannot be looked at ({error.strerror})")
        return None
    if usage.free < config.receive.reserve_gb * 1e9:
        reasons.append(
            f"the data folder's disk has {usage.free / 1e9:.1f} GB left, less than the reserve of "
            f"{config.receive.reserve_gb:g} GB: instances are refused"
        )
    return {"free_bytes": usage.free, "size_bytes": usage.total}


def _bundle(config: Config, reasons: list[str]) -> dict[str, str] | None:
    try:
        return open_bundle(config.service.bundle).summary()
    except ScansideError as error:
        reasons.append(str(error))
        return None


def _callbacks(config: Config) -> Iterator[str]:
    for destination in config.unanswerable:
        yield cannot_answer(config, destination)


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        "jobs": {state: number for state, number in counts.jobs.items() if number},
        "oldest_job_seconds": None if counts.oldest_job is None else round(counts.oldest_job, 1),
        "oldest_delivery_seconds": None
        if counts.oldest_delivery is None
        else round(counts.oldest_delivery, 1),
        "audit_number": counts.audit_number,
    }


def _notes(counts: Counts) -> Iterator[str]:
    if counts.paused:
        yield "the queue is paused"
    for state, words in ((State.QUARANTINED, "quarantined"), (State.REVIEW, "waiting for review")):
        if number := counts.jobs[state]:
            yield f"{number} {'case is' if number == 1 else 'cases are'} {words}"
    if counts.oldest_delivery is not None and counts.oldest_delivery > 3600:
        yield f"a result has waited for its delivery for {counts.oldest_delivery / 3600:.1f} h"
