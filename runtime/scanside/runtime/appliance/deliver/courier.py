"""One destination's loop: sends what is due, asks for commitment, and tries again what failed."""

import logging
import threading
import time
from collections.abc import Sequence

from scanside.runtime.appliance.config import Config, Destination, Send
from scanside.runtime.appliance.deliver.association import AssociationError, ContextError
from scanside.runtime.appliance.deliver.commitment import Answers
from scanside.runtime.appliance.deliver.objects import DamagedError
from scanside.runtime.appliance.deliver.retry import DeliveryError, backoff
from scanside.runtime.appliance.deliver.sender import Commitment
from scanside.runtime.appliance.deliver.senders import sender_of
from scanside.runtime.appliance.store import audit, outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.outbox import SENDER
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.errors import ScansideError, UsageError

_LOOK_SECONDS = 0.25
_ALL = -1
_LONGEST_PAUSE = 30.0
"""After a failed association; then the next object that is due finds out whether the peer is back."""
_FAULT_SECONDS = 5.0

log = logging.getLogger("scanside.deliver")


class _Pause:
    """Time for a peer to come back; an object's own waiting comes on top."""

    def __init__(self, send: Send) -> None:
        self._send, self._failures, self._until = send, 0, 0.0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until

    def begin(self) -> None:
        self._until = time.monotonic() + min(backoff(self._send, self._failures), _LONGEST_PAUSE)
        self._failures += 1

    def reset(self) -> None:
        self._failures = 0


class Courier(threading.Thread):
    """Delivers to one destination, whatever the others do."""

    def __init__(
        self, destination: Destination, config: Config, answers: Answers, stop: threading.Event
    ) -> None:
        super().__init__(name=f"courier {destination.name}", daemon=True)
        self._peer, self._config, self._stop_event = destination.name, config, stop
        self._sender = sender_of(destination, config, answers)
        self._sending, self._committing = _Pause(config.send), _Pause(config.send)
        self._told_unsupported = False

    def run(self) -> None:
        """Until it is told to stop; a fault is logged, and work goes on."""
        while not self._stop_event.is_set():
            try:
                with Database(self._config.database) as database:
                    self._loop(database)
            except ScansideError as error:  # the store: locked for long, or on a full disk
                log.error("%s: %s", self._peer, error)
            except Exception:
                log.exception("%s: an unforeseen error; going on", self._peer)
            self._stop_event.wait(_FAULT_SECONDS)

    def _loop(self, database: Database) -> None:
        while not self._stop_event.is_set():
            self._sender.prepare(database)
            worked = self._sending.over and self._send(database)
            commitment = self._sender.commitment
            if commitment is not None:
                worked = (self._committing.over and self._commit(database, commitment)) or worked
            else:
                self._settle(database)
            if not worked:
                self._stop_event.wait(_LOOK_SECONDS)

    def _settle(self, database: Database) -> None:
        """Commitment may have been switched off while objects waited for it: they have arrived then."""
        name = self._peer
        rest = [
            *outbox.uncommitted(database, name, limit=_ALL),
            *outbox.unanswered(database, name, float("inf")),
        ]
        if rest:
            outbox.stored(database, rest, commitment=False)
            log.info("%s: commitment to %d objects is no longer waited for", name, len(rest))

    def _send(self, database: Database) -> bool:
        items = outbox.due(database, self._peer)
        if not items:
            return False
        told: set[int] = set()

        def took(item: Item, status: int) -> None:
            told.add(item.item)
            self._took(database, item, status)

        def failed(item: Item, error: DeliveryError) -> None:
            told.add(item.item)
            self._failed(database, item, error)

        stopped = self._stop_event.is_set
        try:
            self._sender.store(items, took, failed, stopped)
        except (AssociationError, UsageError) as error:
            for item in items:
                if item.item not in told:
                    self._failed(database, item, error)
            self._sending.begin()
            return True
        if len(told) < len(items) and not stopped():  # the association broke
            self._sending.begin()
        return True

    def _took(self, database: Database, item: Item, status: int) -> None:
        outbox.stored(database, [item], commitment=self._sender.commitment is not None)
        self._sending.reset()
        about = {"case": item.case_id, "job": item.job}
        log.info("case %s: %s stored at %s", item.case_id, item.kind, self._peer, extra=about)
        if status:
            detail = {"destination": self._peer, "object": item.kind, "status": f"{status:04X}"}
            log.warning("case %s: %s stored at %s with warning %04X", item.case_id, item.kind, self._peer,
                        status, extra=about)  # fmt: skip
            audit.record(database, SENDER, "stored with a warning", case_id=item.case_id, detail=detail)

    def _failed(self, database: Database, item: Item, error: ScansideError) -> None:
        wait = backoff(self._config.send, item.attempts)
        outbox.postponed(database, item, str(error), wait)
        log.log(
            logging.ERROR if isinstance(error, DamagedError) else logging.WARNING,
            "case %s: %s not sent, next attempt in %.0f s: %s", item.case_id, item.kind, wait, error,
            extra={"case": item.case_id, "job": item.job},
        )  # fmt: skip

    def _commit(self, database: Database, commitment: Commitment) -> bool:
        late = outbox.unanswered(database, self._peer, time.time() - commitment.seconds)
        if late:
            commitment.forget([item.transaction_uid or "" for item in late])
            why = "no answer to the request for commitment"
            if commitment.hindrance is not None:
                why = f"{why}, and {commitment.hindrance}"
            outbox.overdue(database, late, reason=why)
            log.warning("%s: %s of %d objects", self._peer, why, len(late))
        items = outbox.uncommitted(database, self._peer)
        if not items:
            return bool(late)
        try:
            commitment.ask(database, items)
            log.info("%s: asked for commitment of %d objects", self._peer, len(items))
            self._committing.reset()
        except ContextError:
            self._unsupported(database, items)
        except (DeliveryError, UsageError) as error:
            self._postpone_all(database, items, str(error))
        return True

    def _unsupported(self, database: Database, items: Sequence[Item]) -> None:
        reason = (
            f"{self._peer} has the object and does not offer storage commitment; allow it there, "
            f"or set commitment = false for {self._peer}."
        )
        if not self._told_unsupported:
            self._told_unsupported = True
            detail = {"destination": self._peer}
            audit.record(database, SENDER, "commitment not supported", detail=detail)
        self._postpone_all(database, items, reason)

    def _postpone_all(self, database: Database, items: Sequence[Item], reason: str) -> None:
        for item in items:
            outbox.postponed(database, item, reason, backoff(self._config.send, item.attempts))
        log.warning("%s: %d objects are not committed: %s", self._peer, len(items), reason)
        self._committing.begin()
