"""`/metrics` and `/health` over HTTP, from a thread of the supervisor. It may fail; the service goes on."""

import json
import logging
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from scanside.runtime.appliance.config import Config

_ASK_SECONDS = 10.0
"""A client that says nothing for so long is hung up on."""
_TRY_AGAIN_SECONDS = 10.0
_POLL_SECONDS = 0.2

log = logging.getLogger("scanside.watch")


def serve_watch(config: Config, stop: threading.Event) -> None:
    """Serve until told to stop; port 0 serves nothing. Where it listens stands in `watch.port` of the data folder.

    A port that is taken is tried again.
    """
    if config.watch.port == 0:
        return
    told = False
    while not stop.is_set():
        try:
            server = open_server(config, (config.watch.host, config.watch.port))
        except OSError as error:
            if not told:
                log.error(
                    "metrics and health cannot be served on %s:%d (%s); free the port or change [watch]",
                    config.watch.host, config.watch.port, error.strerror,
                )  # fmt: skip
            told = True
            stop.wait(_TRY_AGAIN_SECONDS)
            continue
        with server:
            threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
            stop.wait()
            server.shutdown()
        return


def open_server(config: Config, address: tuple[str, int]) -> ThreadingHTTPServer:
    """Listen, and announce where.

    Args:
        address: Host and port; 0 takes a free one.

    Raises:
        OSError: If the port is taken.
    """
    from prometheus_client import CollectorRegistry

    from scanside.runtime.appliance.watch.metrics import collector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector(config))

    class Handler(_Handler):
        appliance = config
        metrics = registry

    server = _Server(address, Handler)
    server.daemon_threads = True
    _announce(config.service.data / "watch.port", server)
    return server


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a client of the metrics went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _ASK_SECONDS
    server_version = "scanside"
    sys_version = ""
    appliance: ClassVar[Config]
    metrics: ClassVar[object]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

            assert isinstance(self.metrics, CollectorRegistry)
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.metrics))
        elif path == "/health":
            from scanside.runtime.appliance.watch.health import examine

            found = examine(self.appliance)
            body = json.dumps(found, indent=1).encode() + b"\n"
            self._answer(200 if found["healthy"] else 503, "application/json", body)
        else:
            self._answer(404, "text/plain; charset=utf-8", b"There are /metrics and /health.\n")

    do_HEAD = do_GET

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        log.debug("%s asks for %s", self.client_address[0], self.path)


def _announce(path: Path, server: ThreadingHTTPServer) -> None:
    host, port = server.server_address[:2]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({"host": str(host), "port": port, "pid": os.getpid()}))
        temporary.replace(path)
    except OSError as error:  # a full disk
        log.warning("%s cannot be written (%s)", path.name, error.strerror)
