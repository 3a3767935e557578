"""STOW-RS (PS3.18 10.5): objects to a DICOMweb server, as multipart/related."""

import http.client
import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scanside.runtime.appliance.config import Config, WebDestination, WebPeer
from scanside.runtime.appliance.deliver.association import AssociationError
from scanside.runtime.appliance.deliver.objects import DamagedError, read_object
from scanside.runtime.appliance.deliver.retry import SLOWEST, DeliveryError, cut_after
from scanside.runtime.appliance.deliver.sender import Failed, Took
from scanside.runtime.appliance.deliver.status_codes import commitment_words
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.errors import ScansideError, UsageError

_MOST_BYTES = 64 << 20
"""Of one request, unless a single object is larger."""
_MOST_ANSWER = 16 << 20
_PIECE = 1 << 18
_AT_FAULT = (400, 406, 413, 415, 422, 500)
"""HTTP statuses that one object may have brought upon all."""
_SAID = {
    401: "it wants another token; check the token file",
    403: "it does not allow this; check the token's rights",
    404: "there is no such service; check the url",
    413: "the request is too large for it; raise its limit",
    415: "it does not take this kind of object; allow it there",
    429: "it is busy",
    503: "it is busy",
}
_STORED_SEQUENCE, _FAILED_SEQUENCE = "00081199", "00081198"
_SOP_UID, _REASON = "00081155", "00081197"


class RefusedError(DeliveryError):
    """The server refuses a request as a whole, and one of its objects may be the reason."""


@dataclass(frozen=True)
class Answer:
    """Of a DICOMweb server.

    Attributes:
        kind: Content-Type.
        date: What time the server says it is, as HTTP has it; empty where it says nothing.
    """

    status: int
    body: bytes
    kind: str = ""
    date: str = ""


class WebSender:
    """A DICOMweb server that takes STOW-RS."""

    commitment = None

    def __init__(self, destination: WebDestination, config: Config) -> None:
        self._destination, self._config = destination, config

    def prepare(self, database: Database) -> None:
        """DICOMweb has no way to ask what a server takes."""

    def store(
        self,
        items: Sequence[Item],
        took_it: Took,
        failed: Failed,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send objects, in requests of limited size, and say of each what became of it.

        Raises:
            AssociationError: If the server cannot be reached or refuses altogether; what is not yet told of was not
                sent.
            UsageError: If a file of the configuration cannot be used.
        """
        destination, config = self._destination, self._config
        for batch in _batches(config, items, failed):
            if stopped():
                return
            try:
                _send(destination, config, batch, took_it, failed)
            except RefusedError as error:
                if len(batch) == 1:
                    failed(batch[0], error)
                    continue
                for item in batch:  # perhaps one of them is at fault
                    if stopped():
                        return
                    try:
                        _send(destination, config, [item], took_it, failed)
                    except RefusedError as error:
                        failed(item, error)

    def answers(self, seconds: float) -> str | None:
        """A search for one study (QIDO-RS)."""
        try:
            code = ask_web(self._destination, "GET", "studies?limit=1", seconds).status
        except ScansideError as error:
            return str(error)
        return None if code in (200, 204) else f"{self._destination.name} answers with {http_words(code)}."

    def refuses(self, seconds: float) -> str | None:
        """It does not say beforehand."""
        return None


def _send(
    destination: WebDestination, config: Config, batch: Sequence[Item], took_it: Took, failed: Failed
) -> None:
    boundary = uuid.uuid4().hex
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    body = _multipart([(config.results / item.path).read_bytes() for item in batch], boundary)
    answer = ask_web(
        destination,
        "POST",
        "studies",
        config.send.timeout_seconds,
        body=body,
        headers={"Content-Type": kind},
    )
    stored, refused = _told(destination, answer)
    for item in batch:
        if item.sop_uid in refused:
            failed(item, _refused(destination, refused[item.sop_uid]))
        elif item.sop_uid in stored:
            took_it(item, 0)
        else:
            failed(
                item,
                DeliveryError(f"{destination.name} does not say that it has the object; check it there."),
            )


def ask_web(
    destination: WebPeer,
    method: str,
    path: str,
    seconds: float,
    *,
    body: Sequence[bytes] = (),
    headers: dict[str, str] | None = None,
    most: int | None = None,
) -> Answer:
    """One request to a DICOMweb server.

    Args:
        path: Below the service's url.
        seconds: For each read and write.
        most: Bytes of the answer that are read; default, those that a POST may answer with, and none of others.

    Raises:
        AssociationError: If there is no answer.
        UsageError: If the authority or the token cannot be read.
    """
    most = (_MOST_ANSWER if method == "POST" else 0) if most is None else most
    with open_web(destination, method, path, seconds, body=body, headers=headers) as response:
        said = (response.getheader("Content-Type", ""), response.getheader("Date", ""))
        found = response.read(most) if most else b""
        if response.length and len(found) < most:  # http.client says nothing of it
            raise AssociationError(f"{destination.name} ended the connection within its answer; check it.")
        return Answer(response.status, found, *said)


@contextmanager
def open_web(
    destination: WebPeer,
    method: str,
    path: str,
    seconds: float,
    *,
    body: Sequence[bytes] = (),
    headers: dict[str, str] | None = None,
    within: float | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """One request whose answer is read as it comes.

    Args:
        path: Below the service's url.
        seconds: For each read and write.
        within: Seconds for all of it; default, twice those that the request may take.

    Raises:
        AssociationError: If there is no answer, or it breaks while the caller reads it.
        UsageError: If the authority or the token cannot be read.
    """
    path = f"{urlsplit(destination.url).path.rstrip('/')}/{path}"
    sent = {"Accept": "application/dicom+json", **(headers or {}), **_authorization(destination)}
    size = sum(map(len, body))
    if body:
        sent["Content-Length"] = str(size)
    extra = size / SLOWEST
    with _words(destination, seconds):
        connection = _connection(destination, seconds)
        try:
            connection.connect()
            whole = 2 * (seconds + extra) if within is None else within
            with cut_after(connection.sock, whole) as late, _in_time(destination, whole, late):
                connection.request(method, path, body=_pieces(body) if body else None, headers=sent)
                connection.sock.settimeout(seconds + extra)
                yield connection.getresponse()
        finally:
            connection.close()


@contextmanager
def _in_time(destination: WebPeer, seconds: float, late: threading.Event) -> Iterator[None]:
    """What was cut for taking too long is no answer, however much of one it looks like."""
    words = f"{destination.name} did not answer within {seconds:.3g} s; check it."
    try:
        yield
    except (OSError, http.client.HTTPException, AssociationError) as error:
        if late.is_set():
            raise AssociationError(words) from error
        raise
    if late.is_set():
        raise AssociationError(words)


def _pieces(body: Sequence[bytes]) -> Iterator[memoryview]:
    """Small enough for the time-out, which is for a whole call of the socket, to be fair."""
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]


def http_words(status: int) -> str:
    """Half a sentence on an HTTP status that is no success."""
    return f"HTTP {status}: {_SAID.get(status, 'check it there')}"


def _connection(destination: WebPeer, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(destination.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=seconds)
    try:
        context = ssl.create_default_context(cafile=destination.authority)
    except OSError as error:  # an ssl.SSLError is one
        raise UsageError(
            f"{destination.authority} does not hold certificates of an authority in PEM; give the right file."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)


def _authorization(destination: WebPeer) -> dict[str, str]:
    if destination.token is None:
        return {}
    try:
        token = destination.token.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The token file {destination.token} cannot be read; check it.") from error
    if not token or not token.isprintable():
        raise UsageError(f"The token file {destination.token} does not hold one token; check it.")
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def _words(destination: WebPeer, seconds: float) -> Iterator[None]:
    name = destination.name
    try:
        yield
    except ScansideError:  # some are an OSError, too, and say more than the sentences below
        raise
    except ssl.SSLCertVerificationError as error:
        raise AssociationError(
            f"The certificate of {name} is not accepted ({error.verify_message}); check authority and url."
        ) from error
    except TimeoutError as error:
        raise AssociationError(f"{name} did not answer within {seconds:g} s; check it.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (getattr(error, "strerror", None) or "the connection was lost").lower()
        raise AssociationError(
            f"{name} cannot be reached ({why}); check its url and that it runs."
        ) from error


def _batches(config: Config, items: Sequence[Item], failed: Failed) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        try:
            read_object(config.results, item, pixels=False)
            length = (config.results / item.path).stat().st_size
        except DamagedError as error:
            failed(item, error)
            continue
        if batch and size + length > _MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _multipart(files: Sequence[bytes], boundary: str) -> list[bytes]:
    """Pieces of the body (RFC 2387)."""
    pieces: list[bytes] = []
    for file in files:
        pieces += [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), file, b"\r\n"]
    return [*pieces, f"--{boundary}--\r\n".encode()]


def _told(destination: WebDestination, answer: Answer) -> tuple[set[str], dict[str, int | None]]:
    """What the answer says: SOP instance UIDs stored, and refused with the reason (PS3.18 10.5.3)."""
    if answer.status not in (200, 202, 409):
        kind = RefusedError if answer.status in _AT_FAULT else AssociationError
        raise kind(f"{destination.name} took nothing ({http_words(answer.status)}).")
    try:
        document = json.loads(answer.body)
        document = document[0] if isinstance(document, list) else document
        stored = {_first(one, _SOP_UID) for one in _sequence(document, _STORED_SEQUENCE)}
        refused = {
            _first(one, _SOP_UID): _first(one, _REASON) for one in _sequence(document, _FAILED_SEQUENCE)
        }
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise AssociationError(
            f"{destination.name} answers with HTTP {answer.status} without DICOM JSON; check that it offers STOW-RS."
        ) from error
    return stored, refused


def _sequence(document: Any, tag: str) -> list[Any]:
    return document.get(tag, {}).get("Value") or []


def _first(document: Any, tag: str) -> Any:
    values = document.get(tag, {}).get("Value") or [None]
    return values[0]


def _refused(destination: WebDestination, reason: int | None) -> DeliveryError:
    words = commitment_words(reason if isinstance(reason, int) else None)
    return DeliveryError(f"{destination.name} refused the object ({words}); check it there.")
