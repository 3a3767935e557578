"""The SCP that peers answer storage commitment to (PS3.4 J.3.3): N-EVENT-REPORT on an association of their own."""

import json
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from typing import Any

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.deliver.association import EXPLICIT, IMPLICIT, our_title
from scanside.runtime.appliance.deliver.classes import VERIFICATION
from scanside.runtime.appliance.deliver.commitment import PUSH_MODEL, Answers
from scanside.runtime.appliance.deliver.retry import limit_waits
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

_MOST_ASSOCIATIONS = 16

log = logging.getLogger("scanside.deliver")


def port_file(config: Config) -> Path:
    """Where the listener says what it listens on: `{"host": …, "port": …}`."""
    return config.service.data / "deliver.port"


@contextmanager
def listening(config: Config, answers: Answers) -> Iterator[int]:
    """Listen for answers; yields the port. Only destinations may associate, and with TLS where they have it.

    Raises:
        OutputError: If the port cannot be opened.
        UsageError: If the TLS files cannot be used.
    """
    from pynetdicom import AE, evt

    entity = AE(our_title(config))
    wait = config.send.timeout_seconds
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = wait
    entity.maximum_associations = _MOST_ASSOCIATIONS
    entity.require_called_aet = True
    entity.require_calling_aet = sorted({one.ae_title for one in config.committing})
    # Peers propose themselves as SCP; those that forget the role selection are understood as well.
    entity.add_supported_context(PUSH_MODEL, [EXPLICIT, IMPLICIT], scu_role=True, scp_role=True)
    entity.add_supported_context(VERIFICATION, [EXPLICIT, IMPLICIT])
    handlers = [
        (evt.EVT_CONN_OPEN, lambda event: limit_waits(event.assoc.dul.socket.socket, wait)),
        (evt.EVT_REJECTED, _rejected),
        (evt.EVT_N_EVENT_REPORT, lambda event: (answers.take(event), None)),
    ]
    context = _server_context(config)
    host, port = config.send.commitment_host, config.send.commitment_port
    try:
        server = entity.start_server(
            (host, port),
            block=False,
            ssl_context=_LateHandshake(context, wait) if context else None,
            evt_handlers=handlers,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not an address"
        raise OutputError(
            f"Answers to storage commitment cannot be received on {host}:{port} ({why}); "
            "change send.commitment_host or send.commitment_port."
        ) from error
    try:
        found = int(server.server_address[1])
        with atomic_write(port_file(config)) as temporary:
            temporary.write_text(json.dumps({"host": host, "port": found}))
        yield found
    finally:
        port_file(config).unlink(missing_ok=True)
        server.shutdown()


def _rejected(event: Any) -> None:
    title = "".join(c for c in str(event.assoc.requestor.ae_title or "") if c.isprintable())
    log.warning("an association for storage commitment from '%s' was refused; it is no destination", title)


def _server_context(config: Config) -> ssl.SSLContext | None:
    """TLS by `send.tls`, or as soon as one of the peers has it; every peer's authority is trusted."""
    from scanside.runtime.appliance.tls import server_context

    tls = config.listener_tls
    if tls is None:
        return None
    context = server_context(tls)
    for one in config.committing:
        if one.tls is None:
            log.warning(
                "%s has no TLS and the listener has: its answers to storage commitment are taken on the association "
                "of the request only",
                one.name,
            )
        else:
            with suppress(ssl.SSLError):  # client_context says so where that destination is sent to
                context.load_verify_locations(one.tls.authority)
    return context


class _LateHandshake:
    """Makes the handshake in the association's own thread: one caller that is silent must not hold the others."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        self._context, self._seconds = context, seconds

    def wrap_socket(self, plain: socket, server_side: bool) -> ssl.SSLSocket:
        """As `SSLContext.wrap_socket`."""
        limit_waits(plain, self._seconds)
        return self._context.wrap_socket(plain, server_side=server_side, do_handshake_on_connect=False)
