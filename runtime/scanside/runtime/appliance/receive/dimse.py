"""pynetdicom's message layer, with an end to everything: sizes, numbers, and how long a peer may take.

pynetdicom 3 collects a whole data set in memory (or, chunked, in files that a broken connection leaves behind and
whose write errors end a thread), believes any length, and waits for ever for the rest of a PDU. These classes stand in
for its own; what they override is named in each.
"""

import socket
import time
from contextlib import suppress
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, N_CREATE_RQ, N_SET_RQ, DIMSEMessage
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from scanside.runtime.appliance.receive.classes import PROCEDURE_STEP
from scanside.runtime.appliance.receive.incoming import (
    LONGEST_ATTRIBUTES,
    Announced,
    Conditions,
    Incoming,
)

LONGEST_COMMAND = 1 << 16
"""Bytes of a command set; those of C-STORE have a few hundred."""
LONGEST_NEGOTIATION = 1 << 20
"""Bytes of a PDU before the association stands: 128 presentation contexts of dcmtk have 60 kB."""
SWALLOWED = 16 << 30
"""Bytes of one data set after which the association ends, refused or not."""
_PDU_SLACK = 64
"""Some senders count the headers of a PDU differently."""
_PILED_UP = 4
"""Requests that may wait: we negotiate one operation at a time, and only who breaks that piles them up."""
_INVALID_PDU = "Evt19"
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class StreamingDimse(DIMSEServiceProvider):  # type: ignore[misc]
    """Writes data sets to disk as they come; takes C-STORE, C-ECHO and procedure steps only (`receive_primitive`)."""

    def __init__(self, assoc: Any, conditions: Conditions, name: str) -> None:
        """Serve one association.

        Args:
            name: Of the association, unique.
        """
        super().__init__(assoc)
        self.message: DIMSEMessage | None = None
        self.name = name
        self._conditions = conditions
        self._incoming: Incoming | None = None
        self._command_bytes = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a P-DATA primitive; anything that is not as it must be aborts the association."""
        try:
            self._receive(primitive)
        except Exception:  # whatever bytes can do to pynetdicom and pydicom; the message is the peer's
            self._forget()
            self.dul.event_queue.put(_INVALID_PDU)

    def _receive(self, primitive: P_DATA) -> None:
        message = self.message or self._expect()
        self._check(primitive)
        complete = message.decode_msg(primitive, self.assoc)
        if message.context_id is not None and not self._may_be(message):
            raise ValueError("no message that is taken in this context")
        if not complete:
            return
        request = message.message_to_primitive()
        self.message, self._incoming = None, None
        self.msg_queue.put((message.context_id, request))
        while self.msg_queue.qsize() >= _PILED_UP and self.assoc.is_alive():
            time.sleep(0.005)

    def _may_be(self, message: DIMSEMessage) -> bool:
        """Whether a message is one that we take, in a context that it belongs into, and not too long."""
        context = self.assoc._accepted_cx.get(message.context_id)
        step = context is not None and str(context.abstract_syntax) == PROCEDURE_STEP
        if isinstance(message, N_CREATE_RQ | N_SET_RQ):
            assert self._incoming is not None
            said = getattr(message.command_set, "AffectedSOPClassUID", None) or getattr(
                message.command_set, "RequestedSOPClassUID", None
            )
            return step and str(said) == PROCEDURE_STEP and self._incoming.swallowed <= LONGEST_ATTRIBUTES
        return isinstance(message, C_STORE_RQ | C_ECHO_RQ) and not step

    def _expect(self) -> DIMSEMessage:
        message = DIMSEMessage()
        self._incoming = Incoming(self._conditions, lambda: _announced(message, self.assoc))
        message.data_set = self._incoming
        self.message, self._command_bytes = message, 0
        return message

    def _check(self, primitive: P_DATA) -> None:
        assert self._incoming is not None
        for _, data in primitive.presentation_data_value_list:
            if data[0] & 1:
                self._command_bytes += len(data)
                if self._command_bytes > LONGEST_COMMAND or self._incoming.begun:
                    raise ValueError("a command that is too long, or inside a data set")
        if self._incoming.swallowed > SWALLOWED:
            raise ValueError("a data set without end")

    def _forget(self) -> None:
        if self._incoming is not None:
            self._incoming.discard()
        self.message, self._incoming = None, None

    def close(self) -> None:
        """Remove what an association that has ended leaves on disk."""
        self._forget()
        with suppress(IndexError):
            while True:
                _, request = self.msg_queue.queue.popleft()
                data = getattr(request, "DataSet", None)
                if isinstance(data, Incoming):
                    data.discard()


def _announced(message: DIMSEMessage, assoc: Any) -> Announced | None:
    if not isinstance(message, C_STORE_RQ):
        return None
    context = assoc._accepted_cx.get(message.context_id)
    command = message.command_set
    if context is None or str(command.AffectedSOPClassUID) != str(context.abstract_syntax):
        return None
    sop_uid = str(command.AffectedSOPInstanceUID)
    if not sop_uid or sop_uid.strip("0123456789."):
        return None
    return Announced(str(context.abstract_syntax), sop_uid, str(context.transfer_syntax[0]))


class BoundedSocket(AssociationSocket):  # type: ignore[misc]
    """Refuses PDUs longer than negotiated, and gives a peer a time to send one (`recv`) or take one (`send`)."""

    def __init__(self, assoc: Any, client_socket: Any, max_pdu: int, seconds: float) -> None:
        """Wrap a connected socket."""
        super().__init__(assoc, client_socket=client_socket)
        self._max_pdu, self._seconds = max_pdu, seconds
        client_socket.settimeout(seconds)
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly so many bytes; fewer when the peer closes.

        Raises:
            OSError: If a PDU is too long, or does not come in time.
        """
        if nr_bytes > self._most():
            raise OSError("a PDU longer than negotiated")
        found, read = bytearray(nr_bytes), 0
        deadline = time.monotonic() + self._seconds
        view = memoryview(found)
        while read < nr_bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("a PDU that does not end")
            self.socket.settimeout(left)
            count = self.socket.recv_into(view[read:])
            if not count:
                break
            read += count
        del view
        del found[read:]
        self.socket.settimeout(self._seconds)  # of sending
        if _QUICK_ACK is not None:  # a sender that waits for it before its next PDU would wait 40 ms
            self.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        return found

    def _most(self) -> int:
        return self._max_pdu + _PDU_SLACK if self.assoc.is_established else LONGEST_NEGOTIATION


class LenientStateMachine(StateMachine):  # type: ignore[misc]
    """Ends the connection where pynetdicom's own would end its thread with a traceback (`do_action`)."""

    def do_action(self, event: str) -> None:
        """Act on an event."""
        try:
            super().do_action(event)
        except Exception:  # a PDU that can be decoded and yet makes no sense, or comes at the wrong time
            self.dul.kill_dul()
