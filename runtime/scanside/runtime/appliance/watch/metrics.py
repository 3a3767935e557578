"""Metrics for Prometheus, read from the store when asked for. No patient data; docs/appliance.md lists them."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store.states import Sending
from scanside.runtime.appliance.watch.counts import BUCKETS, Counts, History, Stage, read_counts
from scanside.runtime.appliance.watch.drift import Drift
from scanside.runtime.appliance.watch.heartbeat import STALE_SECONDS, alive
from scanside.runtime.errors import ScansideError

_KEEP_SECONDS = 1.0
"""Scrapers that ask more often than this get what the last one got."""


def collector(config: Config) -> Collector:
    """The collector of an appliance; register it with a `CollectorRegistry`. It never raises."""
    return _Appliance(config)


class _Appliance(Collector):
    def __init__(self, config: Config) -> None:
        self._config = config
        self._history = History()
        self._drift = Drift()
        self._lock = threading.Lock()
        self._last: tuple[Metric, ...] = ()
        self._read = -_KEEP_SECONDS

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the store."""
        return ()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._read >= _KEEP_SECONDS:
                self._last = tuple(self._families())
                self._read = time.monotonic()
            return self._last

    def _families(self) -> Iterator[Metric]:
        counts: Counts | None = None
        alarms: int | None = None
        with suppress(ScansideError, sqlite3.Error, OSError):  # `scanside_store_up` says so
            counts = read_counts(self._config, self._history)
            alarms = len(self._drift.alarms(self._config))
        yield _gauge("store_up", "1 when the store can be read", float(counts is not None))
        yield from _machine(self._config)
        if counts is not None:
            yield from _queue(counts)
            yield from _deliveries(self._config, counts)
            yield from _work(counts)
            if alarms is not None and self._config.watch.commissioned is not None:
                words = "Figures of this month and the last one outside the limits of commissioning"
                yield _gauge("drift_alarms", words, float(alarms))


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"scanside_{name}", words, value=value)


def _machine(config: Config) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "scanside_process_up", "1 when a process has said that it lives", labels=["process"]
    )
    age = GaugeMetricFamily(
        "scanside_process_heartbeat_age_seconds", "Since a process has said that it lives", labels=["process"]
    )
    for name in NAMES:
        seconds = alive(config, name)
        up.add_metric([name], float(seconds is not None and seconds < STALE_SECONDS))
        if seconds is not None:
            age.add_metric([name], seconds)
    yield up
    yield age
    try:
        disk = shutil.disk_usage(config.service.data)
    except OSError:
        return
    yield _gauge("data_free_bytes", "Free on the disk of the data folder", disk.free)
    yield _gauge("data_size_bytes", "Size of the disk of the data folder", disk.total)
    yield _gauge(
        "data_reserve_bytes",
        "Below so many free bytes instances are refused",
        config.receive.reserve_gb * 1e9,
    )


def _queue(counts: Counts) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("scanside_jobs", "Jobs by state", labels=["state"])
    for state, number in counts.jobs.items():
        jobs.add_metric([state], number)
    yield jobs
    yield CounterMetricFamily("scanside_studies_received", "Studies that have arrived", value=counts.studies)
    yield _gauge("queue_paused", "1 when the queue is paused", float(counts.paused))
    yield _gauge("oldest_job_seconds", "Age of the oldest job that waits or runs", counts.oldest_job or 0.0)
    yield CounterMetricFamily("scanside_audit_entries", "Entries of the audit log", value=counts.audit_number)


def _deliveries(config: Config, counts: Counts) -> Iterator[Metric]:
    outbox = GaugeMetricFamily(
        "scanside_outbox_objects", "Result objects by destination and state", labels=["destination", "state"]
    )
    names = {destination.name for destination in config.destinations} | {name for name, _ in counts.outbox}
    for name in sorted(names):
        for state in Sending:
            outbox.add_metric([name, state], counts.outbox.get((name, state), 0))
    yield outbox
    yield _gauge(
        "oldest_delivery_seconds", "Age of the oldest result not yet delivered", counts.oldest_delivery or 0.0
    )


def _work(counts: Counts) -> Iterator[Metric]:
    failures = CounterMetricFamily("scanside_failures", "Failed tries by kind", labels=["kind"])
    for kind, number in sorted(counts.failures.items()):
        failures.add_metric([kind], number)
    yield failures
    results = GaugeMetricFamily("scanside_results", "Jobs with a result, by its status", labels=["status"])
    for status, number in sorted(counts.results.items()):
        results.add_metric([status], number)
    yield results
    stages = HistogramMetricFamily(
        "scanside_stage_seconds", "Durations of the stages of finished jobs", labels=["stage"]
    )
    for name, stage in sorted(counts.stages.items()):
        stages.add_metric([name], _cumulative(stage), sum_value=stage.seconds)
    yield stages
    if counts.device is not None:
        device = GaugeMetricFamily(
            "scanside_device_info", "Device of the latest result", labels=["asked", "obtained"]
        )
        device.add_metric(list(counts.device), 1)
        yield device


def _cumulative(stage: Stage) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]
    return [(bound, sum(stage.buckets[: place + 1])) for place, bound in enumerate(bounds)]
