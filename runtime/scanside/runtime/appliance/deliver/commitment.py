"""Storage commitment, push model (PS3.4 annex J): asking a peer to answer for objects, and taking its answer."""

import logging
import threading
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Association, Context, associate
from scanside.runtime.appliance.deliver.retry import DeliveryError, backoff
from scanside.runtime.appliance.deliver.status_codes import commitment_words, status_words
from scanside.runtime.appliance.store import outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.errors import ScansideError

if TYPE_CHECKING:
    from pydicom import Dataset

PUSH_MODEL = "1.2.840.10008.1.20.1"
_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST = 1  # action type
_COMPLETE, _FAILURES = 1, 2  # event types
_LINGER_SECONDS = 2.0
"""How long the association stays open for an answer; a later one comes to the listener."""

_SUCCESS, _PROCESSING_FAILURE, _NO_SUCH_EVENT, _INVALID = 0x0000, 0x0110, 0x0113, 0x0115

log = logging.getLogger("scanside.deliver")


class Answers:
    """Takes N-EVENT-REPORT from any association, in whatever thread it comes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._open: dict[str, tuple[Item, ...]] = {}

    def expect(self, transaction_uid: str, items: Sequence[Item]) -> None:
        """A request is about to go out."""
        with self._changed:
            self._open[transaction_uid] = tuple(items)

    def forget(self, transaction_uids: Sequence[str]) -> None:
        """Nobody waits for these any longer."""
        with self._changed:
            for transaction_uid in transaction_uids:
                self._open.pop(transaction_uid, None)

    def wait(self, transaction_uid: str, seconds: float) -> bool:
        """Whether the answer comes in time."""
        with self._changed:
            return self._changed.wait_for(lambda: transaction_uid not in self._open, seconds)

    def take(self, event: Any) -> int:
        """Write down what an N-EVENT-REPORT says; returns the status to answer with."""
        try:
            if event.event_type not in (_COMPLETE, _FAILURES):
                return _NO_SUCH_EVENT
            parsed = _parse(event.event_information)
            if parsed is None:
                return _INVALID
            self._write(*parsed)
        except ScansideError as error:  # a full disk; unanswered requests are made again
            log.error("an answer to a storage commitment was not kept: %s", error)
            return _PROCESSING_FAILURE
        except Exception:
            log.exception("an answer to a storage commitment was not understood")
            return _PROCESSING_FAILURE
        return _SUCCESS

    def _write(self, transaction_uid: str, committed: list[str], failed: dict[str, str]) -> None:
        with self._changed:
            items = self._open.get(transaction_uid, ())
        with Database(self._config.database) as database:
            lost = [item for item in items if item.sop_uid in failed]
            tries = max((item.attempts for item in lost), default=0)
            wait = backoff(self._config.send, tries)
            known = outbox.answered(database, transaction_uid, committed, failed, wait=wait)
        if not known:
            log.info("an answer to a storage commitment that nobody waits for was ignored")
        for item in lost:
            about = {"case": item.case_id, "job": item.job}
            log.warning("%s lost at %s: %s", item.kind, item.destination, failed[item.sop_uid], extra=about)
        with self._changed:
            self._open.pop(transaction_uid, None)
            self._changed.notify_all()


def ask(
    destination: DicomDestination, config: Config, database: Database, items: Sequence[Item], answers: Answers
) -> None:
    """Ask a peer to commit itself to objects that it has, and wait a little for the answer.

    Raises:
        ContextError: If the peer knows no storage commitment.
        AssociationError: If it cannot be reached; nothing has been asked for then.
        DeliveryError: If it refuses, or does not acknowledge the request; the objects wait to be asked for again.
    """
    with associate(destination, config, [Context(PUSH_MODEL)], events=answers.take) as association:
        transaction_uid = f"2.25.{uuid.uuid4().int}"
        answers.expect(transaction_uid, items)
        outbox.requested(database, items, transaction_uid)
        try:
            _request(destination, association, items, transaction_uid)
        except DeliveryError:
            outbox.overdue(database, items)
            raise
        answers.wait(transaction_uid, min(_LINGER_SECONDS, config.send.timeout_seconds))


def _request(
    destination: DicomDestination, association: Association, items: Sequence[Item], transaction_uid: str
) -> None:
    from pydicom import Dataset

    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = []
    for sop_uid, sop_class in {item.sop_uid: item.sop_class for item in items}.items():
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, sop_uid
        information.ReferencedSOPSequence.append(reference)
    status: int | None = None
    with association.within() as open_:
        if open_.is_established:
            answer, _ = open_.send_n_action(information, _REQUEST, PUSH_MODEL, _INSTANCE)
            status = getattr(answer, "Status", None)
    if status is None:
        raise DeliveryError(
            f"{destination.name} did not acknowledge the request for storage commitment; check it."
        )
    if status != _SUCCESS:
        raise DeliveryError(
            f"{destination.name} refused the request for storage commitment ({status_words(status)}); check it there."
        )


def _parse(information: "Dataset") -> tuple[str, list[str], dict[str, str]] | None:
    """(transaction, committed, SOP instance UID → reason); an object in both lists has failed."""
    transaction_uid = str(information.get("TransactionUID") or "")
    if not transaction_uid:
        return None
    failed = {
        str(one.ReferencedSOPInstanceUID): "The peer does not commit itself to the object "
        f"({commitment_words(one.get('FailureReason'))}); it is sent again."
        for one in information.get("FailedSOPSequence") or ()
    }
    committed = [str(one.ReferencedSOPInstanceUID) for one in information.get("ReferencedSOPSequence") or ()]
    return transaction_uid, [uid for uid in committed if uid not in failed], failed
