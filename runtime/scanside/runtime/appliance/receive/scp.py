"""What is answered to C-STORE and C-ECHO."""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.config import DicomArchive, Receive
from scanside.runtime.appliance.receive.identity import Identity, UnreadableError, identify
from scanside.runtime.appliance.receive.incoming import (
    DISK_IS_FULL,
    DOES_NOT_MATCH,
    DUPLICATE,
    FAILED,
    NOT_UNDERSTOOD,
    OUT_OF_RESOURCES,
    Conditions,
    Incoming,
    Refusal,
    refusal_of,
)
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.limits import Callers
from scanside.runtime.appliance.receive.quarantine import Quarantine
from scanside.runtime.appliance.receive.requested import NOT_WANTED, Wanted
from scanside.runtime.appliance.receive.same_instance import Likeness, likeness
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Instance
from scanside.runtime.errors import OutputError, ScansideError

SUCCESS = 0x0000
URGENT = 10
"""Added to the priority of a study that is sent as HIGH (0000,0700). LOW takes nothing away: many say it by default."""
_HIGH = 1
_CONFLICT = Refusal(DUPLICATE, "another instance with its UID is here already")
_CORRECTED = Refusal(DUPLICATE, "its header was changed: forget the study, or allow it")

log = logging.getLogger("scanside.receive")


@dataclass(frozen=True)
class Sender:
    """Who sends.

    Attributes:
        association: Its name.
        calling: AE title.
        priority: That its studies have at least.
        answers: It brings what we have asked an archive for; anything else is refused.
    """

    association: str
    calling: str
    priority: int = 0
    answers: bool = False


class Receiver:
    """Answers requests. Nothing is raised to pynetdicom, and nothing is acknowledged that a power cut could undo."""

    def __init__(
        self,
        conditions: Conditions,
        ledger: Ledger,
        quarantine: Quarantine,
        receive: Receive,
        archives: Sequence[DicomArchive] = (),
        mover: str | None = None,
    ) -> None:
        """Serve associations.

        Args:
            archives: May bring what `wanted` names.
            mover: AE title under which we ask them; None where we do not.
        """
        self._conditions, self._ledger, self._quarantine = conditions, ledger, quarantine
        self._most_instances, self._changed = receive.max_study_instances, receive.changed
        self._callers = Callers(receive, archives)
        self._mover = mover
        self.wanted = Wanted()
        self._lock = threading.Lock()
        self._received: dict[str, Counter[str]] = {}
        self._over: list[str] = []

    def echo(self, event: Any) -> int:
        """C-ECHO."""
        return SUCCESS

    def store(self, event: Any) -> Any:
        """C-STORE: a status, with a comment where it is a refusal."""
        calling = str(event.assoc.requestor.ae_title).strip()
        urgent = URGENT if event.request.Priority == _HIGH else 0
        priority = self._callers.priority(calling, event.assoc.requestor.address) + urgent
        originator = str(event.request.MoveOriginatorApplicationEntityTitle or "").strip()
        answers = bool(originator and originator == self._mover) or self._callers.only_answers(calling)
        sender = Sender(event.assoc.dimse.name, calling, priority, answers)
        refusal = self.take(event.request.DataSet, sender)
        return SUCCESS if refusal is None else _status(refusal)

    def take(self, incoming: Any, sender: Sender, study: str | None = None) -> Refusal | None:
        """Keep an instance that has come in, by whatever way. None when it is on disk and in the store.

        Args:
            incoming: `Incoming`; anything else is refused.
            study: Study Instance UID that it has to have; None for any.
        """
        try:
            return self._store(incoming, sender, study)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            refusal = Refusal(FAILED, f"unexpected {type(error).__name__}")
            self._ledger.note("instance failed", {"why": refusal.reason, "at": where}, again=(where,))
            return refusal
        finally:
            with suppress(OSError, AttributeError):
                incoming.discard()

    def _store(self, incoming: Any, sender: Sender, study: str | None) -> Refusal | None:
        if not isinstance(incoming, Incoming) or not incoming.begun:
            return self.refuse(Refusal(NOT_UNDERSTOOD, "there is no data set"), sender)
        incoming.finish()
        if incoming.refusal is not None:
            return self.refuse(incoming.refusal, sender)
        assert incoming.part is not None and incoming.announced is not None
        announced = incoming.announced
        try:
            identity = identify(
                incoming.part, incoming.offset, announced.transfer_syntax, self._conditions.most
            )
        except UnreadableError as error:
            refusal = Refusal(NOT_UNDERSTOOD, str(error))
            self._quarantine.keep(incoming.part, incoming.sha256, refusal.reason, sender.calling)
            return self.refuse(refusal, sender)
        case_id = self._ledger.case_of(identity.study_uid)
        other = study is not None and identity.study_uid != study
        if other or (identity.sop_class, identity.sop_uid) != (announced.sop_class, announced.sop_uid):
            refusal = Refusal(DOES_NOT_MATCH, "the data set is not the instance that was announced")
            return self.refuse(refusal, sender, case_id)
        if sender.answers and (unasked := self._unasked(identity)) is not None:
            return self.refuse(unasked, sender, case_id)
        try:
            refused = self._register(incoming, identity, case_id, sender)
        except OutputError:  # it says so of a full disk, too
            full = not self._conditions.room.enough(more=1 << 20)
            refused = DISK_IS_FULL if full else Refusal(OUT_OF_RESOURCES, "the store cannot be written")
        except OSError as error:
            refused = refusal_of(error)
        if refused is None and sender.answers:
            self.wanted.came(identity)
        return None if refused is None else self.refuse(refused, sender, case_id)

    def _unasked(self, identity: Identity) -> Refusal | None:
        """Why an instance from an archive is not taken; None where it was asked for, and its study still waits."""
        refusal = self.wanted.refuses(identity)
        return refusal if refusal or self._ledger.fetch_waits(identity.study_uid) else NOT_WANTED

    def _register(
        self, incoming: Incoming, identity: Identity, case_id: str, sender: Sender
    ) -> Refusal | None:
        """File first, row second: a crash in between leaves a file that nobody asks for, and no acknowledgement."""
        spool, ledger = self._conditions.spool, self._ledger
        relative = spool.path_of(case_id, identity.series_uid, identity.sop_uid)
        instance = Instance(
            identity.sop_uid,
            identity.study_uid,
            identity.series_uid,
            relative,
            incoming.sha256,
            incoming.size,
        )
        with spool.lock(relative):
            known = ledger.find(identity.sop_uid)
            if known is not None and known.sha256 != incoming.sha256:
                return self._again(incoming, identity, instance, known, sender)
            instance = known or instance
            assert incoming.part is not None
            spool.place(incoming.part, instance.path)
            try:
                added = ledger.add(
                    instance,
                    sender.association,
                    sender.calling,
                    identity.patient,
                    self._most_instances,
                    sender.priority,
                )
            except OutputError:
                self._take_back(instance)
                raise
            if added in (Added.FULL, Added.CONFLICT):
                self._take_back(instance)
        if added is Added.CONFLICT:
            return _CONFLICT
        if added is Added.FULL:
            return Refusal(OUT_OF_RESOURCES, f"the study has {self._most_instances} instances already")
        self._count(sender.association, case_id)
        return None

    def _again(
        self, incoming: Incoming, identity: Identity, instance: Instance, known: Instance, sender: Sender
    ) -> Refusal | None:
        """Another file with a known UID. The same in another encoding changes nothing; a corrected header may."""
        spool, ledger = self._conditions.spool, self._ledger
        assert incoming.part is not None
        alike = likeness(spool.folder / known.path, incoming.part)
        if (known.study_uid, known.series_uid) != (instance.study_uid, instance.series_uid):
            return _CONFLICT
        if alike is Likeness.SAME:
            ledger.add(known, sender.association, sender.calling, identity.patient, self._most_instances)
            return None
        if alike is Likeness.OTHER:
            return _CONFLICT
        if self._changed == "refuse":
            return _CORRECTED
        # Beside the old file, which stays what its row says until the row is another; the sweep removes it then.
        path = f"{instance.path.removesuffix('.dcm')}-{incoming.sha256[:12]}.dcm"
        spool.place(incoming.part, path)
        added = ledger.replace(
            replace(instance, path=path), known.sha256, sender.association, sender.calling, identity.patient
        )
        if added is Added.CONFLICT:
            return _CONFLICT
        self._count(sender.association, ledger.case_of(identity.study_uid))
        return None

    def _take_back(self, instance: Instance) -> None:
        """Remove a file that did not get its row; if the store cannot even be asked, the sweep will."""
        with suppress(ScansideError, OSError):
            if self._ledger.find(instance.sop_uid) is None:
                (self._conditions.spool.folder / instance.path).unlink(missing_ok=True)

    def refuse(self, refusal: Refusal, sender: Sender, case_id: str | None = None) -> Refusal:
        """Tell log and audit log of a refusal, a few times a minute only for the same; returns it."""
        if refusal == DISK_IS_FULL:
            if self._conditions.room.lacks():
                self._ledger.note("disk low", {"why": "instances are refused with A700 until there is room"})
            return refusal
        detail = {"why": refusal.reason, "status": f"0x{refusal.status:04X}", "calling": sender.calling}
        self._ledger.note("instance refused", detail, case_id=case_id, again=(sender.calling, refusal.reason))
        return refusal

    def _count(self, association: str, case_id: str) -> None:
        with self._lock:
            self._received.setdefault(association, Counter())[case_id] += 1

    def over(self, sender: str) -> None:
        """A sender has ended that is no association."""
        with self._lock:
            self._over.append(sender)

    def all_over(self) -> list[str]:
        """Names of such senders since the last call."""
        with self._lock:
            names, self._over = self._over, []
        return names

    def ended(self, sender: str) -> None:
        """Say what an association brought."""
        with self._lock:
            received = self._received.pop(sender, Counter())
        for case_id, count in sorted(received.items()):
            log.info("case %s: %d instances received", case_id, count, extra={"case": case_id})


def _status(refusal: Refusal) -> Any:
    """A status with an Error Comment (0000,0902), which senders show."""
    from pydicom.dataset import Dataset

    status = Dataset()
    status.Status = refusal.status
    status.ErrorComment = refusal.reason[:64]
    return status
