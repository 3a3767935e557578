"""Connections: TLS outside the accepting thread, who may associate, how many at once."""

import itertools
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from scanside.runtime.appliance.config import DicomArchive, Receive
from scanside.runtime.appliance.receive.classes import contexts
from scanside.runtime.appliance.receive.dimse import BoundedSocket, LenientStateMachine, StreamingDimse
from scanside.runtime.appliance.receive.incoming import IMPLEMENTATION_CLASS, Conditions
from scanside.runtime.appliance.receive.limits import TOO_MANY, Callers, Rejection

_HANDSHAKE_SECONDS = 10.0
_NEGOTIATION_SECONDS = 10.0
_UNASSOCIATED = 64
"""Connections beyond the associations: handshakes, negotiations, and who only looks whether the port is open."""
_PLACE_SECONDS, _PLACE_POLL = 2.0, 0.01
"""How long who finds no place is kept waiting for one: connections that are over take a moment to end."""

Turned = Callable[[str, str, str], None]
"""Told of every caller that is turned away: address, calling AE title (may be empty), reason."""

log = logging.getLogger("scanside.receive")


class Server(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections in its own thread; everything slow is done in that of the connection."""

    request_queue_size = 64
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        config: Receive,
        conditions: Conditions,
        handlers: list[tuple[Any, Callable[..., Any]]],
        turned_away: Turned,
        tls: ssl.SSLContext | None,
        archives: Sequence[DicomArchive] = (),
    ) -> None:
        """Bind and listen; nothing is accepted before `serve_forever`.

        Args:
            handlers: Of pynetdicom's intervention events.
            tls: Every connection has to be TLS then.
            archives: May associate as `config.callers` may.

        Raises:
            OSError: If the port is taken, or the address is none of this machine.
            UsageError: If a caller's address is none.
        """
        self.config, self.conditions, self._turned_away = config, conditions, turned_away
        self._callers, self._tls = Callers(config, archives), tls
        self._lock = threading.Lock()
        self._connections = 0
        self._associations: dict[Any, str] = {}
        self._over: list[str] = []
        self._numbers = itertools.count(1)
        self._start = f"{os.getpid()}.{time.time_ns():x}"
        entity = AE(config.ae_title)
        entity.maximum_pdu_size = config.max_pdu
        entity.maximum_associations = 1 << 16  # counted here
        entity.network_timeout = config.idle_seconds
        entity.acse_timeout = min(_NEGOTIATION_SECONDS, config.idle_seconds)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS
        super().__init__(
            entity,
            (config.host, config.port),
            config.ae_title,
            contexts(),
            evt_handlers=[*handlers, (evt.EVT_FSM_TRANSITION, _end_before_begun)],
            request_handler=_Handler,
        )
        entity._servers.append(self)

    def get_request(self) -> tuple[Any, Any]:
        """Accept, and nothing else: a slow TLS handshake must not keep others waiting."""
        return self.socket.accept()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is worth an answer."""
        if not self._callers.reaches(client_address[0]):
            self._turned_away(client_address[0], "", "address not known")
            return False
        deadline = time.monotonic() + _PLACE_SECONDS
        while not self._found_place():
            if time.monotonic() > deadline:
                self._turned_away(client_address[0], "", "too many connections at once")
                return False
            time.sleep(_PLACE_POLL)
        return True

    def _found_place(self) -> bool:
        most = self.config.max_associations + _UNASSOCIATED
        if self._connections >= most:
            self._collect()
        with self._lock:
            found = self._connections < most
            self._connections += found
        return found

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands and start an association."""
        started = False
        try:
            if self._tls is not None:
                request.settimeout(_HANDSHAKE_SECONDS)
                request = self._tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
            started = True
        finally:
            if not started:
                self._disconnected()
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that failed before there was an association; called inside the `except`."""
        import sys

        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            reason = f"TLS: {(error.reason or 'refused').replace('_', ' ').lower()}"
        elif isinstance(error, OSError):
            reason = "TLS: no handshake" if self._tls is not None else "connection lost"
        else:
            reason = f"unexpected {type(error).__name__}"
        self._turned_away(client_address[0], "", reason)

    def _disconnected(self) -> None:
        with self._lock:
            self._connections -= 1

    def new_name(self) -> str:
        """Of an association, unique for ever."""
        return f"{self._start}.{next(self._numbers)}"

    def opened(self, association: Any) -> None:
        """It runs from now on."""
        with self._lock:
            self._associations[association] = association.dimse.name

    def ended(self) -> list[str]:
        """Names of the associations whose threads have ended since the last call, in whatever way."""
        self._collect()
        with self._lock:
            names, self._over = self._over, []
        return names

    def _collect(self) -> None:
        with self._lock:
            over = [one for one in self._associations if not one.is_alive() and not one.dul.is_alive()]
            names = [self._associations.pop(one) for one in over]
        for one in over:
            one.dimse.close()
            with suppress(OSError, AttributeError):
                one.dul.socket.socket.close()
        with self._lock:
            self._over += names
            self._connections -= len(over)

    def running(self) -> int:
        """Number of associations, connections that may become one, and ended ones that `ended` has not named."""
        with self._lock:
            return len(self._associations) + len(self._over)

    def abort_all(self) -> None:
        """End what is still running."""
        with self._lock:
            running = list(self._associations)
        for one in running:
            threading.Thread(target=one.abort, daemon=True).start()

    def judge(self, association: Any, request: Any) -> Rejection | None:
        """Whether an association may be; the limit is checked under a lock, so that two cannot both be the last."""
        calling, address = str(request.calling_ae_title).strip(), association.requestor.address
        found = self._callers.judge(calling, str(request.called_ae_title), address)
        with self._lock:
            if found is None:
                standing = sum(one.acse.admitted and one.is_alive() for one in self._associations)
                if standing < self.config.max_associations:
                    association.acse.admitted = True
                    return None
                found = TOO_MANY
        self._turned_away(address, calling, found.reason)
        return found


class _Handler(RequestHandler):  # type: ignore[misc]
    def _create_association(self) -> Any:
        association, server = super()._create_association(), self.server
        seconds = server.config.idle_seconds
        association.dul.socket = BoundedSocket(association, self.request, server.config.max_pdu, seconds)
        with suppress(Empty):
            association.dul.event_queue.get_nowait()  # both sockets have told of the connection
        association.dul.daemon = True
        association.dul.state_machine = LenientStateMachine(association.dul)
        association.dimse = StreamingDimse(association, server.conditions, server.new_name())
        association.acse = _Acse(association, server)
        return association

    def handle(self) -> None:
        association = self._create_association()
        association.start()
        self.server.opened(association)


class _Acse(ACSE):  # type: ignore[misc]
    """Rejects who may not associate, with the reason that PS3.8 has for it (`_negotiate_as_acceptor`)."""

    def __init__(self, association: Any, server: Server) -> None:
        super().__init__(association)
        self._server = server
        self.admitted = False

    def _negotiate_as_acceptor(self) -> None:
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):  # the connection ended before there was a request
            self.assoc.kill()
            return
        rejection = self._server.judge(self.assoc, request)
        if rejection is None:
            super()._negotiate_as_acceptor()
            return
        self.send_reject(*rejection.codes)
        self.assoc.kill()


def _end_before_begun(event: Any) -> None:
    """Without this, a connection that ends before its request occupies its thread until a time-out."""
    if event.next_state == "Sta1" and event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(A_P_ABORT())
