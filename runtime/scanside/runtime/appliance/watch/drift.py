"""Monitoring of a store: reads it, and keeps what it has read for metrics and terminal."""

import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.trends import finished

if TYPE_CHECKING:
    from scanside.runtime.appliance.watch.monitoring import Monitoring

_KEEP_SECONDS = 600.0


def read_monitoring(config: Config, since: date) -> "Monitoring":
    """Results since a day, judged by the configuration's days of commissioning.

    Raises:
        InputError: If there is no store, or it cannot be read.
    """
    from scanside.runtime.appliance.watch.monitoring import monitor  # here: the terminal opens without it

    commissioned = config.watch.commissioned
    with Database(config.database) as database:
        results = finished(database, _start(since))
        baseline = (
            ()
            if commissioned is None
            else finished(database, _start(commissioned[0]), _start(commissioned[1] + timedelta(days=1)))
        )
    return monitor(results, since, commissioned, baseline)


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day).timestamp()


def last_month(today: date) -> date:
    """The first day of the month before."""
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


@dataclass
class Drift:
    """Alarms of this month and the one before, read anew every ten minutes."""

    _read: float = float("-inf")
    _alarms: tuple[str, ...] = field(default=())

    def alarms(self, config: Config) -> tuple[str, ...]:
        """What lies outside the limits of commissioning; empty where there are none.

        Raises:
            InputError: If the store cannot be read.
        """
        if config.watch.commissioned is None:
            return ()
        if time.monotonic() - self._read > _KEEP_SECONDS:
            self._alarms = read_monitoring(config, last_month(date.today())).alarms
            self._read = time.monotonic()
        return self._alarms
