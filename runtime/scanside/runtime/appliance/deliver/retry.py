"""Reaching a destination: why it does not work, when it is tried again, and how long a socket may hang."""

import contextlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scanside.runtime.appliance.config import Config, DicomDestination, Send
from scanside.runtime.errors import OutputError

SLOWEST = 256 * 1024
"""Bytes per second that a peer has to take at least; on top of that comes its time for an answer."""


class DeliveryError(OutputError):
    """A destination did not take what it was sent."""


def cannot_answer(config: Config, destination: DicomDestination) -> str:
    """Why answers of a destination off this machine cannot come, and what to do: the second half of a sentence."""
    return (
        f"{destination.name} cannot call back: send.commitment_host is {config.send.commitment_host}; set it to an "
        f"address of this machine, and tell {destination.name} of it and of port {config.send.commitment_port}"
    )


def backoff(send: Send, attempts: int) -> float:
    """Seconds before the next attempt: doubled for each one, up to a limit, ± 20 % lest all come at once.

    Args:
        attempts: Failed ones before this.
    """
    wait = min(send.retry_seconds * 2 ** min(attempts, 40), send.retry_most_seconds)
    return wait * random.uniform(0.8, 1.2)


def why_unreachable(host: str, port: int, context: ssl.SSLContext | None, seconds: float) -> str:
    """Connect once more, only to learn what is wrong; returns half a sentence."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            if context is None:
                return "it closed the connection"
            with context.wrap_socket(plain, server_hostname=host):
                return "it closed the connection; perhaps it does not accept our certificate"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not accepted: {error.verify_message}"
    except ssl.SSLError as error:
        return f"TLS failed: {(error.reason or 'handshake').lower().replace('_', ' ')}"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except socket.gaierror:
        return "the name of its host is not known"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()


def limit_waits(connection: socket.socket, seconds: float) -> None:
    """Let the kernel end every single read and write that takes too long.

    pynetdicom reads and writes without a time-out; a peer that stops in the middle would hold its thread for ever.
    """
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def cut(connection: socket.socket | None) -> None:
    """Shut a connection down, whoever reads from it or writes to it."""
    with contextlib.suppress(OSError):
        if connection is not None:
            # Not `connection.shutdown`: that of a TLS socket drops the encryption first, while a thread may send.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


@contextmanager
def cut_after(connection: socket.socket | None, seconds: float) -> Iterator[threading.Event]:
    """Shut a connection down when the block takes too long: for peers that drip. The event is set then."""
    passed = threading.Event()

    def end() -> None:
        passed.set()
        cut(connection)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()
