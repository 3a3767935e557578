"""An association to a destination, as a context manager whose failures are sentences."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scanside.runtime.appliance.config import Config, DicomPeer
from scanside.runtime.appliance.deliver.retry import (
    DeliveryError,
    cut,
    cut_after,
    limit_waits,
    why_unreachable,
)

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


class AssociationError(DeliveryError):
    """No association came about, so that nothing was sent."""


class ContextError(AssociationError):
    """The peer takes none of what was offered."""


@dataclass(frozen=True)
class Context:
    """A presentation context to propose.

    Attributes:
        sop_class: Abstract syntax.
        syntaxes: Transfer syntaxes, the preferred one first.
    """

    sop_class: str
    syntaxes: tuple[str, ...] = (EXPLICIT, IMPLICIT)


class Association:
    """What is open. Operations go through `within`, which ends one that takes too long."""

    def __init__(self, open_: Any, connection: socket.socket | None, seconds: float) -> None:
        self._open, self._connection, self._seconds = open_, connection, seconds

    @property
    def alive(self) -> bool:
        """Whether anything more can be sent."""
        return bool(self._open.is_established)

    def accepts(self, sop_class: str) -> bool:
        """Whether the peer takes a SOP class."""
        return any(str(context.abstract_syntax) == sop_class for context in self._open.accepted_contexts)

    @contextmanager
    def within(self, extra: float = 0.0, whole: float | None = None) -> Iterator[Any]:
        """pynetdicom's association for one operation, which may take the configured seconds and `extra`.

        Args:
            whole: Seconds for all of it, for an operation whose peer has other things to do before it answers.
        """
        self._open.dimse_timeout = self._seconds + extra if whole is None else whole
        with cut_after(self._connection, 2 * self._seconds + extra if whole is None else whole):
            yield self._open


def our_title(config: Config) -> str:
    """AE title under which we send and are answered."""
    return config.send.ae_title or config.receive.ae_title


@contextmanager
def associate(
    destination: DicomPeer,
    config: Config,
    contexts: Sequence[Context],
    *,
    seconds: float | None = None,
    events: Callable[[Any], int] | None = None,
    stored: Callable[[Any], int] | None = None,
    most: int | None = None,
) -> Iterator[Association]:
    """Open an association; it is released at the end, or aborted after an error.

    Args:
        seconds: For each answer of the peer; default: as configured.
        events: Takes N-EVENT-REPORT.
        stored: Takes C-STORE on this association, as C-GET wants it: for every context that is one of storage.
        most: Bytes that the peer may send; with more the connection is shut down.

    Raises:
        ContextError: If the peer takes none of the contexts.
        AssociationError: If no association comes about.
        ScansideError: If the TLS files cannot be used.
    """
    from pynetdicom import evt

    wait = config.send.timeout_seconds if seconds is None else seconds
    entity = _entity(our_title(config), contexts, wait)
    connections: list[socket.socket] = []

    def opened(event: Any) -> None:
        connections.append(event.assoc.dul.socket.socket)
        limit_waits(connections[0], wait)
        negotiation.enter_context(cut_after(connections[0], 2 * wait))

    tls = _context(destination)
    begun = time.monotonic()
    with _words(destination), contextlib.ExitStack() as negotiation:
        made = entity.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            tls_args=(tls, destination.host) if tls else None,
            evt_handlers=[(evt.EVT_CONN_OPEN, opened), *_handlers(events, stored, most)],
            ext_neg=[] if stored is None else _roles(contexts),
        )
    if not made.is_established:
        late = time.monotonic() - begun >= wait
        raise _refusal(destination, made, tls, bool(connections), late, wait)
    connection = connections[0] if connections else None
    try:
        yield Association(made, connection, wait)
        with cut_after(connection, 2 * wait):
            if made.is_established:
                made.release()
    finally:
        if made.is_established:
            with cut_after(connection, wait):
                made.abort()


def _entity(title: str, contexts: Sequence[Context], wait: float) -> Any:
    """Our application entity, which proposes the contexts and waits so many seconds for each answer."""
    from pynetdicom import AE

    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = wait
    entity.network_timeout = None  # the association is ours to end
    for context in contexts:
        entity.add_requested_context(context.sop_class, list(context.syntaxes))
    return entity


def _handlers(
    events: Callable[[Any], int] | None, stored: Callable[[Any], int] | None, most: int | None
) -> list[tuple[Any, Any]]:
    """What takes the peer's own messages, where somebody wants them."""
    from pynetdicom import evt

    handlers: list[tuple[Any, Any]] = []
    if events is not None:
        handlers.append((evt.EVT_N_EVENT_REPORT, lambda event: (events(event), None)))
    if most is not None:
        handlers.append((evt.EVT_DATA_RECV, _limit(most)))
    if stored is not None:
        handlers.append((evt.EVT_C_STORE, stored))
    return handlers


def _roles(contexts: Sequence[Context]) -> list[Any]:
    """That we take what is stored, for every context that is one of storage."""
    from pynetdicom.presentation import build_role
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import uid_to_service_class

    kinds = {one.sop_class for one in contexts}
    return [
        build_role(one, scp_role=True) for one in kinds if uid_to_service_class(one) is StorageServiceClass
    ]


def _limit(most: int) -> Callable[[Any], None]:
    """A handler of what comes in, which cuts the connection when that is more than so many bytes."""
    left = [most]

    def count(event: Any) -> None:
        left[0] -= len(event.data)
        if left[0] < 0:
            cut(getattr(event.assoc.dul.socket, "socket", None))

    return count


def _context(destination: DicomPeer) -> Any:
    from scanside.runtime.appliance.tls import client_context

    return client_context(destination.tls) if destination.tls else None


@contextmanager
def _words(destination: DicomPeer) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # such as a host name that does not resolve
        raise AssociationError(
            f"{destination.name} cannot be reached at {destination.host}:{destination.port}; check its address."
        ) from error


def _refusal(
    destination: DicomPeer, made: Any, tls: Any, connected: bool, late: bool, wait: float
) -> AssociationError:
    name = destination.name
    where = f"{name} cannot be reached at {destination.host}:{destination.port}"
    if made.is_rejected:
        said = "unknown reason"
        with contextlib.suppress(AttributeError, KeyError, ValueError):
            said = str(made.acceptor.primitive.reason_str).lower()
        return AssociationError(f"{name} refused the association ({said}); check the AE titles at both ends.")
    if made.rejected_contexts:
        kinds = sorted({str(context.abstract_syntax.name) for context in made.rejected_contexts})
        return ContextError(
            f"{name} does not take {', '.join(kinds)}; allow it there, or leave it out by a rule."
        )
    if not connected:
        why = why_unreachable(destination.host, destination.port, tls, wait)
        return AssociationError(f"{where} ({why}); check that it runs.")
    if late:
        return AssociationError(
            f"{name} did not answer the request for an association within {wait:g} s; check it."
        )
    hint = ", or does not accept our certificate" if tls else ""
    return AssociationError(f"{name} ended the connection before an association; it may be busy{hint}.")
