"""One acceptance, in order: look, rehearse, read back. Every fault is a line of the report; none stops the others."""

import getpass
import platform
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scanside.runtime import machine as this_machine
from scanside.runtime.acceptance import (
    archive,
    geometry,
    load,
    machine,
    models,
    phantom,
    refusals,
    saved,
    setup,
)
from scanside.runtime.acceptance.record import Check, Family, Report, not_done, passed, refused
from scanside.runtime.acceptance.rehearsal import Rehearsal, rehearsal
from scanside.runtime.appliance.check import check, runs
from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.serve import make_folders
from scanside.runtime.appliance.store.records import Case, Item
from scanside.runtime.appliance.store.states import SETTLED, State
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.errors import ScansideError, UsageError
from scanside.runtime.radiomics.conformance import conformance
from scanside.runtime.report import RESEARCH

GEOMETRY_BUNDLE = Path(__file__).parent / "geometry.bundle"
FOLDER = "acceptance"
"""Below the data folder: the reports of all runs."""
Say = Callable[[Check], None]


@dataclass(frozen=True)
class Request:
    """What an acceptance is asked to do.

    Attributes:
        by, site: Who runs it, and where; for the report.
        studies: Sent at once for time and throughput; at least 2.
        limit: Seconds that a study may take, at the 95th percentile; None for no limit.
        patience: Seconds to wait for one study, or for an archive.
        signer: Id of the key that will sign the record; None where nobody signs.
    """

    by: str = ""
    site: str = ""
    studies: int = 6
    limit: float | None = None
    patience: float = 600.0
    signer: str | None = None


def accept(config: Config, request: Request, say: Say = lambda check: None) -> Report:
    """Run every check.

    Args:
        say: Told of each check as soon as it is known.

    Raises:
        UsageError: If the service runs: its ports, and the machine's time, are needed.
        OutputError: If the data folder cannot be made.
    """
    if runs(config):
        raise UsageError(
            f"The service works on {config.service.data}; stop it during the acceptance, which needs its ports."
        )
    started = datetime.now().astimezone()
    checks: list[Check] = []
    bundle = _opened(config)
    for part in _parts(config, request, bundle, started):
        for one in part:
            checks.append(one)
            say(one)
    return Report(
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now().astimezone().isoformat(timespec="seconds"),
        by=request.by or getpass.getuser(),
        site=request.site,
        machine=_machine(),
        versions=this_machine.versions(("pyradiomics-bhklab", "pynetdicom", "pydantic", "highdicom")),
        licences=setup.licences(),
        bundle={} if bundle is None else bundle.summary(),
        settings=setup.settings(config),
        synthetic=bundle is not None and bundle.manifest.synthetic,
        notice=RESEARCH,
        checks=tuple(checks),
    )


def _parts(
    config: Config, request: Request, bundle: Bundle | None, started: datetime
) -> Iterator[Sequence[Check]]:
    yield setup.configured(check(config))
    make_folders(config)
    reports = config.service.data / FOLDER
    reports.mkdir(mode=0o700, exist_ok=True)
    latest = max((path.stat().st_mtime for path in reports.glob("*.json")), default=0.0)
    yield machine.clock(machine.look_at_clock(config, latest))
    yield machine.disk(config)
    yield (models.ibsi(conformance()),)
    if bundle is not None:
        yield tuple(models.bundle_checks(bundle, config.work.options(), config.trust))
    folder = reports / f".run-{started:%Y%m%dT%H%M%S}"
    folder.mkdir(mode=0o700)
    try:
        yield from _Rehearsed(config, request, bundle, started, folder).checks()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield (_signed(request.signer),)


def _signed(signer: str | None) -> Check:
    if signer is None:
        return not_done(
            "record", "signature", "No key was given: nothing shows that this record was not altered."
        )
    return passed(
        "record",
        "signature",
        f"Key {signer} signs this record and this page; the signatures lie beside them.",
    )


def _opened(config: Config) -> Bundle | None:
    with suppress(ScansideError):  # `serve --check` has the sentence
        return open_bundle(config.service.bundle)
    return None


def _geometry_name() -> str:
    """The phantom's bundle, and no other of its name, as `[trust]` allows it."""
    bundle = open_bundle(GEOMETRY_BUNDLE)
    return f"{bundle.manifest.name}@{bundle.sha256}"


def _machine() -> dict[str, str]:
    memory = this_machine.memory_gib()
    return {
        "host": socket.gethostname(),
        "processor": this_machine.processor(),
        "cores": str(this_machine.cores()),
        "memory": "not stated" if memory is None else f"{memory:g} GiB",
        "system": platform.platform(),
    }


@dataclass(frozen=True)
class _Rehearsed:
    """What needs a running service."""

    config: Config
    request: Request
    bundle: Bundle | None
    started: datetime
    folder: Path

    def names(self, word: str) -> StudyNames:
        """UIDs of a study of this run, and of no other."""
        root = ("scanside acceptance", socket.gethostname(), self.started.isoformat(), word)
        return StudyNames(root, self.started)

    def checks(self) -> Iterator[Sequence[Check]]:
        """All of them; a service that does not begin is one failed check."""
        phantom_study = self.names("geometry")
        sent: tuple[Item, ...] = ()
        try:
            with rehearsal(self.config, self.folder, [_geometry_name()]) as service:
                yield self._strangers(service)
                made, sent = self._geometry(service, phantom_study)
                yield made
                yield refusals.unsuitable(service, self.folder, self.names, self.request.patience)
                yield from self._load(service)
                yield (saved.backed_up(service.config.service.data, self.folder),)
                ours = service.config
        except ScansideError as error:
            yield (refused("setup", "the service runs", str(error)),)
            return
        if not sent:
            yield (not_done("archive", "read back", "No result of the phantom was sent."),)
            return
        for destination in self.config.destinations:
            yield self._read_back(ours, destination.name, phantom_study.study_uid, sent)

    def _strangers(self, service: Rehearsal) -> tuple[Check, ...]:
        (file, *_) = write_phantom_study(
            {"t2w": phantom.images()["t2w"]}, {}, self.names("strangers"), self.folder / "strangers"
        )
        receive = self.config.receive
        return refusals.strangers(
            service.send, file, callers=bool(receive.callers), tls=receive.tls is not None
        )

    def _geometry(self, service: Rehearsal, study: StudyNames) -> tuple[tuple[Check, ...], tuple[Item, ...]]:
        """Send the phantom, compute it with its own bundle, look at it, let it go, and wait for the archives."""
        name, patience = "the phantom is taken and computed", self.request.patience
        files = write_phantom_study(phantom.images(), phantom.B_VALUES, study, self.folder / "geometry")
        service.pause(True)
        problems = service.send(files)
        case = None if problems else service.wait_for(study.study_uid, (State.QUEUED,), patience)
        if case is None:
            why = next(iter(problems.values()), "Its images did not become a study within the time.")
            service.pause(False)
            return (refused("geometry", name, why),), ()
        job = service.with_bundle(case, GEOMETRY_BUNDLE)
        service.pause(False)

        def computed() -> Case | None:
            found = service.case(study.study_uid)
            return found if found is not None and found.job == job and found.state in load.ENDED else None

        case = service.until(computed, patience)
        if case is None or case.result is None:
            why = (case and case.reason) or "It has no result within the time."
            return (refused("geometry", name, why),), ()
        checks = [
            passed("geometry", name, f"{len(files)} images came in, and the result is '{case.status}'.")
        ]
        checks += geometry.computed(service.report(case))
        early = [item for item in service.items(case) if item.state in geometry.TAKEN]
        checks.append(geometry.held(case, early))
        service.accept(case)
        items = self._delivered(service, case)
        for one in self.config.destinations:
            commitment = isinstance(one, DicomDestination) and one.commitment
            checks += geometry.delivered(one.name, items, commitment)
        if not self.config.destinations:
            checks.append(not_done("archive", "read back", "The configuration names no destination."))
        return tuple(checks), tuple(items)

    def _delivered(self, service: Rehearsal, case: Case) -> list[Item]:
        """What was sent, when all has settled or the time is over."""
        most = min(self.request.patience, 3 * self.config.send.timeout_seconds + 10.0)
        service.until(lambda: all(item.state in SETTLED for item in service.items(case)) or None, most)
        return service.items(case)

    def _load(self, service: Rehearsal) -> Iterator[Sequence[Check]]:
        images = "No bundle opens." if self.bundle is None else load.study_images(self.bundle)
        if isinstance(images, str):
            families: tuple[Family, ...] = ("load", "power")
            yield tuple(not_done(family, "golden study", images) for family in families)
            return
        patience = self.request.patience
        sent = load.send_studies(service, images, self.names, self.request.studies, self.folder, patience)
        yield load.loaded(sent, self.request.limit)
        yield load.cut_power(service, images, self.names("power"), self.folder, patience)

    def _read_back(self, ours: Config, name: str, study_uid: str, sent: Sequence[Item]) -> tuple[Check, ...]:
        destination = next(one for one in ours.destinations if one.name == name)
        own = [item for item in sent if item.destination == name and item.state in geometry.TAKEN]
        if not own:
            return (not_done("archive", f"{name}: every object comes back", f"{name} took none."),)
        wait = self.config.send.timeout_seconds
        try:
            way, found = archive.fetch(
                destination,
                ours,
                study_uid,
                [item.sop_uid for item in own],
                self.folder / f"back-{name}",
                wait,
            )
        except archive.NotAnsweredError as error:
            reason = f"{str(error).rstrip('.')}; look at the phantom {study_uid} there."
            return (not_done("archive", f"{name}: every object comes back", reason),)
        except ScansideError as error:
            return (refused("archive", f"{name}: every object comes back", str(error)),)
        return geometry.read_back(name, way, own, found)
