"""KServe v2 over HTTP with binary tensors: one request a connection, every answer bounded and counted to the byte.

Source: the Open Inference Protocol, and its binary tensor data extension as Triton documents it. A server sends
little-endian tensors in C order behind a JSON header, whose length stands in `Inference-Header-Content-Length`.
"""

import http.client
import json
import math
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from scanside.runtime.errors import BackendError, ScansideError, UsageError
from scanside.runtime.triton.address import Engine
from scanside.runtime.triton.contract import KINDS, PREFIX, TYPES, Array

_CONNECT_SECONDS = 10.0
_MOST_JSON = 1 << 20
"""Bytes of the largest answer without tensors, and of the header before tensors."""
_PIECE = 1 << 18
_LENGTH = "Inference-Header-Content-Length"


class LostError(BackendError):
    """The server is away, or its answer broke off: it may come back, and the same request may then succeed."""


class AwayError(LostError):
    """No connection can be made: the server has not seen the request."""


class SlowError(BackendError):
    """The server does not answer in time. A case is not sent again then: it may still be computed."""


@dataclass(frozen=True)
class Wanted:
    """An output that is awaited.

    Attributes:
        kind: numpy's name of its type.
        shape: Of each axis its size, or None where `most` bounds it.
        most: Values at most.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    most: int


class Client:
    """Asks one server. Nothing is kept between requests."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def config(self, model: str) -> dict[str, Any]:
        """The configuration of a model that is loaded.

        Raises:
            LostError, SlowError: If there is no answer.
            BackendError: If the server does not have the model.
        """
        status, body, _ = self._ask("GET", f"/v2/models/{quote(model)}/config", most=_MOST_JSON)
        if status != 200:
            raise BackendError(
                f"{self._engine.url} does not serve '{model}' ({_said(body, status)}){self._others()}; check the "
                "model's name, and the server's log for why it was not loaded."
            )
        return self._document(body)

    def ready(self, model: str) -> bool:
        """Whether the server answers and has loaded the model."""
        try:
            return self._ask("GET", f"/v2/models/{quote(model)}/ready", most=_MOST_JSON)[0] == 200
        except (LostError, SlowError):
            return False

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[Wanted], seconds: float
    ) -> dict[str, Array]:
        """Run a model.

        Args:
            seconds: For the whole, queue and computation included.

        Raises:
            LostError: If the server is away or its answer breaks off.
            SlowError: If it takes longer than `seconds`.
            InputError, CaseError: With the served model's own sentence.
            BackendError: If it answers with anything but the outputs wanted.
        """
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        header = json.dumps(
            {
                "inputs": [_described(name, array) for name, array in arrays.items()],
                "outputs": [{"name": one.name, "parameters": {"binary_data": True}} for one in outputs],
            }
        ).encode()
        body: list[bytes | memoryview] = [header, *(array.data.cast("B") for array in arrays.values())]
        most = _MOST_JSON + sum(one.most * np.dtype(one.kind).itemsize for one in outputs)
        path = f"/v2/models/{quote(model)}/infer"
        status, answer, length = self._ask(
            "POST", path, body=body, most=most, seconds=seconds, headers={_LENGTH: str(len(header))}
        )
        if status != 200:
            raise self._refused(answer, status, model)
        if length is None or not length.isascii() or not length.isdigit() or int(length) > len(answer):
            raise self._nonsense("it does not say how long its header is")
        found = self._document(answer[: int(length)])
        return self._tensors(found, memoryview(answer)[int(length) :], outputs)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        most: int,
        body: Sequence[bytes | memoryview] = (),
        seconds: float = _CONNECT_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes, str | None]:
        """Status, whole body, length of the header before tensors."""
        size = sum(len(part) for part in body)
        sent = {"Accept": "*/*", "Connection": "close", **(headers or {})}
        if body:
            sent |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        connection = self._connection()
        try:
            with self._words(None):
                connection.connect()
            with self._words(seconds):
                _keep_alive(connection.sock)
                connection.request(method, path, body=_pieces(body) if body else None, headers=sent)
                connection.sock.settimeout(seconds)
                until = time.monotonic() + seconds
                response = connection.getresponse()
                return (
                    response.status,
                    self._whole(response, connection, until, most),
                    response.getheader(_LENGTH),
                )
        finally:
            connection.close()

    def _whole(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        until: float,
        most: int,
    ) -> bytes:
        """The body, which has to be as long as the server says, and no longer than can be."""
        said = response.length
        if said is None:
            raise self._nonsense("it does not say how long its answer is")
        if said > most:
            raise self._nonsense(f"its answer has {said} bytes, more than the {most} that are possible")
        found = bytearray()
        while len(found) < said:
            if connection.sock is not None:
                connection.sock.settimeout(max(0.01, until - time.monotonic()))
            piece = response.read(min(_PIECE, said - len(found)))
            if not piece:
                raise LostError(
                    f"The answer of {self._engine.url} broke off after {len(found)} of {said} bytes; check the server."
                )
            found += piece
        return bytes(found)

    def _tensors(
        self, header: Mapping[str, Any], data: memoryview, outputs: Sequence[Wanted]
    ) -> dict[str, Array]:
        described, found, place = header.get("outputs"), {}, 0
        awaited = {one.name: one for one in outputs}
        for one in described if isinstance(described, list) else []:
            wanted = awaited.pop(str(one.get("name")), None) if isinstance(one, dict) else None
            if wanted is None:
                raise self._nonsense("it answers with a tensor that was not asked for, or twice with one")
            array, size = self._tensor(one, wanted, data[place:])
            found[wanted.name], place = array, place + size
        if awaited:
            raise self._nonsense(f"its answer lacks the tensor {min(awaited)}")
        if place != len(data):
            raise self._nonsense(f"its answer has {len(data) - place} bytes too many")
        return found

    def _tensor(self, told: Mapping[str, Any], wanted: Wanted, data: memoryview) -> tuple[Array, int]:
        shape, kind = told.get("shape"), np.dtype(wanted.kind).newbyteorder("<")
        if told.get("datatype") != TYPES[wanted.kind]:
            raise self._nonsense(f"{wanted.name} is {told.get('datatype')}, not {TYPES[wanted.kind]}")
        whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        if (
            not isinstance(shape, list)
            or not whole
            or len(shape) != len(wanted.shape)
            or any(axis not in (None, size) for axis, size in zip(wanted.shape, shape, strict=True))
            or math.prod(shape) > wanted.most
        ):
            raise self._nonsense(f"{wanted.name} has shape {shape}")
        size = math.prod(shape) * kind.itemsize
        parameters = told.get("parameters")
        said = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if said != size or size > len(data):
            raise self._nonsense(f"{wanted.name} has {said} of {size} bytes")
        array = np.frombuffer(data[:size], kind).astype(wanted.kind).reshape(shape)
        return array, size

    def _document(self, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError as error:
            raise self._nonsense("it answers without JSON") from error
        if not isinstance(found, dict):
            raise self._nonsense("its JSON is no object")
        return found

    def _nonsense(self, what: str) -> BackendError:
        return BackendError(
            f"{self._engine.url} is not understood: {what}; check that a Triton server answers there."
        )

    def _refused(self, body: bytes, status: int, model: str) -> ScansideError:
        """The served model's own sentence where there is one."""
        said = _said(body, status)
        for kind, error in KINDS.items():
            _, found, sentence = said.partition(f"{PREFIX} {kind}: ")
            if found:
                return error(sentence.strip())
        return LostError(
            f"{self._engine.at(model)} did not compute this case ({said}); see the server's log."
        )

    def _others(self) -> str:
        """What it serves instead, where it tells."""
        try:
            _, body, _ = self._ask("POST", "/v2/repository/index", body=[b"{}"], most=_MOST_JSON)
            names = [one["name"] for one in json.loads(body) if one.get("state") == "READY"]
        except (ScansideError, ValueError, TypeError, KeyError, AttributeError):
            return ""
        return f"; it serves {', '.join(sorted(map(str, names)))}" if names else "; it serves nothing"

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._engine.host, self._engine.port
        if not self._engine.secure:
            return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
        authority = self._engine.authority
        try:
            context = ssl.create_default_context(cafile=authority)
        except OSError as error:  # an ssl.SSLError is one
            raise UsageError(
                f"{authority} does not hold certificates of an authority in PEM; give the right file."
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=context)

    @contextmanager
    def _words(self, seconds: float | None) -> Iterator[None]:
        """Sentences for what goes wrong with a connection; None while it is not made."""
        url = self._engine.url
        try:
            yield
        except ScansideError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise BackendError(
                f"The certificate of {url} is not accepted ({error.verify_message}); check authority and url."
            ) from error
        except TimeoutError as error:
            if seconds is None:
                raise AwayError(
                    f"{url} cannot be reached (no answer); check the url and that the server runs."
                ) from error
            raise SlowError(
                f"{url} did not answer within {seconds:g} s; check the server, or give it more seconds."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = (getattr(error, "strerror", None) or "the connection was lost").lower()
            kind = AwayError if seconds is None else LostError
            raise kind(f"{url} cannot be reached ({why}); check the url and that the server runs.") from error


def _described(name: str, array: Array) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": TYPES[array.dtype.name],
        "parameters": {"binary_data_size": array.nbytes},
    }


def _said(body: bytes, status: int) -> str:
    """What an error answer says, or its status."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return f"HTTP {status}"
    return " ".join(str(found).split())[:500]


def _keep_alive(connection: socket.socket) -> None:
    """Notice within two minutes that the server's machine is gone, although a case may take longer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _pieces(body: Sequence[bytes | memoryview]) -> Iterator[memoryview]:
    """Small enough for the time-out, which is for a whole call of the socket, to be fair."""
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
