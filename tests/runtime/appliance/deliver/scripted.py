"""A DICOM peer that does what a test tells it: pynetdicom as SCP, with statuses, contexts and answers of our choice."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
    Verification,
)

from scanside.runtime.appliance.config import DicomDestination, Tls
from scanside.runtime.appliance.tls import server_context

STORAGE = (SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage)


class Answer(Enum):
    """How a request for storage commitment is answered."""

    SAME = "on the same association"
    LATER = "on an association of its own"
    LATER_WITHOUT_ROLE = "on an association of its own, without role selection"
    NEVER = "never"
    REFUSED = "with a failure status"


@dataclass
class Peer:
    """What it does may be changed at any time.

    Attributes:
        status: Of every C-STORE, or by SOP class.
        answer: To storage commitment.
        lacks: SOP instance UIDs that it does not commit itself to.
        listener: Where it answers later; None before that is known.
        got: SOP instance UIDs of each C-STORE that it took, in order.
        held: Data sets as they came, by SOP instance UID.
        requests: Transactions and what they were about.
        answered: The statuses that its N-EVENT-REPORTs got.
        on_store, on_action: Called when it has taken an object or a request, before it says so.
    """

    port: int = 0
    status: int = 0
    answer: Answer = Answer.SAME
    lacks: set[str] = field(default_factory=set)
    listener: tuple[str, int] | None = None
    tls: Tls | None = None
    got: list[str] = field(default_factory=list)
    held: dict[str, list[bytes]] = field(default_factory=dict)
    requests: list[tuple[str, list[str]]] = field(default_factory=list)
    answered: list[int | None] = field(default_factory=list)
    on_store: Callable[[], None] | None = None
    on_action: Callable[[], None] | None = None

    def destination(self, name: str = "pacs", **more: Any) -> DicomDestination:
        return DicomDestination.model_validate(
            {"name": name, "ae_title": "PEER", "host": "127.0.0.1", "port": self.port, **more}
        )

    def store(self, event: Any) -> int:
        if self.status in (0, 0xB000, 0xB006, 0x0111):
            uid = str(event.request.AffectedSOPInstanceUID)
            self.got.append(uid)
            self.held.setdefault(uid, []).append(event.request.DataSet.getvalue())
        if self.on_store is not None:
            self.on_store()
        return self.status

    def action(self, event: Any) -> tuple[int, None]:
        asked = event.action_information
        about = [(str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
                 for one in asked.ReferencedSOPSequence]  # fmt: skip
        self.requests.append((str(asked.TransactionUID), [uid for _, uid in about]))
        if self.on_action is not None:
            self.on_action()
        if self.answer is Answer.REFUSED:
            return 0x0213, None
        report = self.report(str(asked.TransactionUID), about)
        if self.answer is Answer.SAME:
            threading.Thread(target=self._tell, args=(event.assoc, report)).start()
        elif self.answer in (Answer.LATER, Answer.LATER_WITHOUT_ROLE):
            role = self.answer is Answer.LATER
            threading.Thread(target=self.call_back, args=(report, role)).start()
        return 0x0000, None

    def report(self, transaction_uid: str, about: Sequence[tuple[str, str]]) -> Dataset:
        information = Dataset()
        information.TransactionUID = transaction_uid
        good, bad = [], []
        for sop_class, uid in about:
            one = Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, uid
            if uid in self.lacks:
                one.FailureReason = 0x0112
            (bad if uid in self.lacks else good).append(one)
        if good:
            information.ReferencedSOPSequence = good
        if bad:
            information.FailedSOPSequence = bad
        return information

    def _tell(self, association: Any, report: Dataset) -> None:
        kind = 2 if "FailedSOPSequence" in report else 1
        status, _ = association.send_n_event_report(
            report, kind, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
        )
        self.answered.append(getattr(status, "Status", None))

    def call_back(
        self, report: Dataset, role: bool = True, title: str = "PEER", called: str = "SCANSIDE"
    ) -> bool:
        """Open an association to the listener and report; whether it was taken."""
        assert self.listener is not None
        entity = AE(title)
        entity.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if role else []
        context = None
        if self.tls is not None:
            from scanside.runtime.appliance.tls import client_context

            context = (client_context(self.tls), "127.0.0.1")
        association = entity.associate(*self.listener, ae_title=called, ext_neg=roles, tls_args=context)
        if not association.is_established:
            return False
        if not role:  # as peers do that take their role for granted
            for one in association.accepted_contexts:
                one._as_scp = True
        self._tell(association, report)
        association.release()
        return True


@contextmanager
def peer(
    *,
    takes: Sequence[str] = STORAGE,
    commitment: bool = True,
    syntaxes: Sequence[str] = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"),
    tls: Tls | None = None,
    title: str = "PEER",
    strict: bool = False,
    port: int = 0,
    **behaviour: Any,
) -> Iterator[Peer]:
    """Run one.

    Args:
        strict: Only its own AE title may be called.
    """
    found = Peer(tls=tls, **behaviour)
    entity = AE(title)
    entity.require_called_aet = strict
    entity.add_supported_context(Verification)
    for sop_class in takes:
        entity.add_supported_context(sop_class, list(syntaxes))
    if commitment:
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, ssl_context=server_context(tls) if tls else None,
        evt_handlers=[(evt.EVT_C_STORE, found.store), (evt.EVT_N_ACTION, found.action)],
    )  # fmt: skip
    assert server is not None
    found.port = server.server_address[1]
    try:
        yield found
    finally:
        server.shutdown()
