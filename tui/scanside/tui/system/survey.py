"""Everything that the system screen shows, gathered by a thread into one immutable record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import audit, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Entry
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError, ScansideError
from scanside.runtime.study.report import read_report
from scanside.tui.feed import midnight
from scanside.tui.system.machine import (
    CpuTimes,
    Gauge,
    Gpus,
    cpu_gauge,
    cpu_times,
    memory_gauge,
    rails,
    temperatures,
    throttling,
)
from scanside.tui.system.times import computed, whole

LAST_RESULTS = 20
_KEPT_ENTRIES = 500


@dataclass(frozen=True)
class Device:
    """The backend of a result, as its result.json says."""

    case_id: str
    asked: str
    obtained: str
    why: str
    bundle: str


@dataclass(frozen=True)
class Echo:
    """A peer's answer. `fault` is a sentence, or None when it answers."""

    at: float
    fault: str | None
    seconds: float


@dataclass(frozen=True)
class BundleState:
    """The configured bundle.

    Attributes:
        words: Name and version, or why it cannot be opened.
        sound: None until every byte has been hashed, then whether all are what was exported.
    """

    words: str
    sha256: str = ""
    sound: bool | None = None


@dataclass(frozen=True)
class Survey:
    """One look at everything.

    Attributes:
        gauges: Machine.
        remarks: What the machine does not tell.
        states: Jobs by state.
        outbox: Objects by (destination, state).
        held: Objects by destination that wait for a person's decision.
        computing, waiting: Today's seconds of computing, and from the last image to the result, case by case.
        devices: Of the last results, the newest first.
        entries: Of the audit log, the newest last.
        fault: Why the store could not be read; None when it could.
    """

    at: float
    gauges: tuple[Gauge, ...] = ()
    remarks: tuple[str, ...] = ()
    states: Mapping[State, int] = field(default_factory=dict)
    outbox: Mapping[tuple[str, Sending], int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    computing: tuple[float, ...] = ()
    waiting: tuple[float, ...] = ()
    devices: tuple[Device, ...] = ()
    entries: tuple[Entry, ...] = ()
    fault: str | None = None


class Surveyor:
    """Gathers surveys. Belongs to one thread at a time."""

    def __init__(self, config: Config, root: Path = Path("/")) -> None:
        self._config, self._root = config, root
        self._gpus = Gpus()
        self._cpu: CpuTimes | None = None

    def look(self, now: float) -> Survey:
        """Look at machine and store. Never raises."""
        gauges, remarks = self._machine()
        try:
            with Database(self._config.database) as database:
                timings = worklist.timings(database, midnight(now))
                return Survey(
                    now,
                    gauges,
                    remarks,
                    worklist.count_states(database),
                    worklist.count_outbox(database),
                    worklist.count_held(database),
                    tuple(computed(timings)),
                    tuple(whole(timings)),
                    tuple(last_devices(self._config, database)),
                    tuple(audit.entries(database, after=audit.head(database)[0] - _KEPT_ENTRIES)),
                )
        except ScansideError as error:
            return Survey(now, gauges, remarks, fault=str(error))

    def _machine(self) -> tuple[tuple[Gauge, ...], tuple[str, ...]]:
        before, self._cpu = self._cpu, cpu_times(self._root)
        found = [cpu_gauge(before, self._cpu), memory_gauge(self._root), *self._gpus.read()]
        heat, power, slow = temperatures(self._root), rails(self._root), throttling(self._root)
        gpu = self._gpus.why is None
        remarks = [] if self._gpus.why is None else [self._gpus.why]
        remarks += [] if heat or gpu else ["no temperature is told by this system"]
        remarks += [] if power or gpu else ["no power reading is told by this system"]
        remarks += [] if slow or gpu else ["throttling is not told by this system"]
        return (*found, *heat, *power, *slow), tuple(remarks)


def last_devices(config: Config, database: Database) -> list[Device]:
    """Backend asked and obtained of the last results that are still on the disk."""
    found = []
    for case_id, folder in worklist.last_results(database, LAST_RESULTS):
        try:
            report = read_report(config.results / folder)
            device, bundle = report.device, report.bundle
            found.append(
                Device(
                    case_id,
                    device.asked,
                    str(device.obtained),
                    device.why,
                    f"{bundle.name} {bundle.version}",
                )
            )
        except InputError:
            continue  # deleted after retention, or of an unsuitable study, which needs no device
    return found


def look_at_bundle(path: Path) -> BundleState:
    """Open the manifest, without reading what it lists."""
    try:
        bundle = open_bundle(path)
    except ScansideError as error:
        return BundleState(str(error), sound=False)
    return _opened(bundle, None)


def verify_bundle(path: Path) -> BundleState:
    """Hash every byte of the bundle."""
    try:
        bundle = open_bundle(path)
        for name in bundle.manifest.files:
            bundle.read(name)
    except ScansideError as error:
        return BundleState(str(error), sound=False)
    return _opened(bundle, True)


def _opened(bundle: Bundle, sound: bool | None) -> BundleState:
    return BundleState(f"{bundle.manifest.name} {bundle.manifest.version}", bundle.sha256, sound)


def ask_peers(config: Config) -> Mapping[str, Echo]:
    """C-ECHO (or a DICOMweb search) to every destination, one after the other. Blocks for as long as they take."""
    from scanside.runtime.appliance.deliver.echo import echo

    found = {}
    for destination in config.destinations:
        begin = time.monotonic()
        try:
            fault = echo(destination, config, min(10.0, config.send.timeout_seconds))
        except ScansideError as error:
            fault = str(error)
        found[destination.name] = Echo(time.time(), fault, time.monotonic() - begin)
    return found
