"""The receiving process: a storage SCP, and the look every moment whether a study is complete."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scanside.runtime.appliance.config import Config, Receive, is_loopback
from scanside.runtime.appliance.deliver.association import our_title
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.limits import Callers, DiskReserve
from scanside.runtime.appliance.receive.mpps import Steps
from scanside.runtime.appliance.receive.quarantine import Quarantine
from scanside.runtime.appliance.receive.scp import Receiver
from scanside.runtime.appliance.receive.server import Server
from scanside.runtime.appliance.receive.spool import Spool
from scanside.runtime.appliance.receive.web import WebServer
from scanside.runtime.appliance.tls import server_context
from scanside.runtime.errors import InputError, OutputError, ScansideError, UsageError

PORT_FILE = "receive.port"
"""In the data folder: JSON with the host and port that are listened on."""

_TICK_SECONDS = 0.1
_FINISH_SECONDS = 5.0
_SWEEP_SECONDS = 60.0
_FULL_SWEEP_SECONDS = 3600.0

log = logging.getLogger("scanside.receive")


def run(config: Config, stop: threading.Event) -> None:
    """Receive until told to stop; associations that are open then have a few seconds to finish.

    Raises:
        UsageError: If the port is taken, or a TLS file or an address is wrong.
        InputError: If the store is damaged.
        OutputError: If the data folder cannot be written.
    """
    from pynetdicom import _config, evt

    _config.LOG_HANDLER_LEVEL = "none"
    for library in ("pynetdicom", "pydicom"):  # they quote values; what matters is said here in other words
        logging.getLogger(library).setLevel(logging.CRITICAL)
    receive = config.receive
    tls = server_context(receive.tls) if receive.tls is not None else None
    announcement = config.service.data / PORT_FILE
    conditions = _conditions(config)
    announcement.unlink(missing_ok=True)
    ledger = Ledger(config.database)
    try:
        archives = config.fetch.dicom_archives
        mover = our_title(config) if archives else None
        receiver = Receiver(conditions, ledger, Quarantine(config.quarantine), receive, archives, mover)
        steps = Steps(ledger, Callers(receive, archives))
        handlers = [
            (evt.EVT_C_STORE, receiver.store),
            (evt.EVT_C_ECHO, receiver.echo),
            (evt.EVT_N_CREATE, steps.create),
            (evt.EVT_N_SET, steps.change),
        ]
        try:
            server = Server(receive, conditions, handlers, _turned_away(ledger), tls, archives)
        except OSError as error:
            raise UsageError(
                f"{receive.host}:{receive.port} cannot be listened on ({error.strerror}); "
                "correct receive.host or receive.port, or stop what uses it."
            ) from error
        web = _open_web(receive, conditions, receiver)
        with _mrd(config, receiver, ledger, conditions), _fetching(config, receiver, ledger, conditions):
            _Service(config, conditions, ledger, receiver, server, web).serve(announcement, stop)
    finally:
        ledger.close()


@contextmanager
def _mrd(config: Config, receiver: Receiver, ledger: Ledger, conditions: Conditions) -> Iterator[None]:
    """Listen for MRD sessions meanwhile, where that is configured."""
    if not config.mrd.port:
        yield
        return
    from scanside.runtime.appliance.receive.mrd import listen

    with listen(config, receiver, ledger, conditions) as listening:
        try:
            yield
        finally:
            listening.shutdown()


@contextmanager
def _fetching(config: Config, receiver: Receiver, ledger: Ledger, conditions: Conditions) -> Iterator[None]:
    """Look for what complete studies lack, and for earlier results, where archives are configured for it."""
    if not config.fetch.archives:
        yield
        return
    from scanside.runtime.appliance.fetch.fetcher import Fetcher

    stop = threading.Event()
    fetcher = Fetcher(config, receiver, ledger, conditions)
    threading.Thread(target=fetcher.run, args=(stop,), daemon=True, name="fetch").start()
    if config.fetch.prior_archives:
        from scanside.runtime.appliance.fetch.prior_reports import PriorFetcher

        prior_fetcher = PriorFetcher(config, ledger, conditions.spool.folder)
        threading.Thread(target=prior_fetcher.run, args=(stop,), daemon=True, name="earlier results").start()
    try:
        yield
    finally:
        stop.set()  # one that waits for an archive may be ended at any instant


def _open_web(receive: Receive, conditions: Conditions, receiver: Receiver) -> WebServer | None:
    if receive.web is None:
        return None
    try:
        return WebServer(receive, conditions, receiver)
    except OSError as error:
        raise UsageError(
            f"{receive.web.host}:{receive.web.port} cannot be listened on ({error.strerror}); "
            "correct receive.web.host or receive.web.port, or stop what uses it."
        ) from error


def _conditions(config: Config) -> Conditions:
    reserve = config.receive.reserve_gb * 1e9
    spool = Spool(config.spool)
    return Conditions(spool, DiskReserve(config.spool, reserve), int(config.receive.max_instance_mb * 1e6))


def _turned_away(ledger: Ledger) -> Callable[[str, str, str], None]:
    def note(address: str, calling: str, reason: str) -> None:
        printable = "".join(one if one.isprintable() else "?" for one in calling)
        detail = {"why": reason, "address": address, "calling": printable}
        ledger.note("association refused", detail, again=(address, reason))

    return note


class _Service:
    """The receiver while it runs."""

    def __init__(
        self,
        config: Config,
        conditions: Conditions,
        ledger: Ledger,
        receiver: Receiver,
        server: Server,
        web: WebServer | None = None,
    ) -> None:
        self._config, self._conditions, self._ledger = config, conditions, ledger
        self._receiver, self._server, self._web = receiver, server, web
        self._to_close: list[str] = []
        self._swept = self._swept_all = -_FULL_SWEEP_SECONDS
        self._sweeper: threading.Thread | None = None
        self._failing = False
        self._held_until = 0.0

    def serve(self, announcement: Path, stop: threading.Event) -> None:
        accepting = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        accepting.start()
        if self._web is not None:
            threading.Thread(target=self._web.serve_forever, args=(0.1,), daemon=True).start()
        try:
            self._announce(announcement)
            while not stop.wait(_TICK_SECONDS):
                if not accepting.is_alive():
                    raise OutputError(
                        "The receiver accepts no connections any more; it has to be started again."
                    )
                self._tick()
        finally:
            self._finish(accepting)
            announcement.unlink(missing_ok=True)

    def _announce(self, path: Path) -> None:
        host, port = self._server.server_address[:2]
        aside = path.with_suffix(".port.part")
        try:
            web = None if self._web is None else self._web.server_address[1]
            aside.write_text(json.dumps({"host": host, "port": port, "web": web}) + "\n")
            aside.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror}); check service.data.") from error
        receive = self._config.receive
        how = "with TLS and client certificates" if receive.tls is not None else "without TLS"
        log.info("listening as %s on %s:%d %s", receive.ae_title, host, port, how)
        if self._web is not None:
            log.info("STOW-RS is listened for on %s:%d", *self._web.server_address[:2])
        plain = receive.tls is None and not is_loopback(receive.host)
        if plain or (receive.web and receive.web.tls is None and not is_loopback(receive.web.host)):
            log.warning(
                "patient data cross the network in the clear: [receive] or [receive.web] is plaintext, without tls"
            )

    def _tick(self) -> None:
        try:
            self._close_ended()
            refused = self._conditions.room.recovered()
            if refused:
                self._ledger.note("disk has room", {"refused": refused})
            if refused or self._conditions.room.refuses():
                self._hold()
            self._complete()
            self._sweep_now_and_then()
            self._failing = False
        except (ScansideError, OSError) as error:  # a full disk: go on, and try again
            self._hold()
            if not self._failing:
                log.error("%s", error if isinstance(error, ScansideError) else error.strerror)
            self._failing = True

    def _hold(self) -> None:
        """What is refused is missing in a study, however quiet it is: its sender gets time to come back."""
        self._held_until = time.monotonic() + self._config.receive.quiet_seconds

    def _complete(self) -> None:
        if time.monotonic() < self._held_until or self._conditions.room.refuses():
            return
        receive, fetch = self._config.receive, self._config.fetch
        for case_id in self._ledger.complete(
            receive.quiet_seconds,
            receive.complete_series,
            receive.step_seconds,
            fetch.seconds if fetch.archives else None,
        ):
            log.info("case %s: complete", case_id, extra={"case": case_id})

    def _close_ended(self) -> None:
        self._to_close += self._server.ended()
        if self._web is not None:
            self._to_close += self._web.ended()
        self._to_close += self._receiver.all_over()
        while self._to_close:
            self._ledger.close_association(self._to_close[0])
            self._receiver.ended(self._to_close.pop(0))

    def _sweep_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._swept < _SWEEP_SECONDS or (self._sweeper and self._sweeper.is_alive()):
            return
        everything = now - self._swept_all >= _FULL_SWEEP_SECONDS
        self._swept = now
        self._swept_all = now if everything else self._swept_all
        self._sweeper = threading.Thread(target=self._sweep, args=(everything,), daemon=True)
        self._sweeper.start()

    def _sweep(self, everything: bool) -> None:
        try:
            if everything:
                self._ledger.forget_old_steps(self._config.retention.unsent_days * 86400)
            cases = None if everything else self._ledger.deleted()
            if cases == []:
                return
            known = self._ledger.paths() if everything else set()
            swept = self._conditions.spool.sweep(known, self._ledger.knows_path, cases)
        except (InputError, OutputError, OSError, RuntimeError):
            return  # the store is closed or cannot be read; the next sweep does it
        if swept.removed:
            log.info("removed %d files that the store does not know", swept.removed)
        for case_id in sorted({path.split("/")[0] for path in swept.missing}):
            count = sum(path.startswith(f"{case_id}/") for path in swept.missing)
            log.error("case %s: %d received files are missing from the spool", case_id, count)
            with suppress(ScansideError):
                self._ledger.note("files missing", {"count": count}, case_id=case_id, again=(case_id,))

    def _running(self) -> int:
        return self._server.running() + (self._web.running() if self._web is not None else 0)

    def _finish(self, accepting: threading.Thread) -> None:
        if self._web is not None:
            self._web.shutdown()
            self._web.server_close()
        if accepting.is_alive():
            self._server.shutdown()
        else:
            self._server.server_close()
        deadline = time.monotonic() + _FINISH_SECONDS
        while self._running() and time.monotonic() < deadline:
            with suppress(ScansideError):
                self._close_ended()
            time.sleep(0.02)
        self._server.abort_all()
        deadline = time.monotonic() + 2.0
        while self._running() and time.monotonic() < deadline:
            with suppress(ScansideError):
                self._close_ended()
            time.sleep(0.02)
        if self._sweeper is not None:
            self._sweeper.join(5)
